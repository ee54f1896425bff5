/* HTTP to the nodes named by --node, over TLS with the administrator's certificate, or over a node's unix socket: the first
 * that answers serves. */
#ifndef SHELL_HTTP_H
#define SHELL_HTTP_H

#include "core/base/err.h"
#include "core/base/str.h"

#include <stdbool.h>

#define HTTP_URL_SIZE 256

struct http;

struct http_request {
	const char *path;   /* "/v1/status" */
	const char *body;   /* NULL: GET, else POST of this JSON */
	long timeout_ms;    /* for the whole answer, once connected */
	bool is_first_only; /* ask the first node of the list and no other */
};

struct http_reply {
	long status;
	struct buf body;
	char url[HTTP_URL_SIZE]; /* of the node that answered */
};

/* nodes: comma-separated URLs and unix:PATH; scheme and port may be left out. tls_dir: where ca.pem, admin.pem and admin.key
 * are; needed for https only. *ret is returned: http_free. ERR_INVAL names a bad URL. */
int http_new(const char *nodes, const char *tls_dir, struct http **ret, struct err *e) MUST_USE;
void http_free(struct http *h);

/* Ask the nodes in order, the one that answered last first, 1 s for each connection. A node that says 503
 * to a GET (it is cut off, say) is passed over when another one knows more. A POST goes on to the next node only while none can
 * have received it. *ret is filled on ERR_OK, whatever its status; free ret->body. Errors: ERR_UNREACHABLE (nobody; each is
 * named), ERR_REFUSED (a certificate does not fit), ERR_INVAL (certificate files), ERR_AMBIGUOUS (a POST was sent and no answer
 * came). */
int http_send(struct http *h, const struct http_request *r, struct http_reply *ret, struct err *e) MUST_USE;

/* The hosts of the list for libpq, comma-separated, without scheme and port; of a unix socket its directory; borrowed. */
const char *http_hosts(const struct http *h);

#endif
