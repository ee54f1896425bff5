/* The HTTP side of the port: a request is collected, handed to the owner and answered whenever the owner likes. */
#include "core/run/link_internal.h"

#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 1024
#define ARG_MAX_BYTES  512
#define SWALLOW_MAX    (1024 * 1024) /* of a body that is too large, so that the client gets to read the answer */
#define REPLY_SECS     20            /* to take an answer */

struct http_request {
	struct http_request *prev, *next;
	struct link_hub *hub;
	struct lws *wsi; /* NULL: the client has gone */
	const char *method;
	char path[PATH_MAX_BYTES];
	char *args[HTTP_ARGS_MAX]; /* decoded "name=value" */
	unsigned args_count;
	struct buf body;
	bool is_too_large;
	bool is_with_owner; /* handed over, not answered yet: the owner's pointer must stay good */
	bool is_answered;
	bool must_close;
	int status;
	char *content_type, *reply;
	enum http_who who;
	char name[33], from[64], why[256];
	http_answer_cb answer; /* of a request that came another way: there is no wsi */
	void *answer_arg;
};

/* libwebsockets' room per connection. */
struct http_session {
	struct http_request *request;
};

_Static_assert(sizeof(struct http_session) == LINK_HTTP_SESSION_SIZE, "the size given to libwebsockets");

static void free_request(struct http_request *r)
{
	unsigned i;

	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		r->hub->requests = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	for (i = 0; i < r->args_count; i++)
		free(r->args[i]);
	buf_done(&r->body);
	free(r->content_type);
	free(r->reply);
	free(r);
}

/* The connection needs its request no more: freed, unless the owner still has to answer. */
static void detach_request(struct http_session *s)
{
	struct http_request *r = s->request;

	s->request = NULL;
	if (r == NULL)
		return;
	r->wsi = NULL;
	if (!r->is_with_owner)
		free_request(r);
}

static void set_reply(struct http_request *r, int status, const char *content_type, const char *body)
{
	r->is_answered = true;
	r->status = status;
	r->content_type = mem_strdup(content_type != NULL ? content_type : "text/plain");
	r->reply = mem_strdup(body != NULL ? body : "");
	lws_set_timeout(r->wsi, PENDING_TIMEOUT_HTTP_CONTENT, REPLY_SECS);
	lws_callback_on_writable(r->wsi);
}

void http_reply(struct http_request *r, int status, const char *content_type, const char *body)
{
	r->is_with_owner = false;
	if (r->wsi == NULL) {
		if (r->answer != NULL)
			r->answer(r->answer_arg, status, content_type, body != NULL ? body : "");
		free_request(r);
		return;
	}
	set_reply(r, status, content_type, body);
}

static void dispatch(struct http_request *r)
{
	struct link_hub *l = r->hub;

	if (l->is_stopping)
		return;
	if (r->is_too_large) {
		set_reply(r, 413, "application/json",
		          "{\"version\":1,\"error\":\"invalid\",\"message\":\"the body is larger than 64 KiB\"}");
		return;
	}
	if (r->method == NULL) {
		set_reply(r, 405, "application/json",
		          "{\"version\":1,\"error\":\"invalid\",\"message\":\"use GET, HEAD or POST\"}");
		return;
	}
	/* The owner's own deadlines count while it has the request. */
	lws_set_timeout(r->wsi, NO_PENDING_TIMEOUT, 0);
	r->is_with_owner = true;
	l->h.http(l->h.arg, r);
}

static const char *read_method(struct lws *wsi)
{
	if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0)
		return "GET";
	if (lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0)
		return "POST";
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0)
		return "HEAD";
	return NULL;
}

static void read_args(struct http_request *r)
{
	char arg[ARG_MAX_BYTES];
	int i;

	for (i = 0; i < HTTP_ARGS_MAX && lws_hdr_copy_fragment(r->wsi, arg, sizeof arg, WSI_TOKEN_HTTP_URI_ARGS, i) >= 0; i++)
		r->args[r->args_count++] = mem_strdup(arg);
}

/* The length of the body that will follow; -1 when it comes in a way that is not understood. */
static long long read_body_length(struct lws *wsi)
{
	char text[24] = "";

	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
		return -1;
	if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0)
		return 0;
	return strspn(text, "0123456789") == strlen(text) ? atoll(text) : -1;
}

static struct http_request *new_request(struct link_hub *l)
{
	struct http_request *r = mem_alloc(sizeof *r);

	r->hub = l;
	r->next = l->requests;
	if (r->next != NULL)
		r->next->prev = r;
	l->requests = r;
	return r;
}

static void set_sender(struct http_request *r, struct conn *c)
{
	guest_identify(c);
	c->deadline_ms = 0; /* from now on libwebsockets' time limits count */
	r->who = c->who;
	str_copy(r->name, sizeof r->name, c->name);
	str_copy(r->from, sizeof r->from, c->from);
	str_copy(r->why, sizeof r->why, c->why);
}

static int start_request(struct link_hub *l, struct lws *wsi, struct http_session *s, const char *path)
{
	struct conn *c = lws_get_opaque_user_data(wsi);
	struct http_request *r;
	long long length = read_body_length(wsi);

	if (c == NULL || c->is_dropped)
		return -1;
	detach_request(s);
	s->request = r = new_request(l);
	r->wsi = wsi;
	set_sender(r, c);
	r->method = read_method(wsi);
	str_copy(r->path, sizeof r->path, path);
	read_args(r);
	r->is_too_large = length > HTTP_BODY_MAX;
	r->must_close = length < 0 || length > SWALLOW_MAX;
	if (length < 0)
		set_reply(r, 411, "application/json",
		          "{\"version\":1,\"error\":\"invalid\",\"message\":\"send the body with Content-Length\"}");
	else if (length == 0 || r->must_close)
		dispatch(r);
	return 0;
}

static int write_reply(struct lws *wsi, struct http_session *s)
{
	struct http_request *r = s->request;
	size_t len;
	unsigned char *head, *p, *end;
	bool must_close = r->must_close;
	int rc = -1;

	len = strlen(r->reply);
	head = mem_alloc(LWS_PRE + 1024);
	p = head + LWS_PRE;
	end = p + 1024;
	if (lws_add_http_common_headers(wsi, (unsigned)r->status, r->content_type, len, &p, end) != 0)
		goto done;
	if (lws_finalize_write_http_header(wsi, head + LWS_PRE, &p, end) != 0)
		goto done;
	if (len > 0 && (r->method == NULL || strcmp(r->method, "HEAD") != 0)) {
		unsigned char *body = mem_alloc(LWS_PRE + len);

		memcpy(body + LWS_PRE, r->reply, len);
		rc = lws_write(wsi, body + LWS_PRE, len, LWS_WRITE_HTTP_FINAL);
		free(body);
		if (rc < 0)
			goto done;
	}
	rc = 0;
done:
	free(head);
	detach_request(s);
	if (rc != 0 || must_close)
		return -1;
	return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

static int add_body(struct http_request *r, const void *in, size_t len)
{
	if (r == NULL || r->is_answered || r->is_with_owner)
		return 0;
	if (r->body.len + len > HTTP_BODY_MAX)
		r->is_too_large = true;
	if (!r->is_too_large)
		buf_add(&r->body, in, len);
	return 0;
}

int link_http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct link_hub *l = lws_context_user(lws_get_context(wsi));
	struct http_session *s = user;

	switch (reason) {
	case LWS_CALLBACK_WSI_DESTROY: /* comes here for every wsi of the context, links included */
		link_wsi_gone(wsi);
		return 0;
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
		return link_tls_server_context(l, user);
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return strcmp(in, "websocket") == 0 ? 0 : -1;
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: /* a WebSocket without our subprotocol */
		return -1;
	case LWS_CALLBACK_HTTP:
		return l->is_stopping ? -1 : start_request(l, wsi, s, in);
	case LWS_CALLBACK_HTTP_BODY:
		return add_body(s->request, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		if (s->request != NULL && !s->request->is_answered && !s->request->is_with_owner)
			dispatch(s->request);
		return 0;
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return s->request != NULL && s->request->is_answered ? write_reply(wsi, s) : 0;
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
		if (s != NULL)
			detach_request(s);
		return 0;
	default:
		return 0;
	}
}

void link_http_stop(struct link_hub *l)
{
	struct http_request *r, *next;

	/* A connection that is still open frees its request when libwebsockets ends it, soon. */
	for (r = l->requests; r != NULL; r = next) {
		next = r->next;
		r->is_with_owner = false;
		if (r->wsi == NULL)
			free_request(r);
	}
}

bool link_http_is_busy(const struct link_hub *l, const struct lws *wsi)
{
	const struct http_request *r;

	for (r = l->requests; r != NULL; r = r->next)
		if (r->wsi == wsi && r->is_with_owner)
			return true;
	return false;
}

void http_describe(const struct http_request *r, struct http_copy *ret)
{
	unsigned i;

	memset(ret, 0, sizeof *ret);
	ret->method = r->method;
	ret->path = r->path;
	ret->body = http_body(r);
	ret->name = r->name;
	ret->from = r->from;
	ret->who = r->who;
	for (i = 0; i < r->args_count; i++)
		ret->args[ret->args_count++] = r->args[i];
}

struct http_request *http_request_new(struct link_hub *l, const struct http_copy *from, http_answer_cb answer, void *arg)
{
	static const char *const methods[] = {"GET", "POST", "HEAD"};
	struct http_request *r;
	unsigned i;

	for (i = 0; i < 3 && strcmp(from->method, methods[i]) != 0; i++)
		;
	if (i == 3)
		return NULL;
	r = new_request(l);
	r->method = methods[i];
	r->is_with_owner = true;
	r->answer = answer;
	r->answer_arg = arg;
	r->who = from->who;
	str_copy(r->path, sizeof r->path, from->path);
	str_copy(r->name, sizeof r->name, from->name);
	str_copy(r->from, sizeof r->from, from->from);
	buf_puts(&r->body, from->body);
	for (i = 0; i < from->args_count && i < HTTP_ARGS_MAX; i++)
		r->args[r->args_count++] = mem_strdup(from->args[i]);
	return r;
}

enum http_who http_who(const struct http_request *r, const char **ret_name)
{
	if (ret_name != NULL)
		*ret_name = r->name;
	return r->who;
}

const char *http_why(const struct http_request *r)
{
	return r->why;
}

const char *http_from(const struct http_request *r)
{
	return r->from;
}

const char *http_method(const struct http_request *r)
{
	return r->method;
}

const char *http_path(const struct http_request *r)
{
	return r->path;
}

const char *http_query(const struct http_request *r, const char *name)
{
	size_t len = strlen(name);
	unsigned i;

	for (i = 0; i < r->args_count; i++)
		if (strncmp(r->args[i], name, len) == 0 && (r->args[i][len] == '=' || r->args[i][len] == '\0'))
			return r->args[i] + len + (r->args[i][len] == '=' ? 1 : 0);
	return NULL;
}

const char *http_body(const struct http_request *r)
{
	return r->body.data != NULL ? r->body.data : "";
}
