/* One socket to a dqlite node: connects within a deadline, says the handshake, cuts the byte stream into messages. Knows
 * nothing of requests: dq.c does. Events come from the loop only, never from inside a call; none comes after dq_conn_close. */
#ifndef STORE_DQ_CONN_H
#define STORE_DQ_CONN_H

#include "core/base/str.h"
#include "store/dq_codec.h"

#include <uv.h>

struct dq_conn;

struct dq_conn_events {
	void (*on_ready)(void *arg);                                                   /* once: the handshake is on its way */
	void (*on_message)(void *arg, const struct dq_header *h, const uint8_t *body); /* body is borrowed for the call */
	void (*on_broken)(void *arg, const char *why); /* at most once, then only dq_conn_close is left */
};

/* Returned: dq_conn_close. events and address are borrowed until then. */
struct dq_conn *dq_conn_new(uv_loop_t *loop, const char *address, const struct dq_conn_events *events, void *arg);

/* The same with a unix socket that is connected already; it is taken. fd < 0: -errno, to be told as broken. */
struct dq_conn *dq_conn_adopt(uv_loop_t *loop, int fd, const struct dq_conn_events *events, void *arg);

/* message is taken: it is empty afterwards. Only between on_ready and on_broken. */
void dq_conn_send(struct dq_conn *c, struct buf *message);

void dq_conn_close(struct dq_conn *c); /* frees itself when libuv lets go of the handles; NULL is fine */

#endif
