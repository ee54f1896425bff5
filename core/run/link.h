/* The node's one TCP port (7400): WebSocket links between control processes (one per pair, dialled by the node whose name sorts
 * first) and the HTTP API. libwebsockets on the caller's libuv loop; TLS slots in here. */
#ifndef RUN_LINK_H
#define RUN_LINK_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct link_hub;
struct http_request;

struct link_handlers {
	void *arg;
	void (*frame)(void *arg, const char *peer, const char *json, size_t len); /* one JSON text from peer */
	void (*up)(void *arg, const char *peer); /* both sides have accepted the other's hello */
	void (*down)(void *arg, const char *peer, const char *reason);
	/* The peer refused our hello: wrong cluster, same name twice ... It is dialled again after 1 s, so the same reason
	 * comes again. */
	void (*refused)(void *arg, const char *peer, const char *reason);
	/* May a peer that says this hello be linked? Return false and a reason for it to print. Called on both sides. */
	bool (*hello)(void *arg, const char *peer, const char *hello_json, char *reason, size_t reason_size);
	void (*http)(void *arg, struct http_request *r); /* r is taken: answer it with http_reply exactly once, now or later */
};

/* Listens at c->address:c->ports.peer (and 127.0.0.1 when that differs and can be bound) and dials the peers of c->nodes. */
int link_start(uv_loop_t *loop, const struct config *c, const struct link_handlers *h, struct link_hub **ret,
               struct err *e) MUST_USE;
/* Closes everything; pending requests die with it: do not answer them any more. No handler is called from here on. May be
 * called from a handler. The memory goes while the loop turns for a few more ms. */
void link_stop(struct link_hub *l);

/* The JSON object sent first on every new link (who we are); copied. May be set again; used from the next link on. */
void link_set_hello(struct link_hub *l, const char *json);

/* Queue a text for a peer; false when it is not linked or its queue is over 256 KiB (then the link is dropped: heartbeats, not
 * history). */
bool link_send(struct link_hub *l, const char *peer, const char *json, size_t len);
size_t link_queued(const struct link_hub *l, const char *peer); /* bytes not yet written; 0 when it is not linked */
bool link_is_up(const struct link_hub *l, const char *peer);

/* The configuration's nodes have new entries, changed addresses or is_removed flags: new ones are dialled or awaited, links
 * with removed ones and with an old address are dropped. config->nodes itself must not have moved. The down handler may be
 * called from within. */
void link_peers_changed(struct link_hub *l);

/* Who asks. An administrator's name is that of the certificate, the OS user at the unix socket, or "insecure" when the
 * configuration has switched authentication off. */
enum http_who { HTTP_NOBODY, HTTP_NODE, HTTP_ADMIN };
/* *ret_name (may be NULL): borrowed until the reply; "" for HTTP_NOBODY. */
enum http_who http_who(const struct http_request *r, const char **ret_name);
const char *
http_why(const struct http_request *r); /* why it is nobody: a sentence, "" when no certificate was shown; borrowed */
const char *http_from(const struct http_request *r); /* the numeric address it came from, or "the unix socket"; borrowed */

const char *http_method(const struct http_request *r); /* "GET", "POST", "HEAD" */
const char *http_path(const struct http_request *r);   /* without the query */
/* Value of a query parameter, decoded; NULL when absent. Borrowed until the reply. */
const char *http_query(const struct http_request *r, const char *name);
const char *http_body(const struct http_request *r); /* "" when none; at most 64 KiB, more is answered 413 by the hub */
/* Answer and free. A client that has gone is fine. body is copied. */
void http_reply(struct http_request *r, int status, const char *content_type, const char *body);

/* All of a request, to be carried out on another node. Texts are borrowed. */
#define HTTP_ARGS_MAX 16
struct http_copy {
	const char *method, *path, *body, *name, *from;
	const char *args[HTTP_ARGS_MAX]; /* decoded "name=value" */
	unsigned args_count;
	enum http_who who;
};
void http_describe(const struct http_request *r, struct http_copy *ret);
typedef void (*http_answer_cb)(void *arg, int status, const char *content_type, const char *body);
/* A request that came in another way than over this port. http_reply calls answer and frees it; when the hub is stopped first,
 * it is freed without. NULL when the method is none that is served. */
struct http_request *http_request_new(struct link_hub *l, const struct http_copy *from, http_answer_cb answer, void *arg);

#endif
