/* The control session: one asynchronous libpq connection to the store's unix socket (application_name=mha-control), statements
 * one after the other, NOTIFY as it comes, reconnecting by itself. Callbacks run on the loop, never from inside the call that
 * started them. */
#ifndef RUN_STORE_SESSION_H
#define RUN_STORE_SESSION_H

#include "core/base/config.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <uv.h>

struct store_session;

struct store_handlers {
	void *arg;
	void (*connected)(void *arg);                        /* also after each reconnect: LISTEN again */
	void (*disconnected)(void *arg, const char *reason); /* after every pending statement was answered */
	void (*notify)(void *arg, const char *channel, const char *payload);
};

enum store_outcome {
	STORE_DONE,
	STORE_FAILED,
	STORE_UNKNOWN /* the connection broke, FATAL or 08007: it may have been applied */
};

/* res: the last statement's result (borrowed), NULL unless STORE_DONE; sqlstate and message: "" unless failed. */
typedef void (*store_cb)(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message);

struct store_session *store_session_new(uv_loop_t *loop, const struct config *c, const char *database,
                                        const struct store_handlers *h);
void store_session_close(struct store_session *s); /* pending statements complete as STORE_UNKNOWN; frees */
bool store_session_is_connected(const struct store_session *s);

/* Queue one simple-protocol text (several statements separated by ; are one implicit transaction). deadline_ms: from now; when
 * it passes the connection is dropped and the statement completes as STORE_UNKNOWN. Not connected: completes as STORE_FAILED
 * 08003 at once (next loop turn). A statement that was still queued when the connection ended was certainly not applied:
 * STORE_FAILED 08003. cb may be NULL; from inside a callback that store_session_close makes a query is ignored. COPY is not
 * supported. */
void store_session_query(struct store_session *s, const char *sql, int deadline_ms, store_cb cb, void *arg);

#endif
