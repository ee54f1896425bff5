/* A request that only the controller can answer goes to it over the peer link, and its answer comes back the same way:
 * {"t":"api","id":7,"method":"POST","path":"/v1/...","args":["name=value"],"body":"...","from":"10.0.0.9","who":["admin","alice"]}
 * {"t":"api-reply","id":7,"status":200,"type":"application/json","body":"..."}
 * Only members' links carry them (the hub links with nobody else), and the node that forwards has checked who asks. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORWARDS_MAX    64
#define GET_MS          45000  /* a long poll takes up to 30 s */
#define POST_MS         175000 /* mha-shell waits 180 s for a switchover */
#define REQUEST_MAX     (160 * 1024)
#define REPLY_MAX       (128 * 1024)
#define LINK_FILLED_MAX (200 * 1024) /* beyond 256 KiB the link is dropped, and heartbeats need room too */

/* A request of ours that the controller works on. */
struct forwarded {
	uint64_t id; /* 0: free */
	struct http_request *http;
	char node[33];
	bool is_post;
	int64_t until_ms;
};

/* A request of a peer that we work on as the controller. */
struct foreign {
	struct foreign *prev, *next;
	struct control *c;
	char node[33];
	json_int_t id;
};

struct forwards {
	struct forwarded list[FORWARDS_MAX];
	uint64_t last_id;
	struct foreign *foreign;
};

static const char *const who_names[] = {[HTTP_NOBODY] = "nobody", [HTTP_NODE] = "node", [HTTP_ADMIN] = "admin"};

struct forwards *forwards_new(void)
{
	return mem_alloc(sizeof(struct forwards));
}

void forwards_free(struct forwards *f)
{
	struct foreign *x, *next;

	for (x = f != NULL ? f->foreign : NULL; x != NULL; x = next) {
		next = x->next;
		free(x);
	}
	free(f);
}

/* --- the node that forwards --- */

static void fail(struct forwarded *w, int status, enum err_code code, const char *text)
{
	json_t *o = json_pack("{s:i,s:s,s:s}", "version", 1, "error", err_name(code), "message", text);
	char *json = json_dumps(o, JSON_COMPACT);
	struct http_request *http = w->http;

	w->id = 0;
	http_reply(http, status, "application/json", json);
	free(json);
	json_decref(o);
}

/* It was sent, and there will be no answer. */
static void give_up(struct forwarded *w, const char *why)
{
	char text[256];

	if (w->is_post) {
		snprintf(text, sizeof text, "%s: the request may have been carried out or still run", why);
		fail(w, 504, ERR_AMBIGUOUS, text);
	} else {
		fail(w, 503, ERR_UNREACHABLE, why);
	}
}

static char *encode(const struct http_copy *h, uint64_t id)
{
	json_t *args = json_array(), *o;
	char *text;
	unsigned i;

	for (i = 0; i < h->args_count; i++)
		json_array_append_new(args, json_string(h->args[i]));
	o = json_pack("{s:s,s:I,s:s,s:s,s:o,s:s,s:s,s:[s,s]}", "t", "api", "id", (json_int_t)id, "method", h->method, "path",
	              h->path, "args", args, "body", h->body, "from", h->from, "who", who_names[h->who], h->name);
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL; /* NULL: not UTF-8 */
	json_decref(o);
	return text;
}

static void send_request(struct control *c, struct forwarded *w)
{
	struct http_copy h;
	char *json, text[128];

	http_describe(w->http, &h);
	json = encode(&h, w->id);
	snprintf(text, sizeof text, "there is no link with the controller, %s", w->node);
	if (json == NULL)
		fail(w, 400, ERR_INVAL, "the request is not UTF-8 text");
	else if (strlen(json) > REQUEST_MAX)
		fail(w, 413, ERR_INVAL, "the request is too large");
	else if (link_queued(c->hub, w->node) + strlen(json) > LINK_FILLED_MAX)
		fail(w, 503, ERR_UNREACHABLE, "the link with the controller is busy: try again");
	else if (!link_send(c->hub, w->node, json, strlen(json)))
		fail(w, 503, ERR_UNREACHABLE, text);
	free(json);
}

void forward_request(struct control *c, struct http_request *r, int node)
{
	struct forwarded full = {.http = r}, *w = &full;
	unsigned i;

	for (i = 0; i < FORWARDS_MAX && w == &full; i++)
		if (c->forwards->list[i].id == 0)
			w = &c->forwards->list[i];
	if (w == &full) {
		fail(w, 503, ERR_REFUSED, "too many requests wait for the controller's answer: try again");
		return;
	}
	w->id = ++c->forwards->last_id;
	w->http = r;
	w->is_post = strcmp(http_method(r), "POST") == 0;
	w->until_ms = clock_now_ms() + (w->is_post ? POST_MS : GET_MS);
	str_copy(w->node, sizeof w->node, c->config->nodes[node].name);
	send_request(c, w);
}

static void reply_came(struct control *c, const char *peer, const json_t *o)
{
	const char *type = json_string_value(json_object_get(o, "type")), *body = json_string_value(json_object_get(o, "body"));
	json_int_t id = json_integer_value(json_object_get(o, "id")), status = json_integer_value(json_object_get(o, "status"));
	unsigned i;

	if (id <= 0 || status < 100 || status > 599 || type == NULL || body == NULL) {
		log_warn("peer", "%s sent an answer that cannot be read", peer);
		return;
	}
	for (i = 0; i < FORWARDS_MAX; i++) {
		struct forwarded *w = &c->forwards->list[i];

		/* An answer that comes too late belongs to nobody. */
		if (w->id != (uint64_t)id || strcmp(w->node, peer) != 0)
			continue;
		w->id = 0;
		http_reply(w->http, (int)status, type, body);
		return;
	}
}

void forward_link_down(struct control *c, const char *peer)
{
	char why[128];
	unsigned i;

	snprintf(why, sizeof why, "the link with the controller, %s, broke", peer);
	for (i = 0; i < FORWARDS_MAX; i++)
		if (c->forwards->list[i].id != 0 && strcmp(c->forwards->list[i].node, peer) == 0)
			give_up(&c->forwards->list[i], why);
}

void forward_tick(struct control *c, int64_t now)
{
	char why[128];
	unsigned i;

	for (i = 0; i < FORWARDS_MAX; i++) {
		struct forwarded *w = &c->forwards->list[i];

		if (w->id == 0 || now < w->until_ms)
			continue;
		snprintf(why, sizeof why, "the controller, %s, did not answer in time", w->node);
		give_up(w, why);
	}
}

/* --- the controller --- */

static void send_reply(struct control *c, const char *node, json_int_t id, json_t *o)
{
	char *json;

	json_object_set_new(o, "t", json_string("api-reply"));
	json_object_set_new(o, "id", json_integer(id));
	json = json_dumps(o, JSON_COMPACT);
	/* A link that is down has told the other side all it will hear. */
	if (json != NULL)
		(void)link_send(c->hub, node, json, strlen(json));
	free(json);
	json_decref(o);
}

static json_t *error_reply(int status, enum err_code code, const char *text)
{
	json_t *body = json_pack("{s:i,s:s,s:s}", "version", 1, "error", err_name(code), "message", text);
	char *json = json_dumps(body, JSON_COMPACT);
	json_t *o = json_pack("{s:i,s:s,s:s}", "status", status, "type", "application/json", "body", json);

	free(json);
	json_decref(body);
	return o;
}

static void answered(void *arg, int status, const char *content_type, const char *body)
{
	struct foreign *x = arg;
	struct control *c = x->c;
	json_t *o;

	if (strlen(body) > REPLY_MAX)
		o = error_reply(500, ERR_IO,
		                "the answer is over 128 KiB and was cut off: ask for less (limit=...), or ask the "
		                "controller's node itself");
	else if (link_queued(c->hub, x->node) + strlen(body) > LINK_FILLED_MAX)
		o = error_reply(503, ERR_UNREACHABLE,
		                "the link with the controller is busy: what was asked for is done, its "
		                "answer did not fit");
	else
		o = json_pack("{s:i,s:s,s:s}", "status", status, "type", content_type, "body", body);
	if (o == NULL)
		o = error_reply(500, ERR_IO, "the answer is not UTF-8 text");
	send_reply(c, x->node, x->id, o);
	if (x->prev != NULL)
		x->prev->next = x->next;
	else
		c->forwards->foreign = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
	free(x);
}

static struct foreign *new_foreign(struct control *c, const char *peer, json_int_t id)
{
	struct foreign *x = mem_alloc(sizeof *x);

	x->c = c;
	x->id = id;
	str_copy(x->node, sizeof x->node, peer);
	x->next = c->forwards->foreign;
	if (x->next != NULL)
		x->next->prev = x;
	c->forwards->foreign = x;
	return x;
}

static bool decode(const json_t *o, struct http_copy *ret)
{
	const json_t *args = json_object_get(o, "args"), *who = json_object_get(o, "who"), *arg;
	const char *kind = json_string_value(json_array_get(who, 0));
	size_t i;

	memset(ret, 0, sizeof *ret);
	ret->method = json_string_value(json_object_get(o, "method"));
	ret->path = json_string_value(json_object_get(o, "path"));
	ret->body = json_string_value(json_object_get(o, "body"));
	ret->from = json_string_value(json_object_get(o, "from"));
	ret->name = json_string_value(json_array_get(who, 1));
	json_array_foreach(args, i, arg) if (json_is_string(arg) && ret->args_count < HTTP_ARGS_MAX)
	        ret->args[ret->args_count++] = json_string_value(arg);
	while (kind != NULL && ret->who < HTTP_ADMIN && strcmp(kind, who_names[ret->who]) != 0)
		ret->who++;
	return ret->method != NULL && ret->path != NULL && ret->body != NULL && ret->from != NULL && ret->name != NULL &&
	       kind != NULL && strcmp(kind, who_names[ret->who]) == 0;
}

static void request_came(struct control *c, const char *peer, const json_t *o)
{
	json_int_t id = json_integer_value(json_object_get(o, "id"));
	struct http_request *r;
	struct http_copy h;
	struct foreign *x;
	char text[128];

	if (!decode(o, &h) || id <= 0) {
		log_warn("peer", "%s forwards a request that cannot be read", peer);
		return;
	}
	/* It is never passed on a second time: no request goes in circles. */
	if (!c->member.is_member || c->leadership != LEADERSHIP_ACTIVE) {
		snprintf(text, sizeof text, "%s is not the controller (any more): the cluster is just electing one",
		         c->config->node);
		send_reply(c, peer, id, error_reply(503, ERR_NOQUORUM, text));
		return;
	}
	x = new_foreign(c, peer, id);
	r = http_request_new(c->hub, &h, answered, x);
	if (r == NULL)
		answered(x, 405, "application/json",
		         "{\"version\":1,\"error\":\"invalid\",\"message\":\"use GET, HEAD or POST\"}");
	else
		api_request(c, r);
}

bool forward_frame(struct control *c, const char *peer, const char *json, size_t len)
{
	static const char mark[] = "\"t\":\"api";
	json_t *o = memmem(json, len, mark, sizeof mark - 1) != NULL ? json_loadb(json, len, 0, NULL) : NULL;
	const char *type = json_string_value(json_object_get(o, "t"));
	bool is_mine = type != NULL && (strcmp(type, "api") == 0 || strcmp(type, "api-reply") == 0);

	if (is_mine && strcmp(type, "api") == 0)
		request_came(c, peer, o);
	else if (is_mine)
		reply_came(c, peer, o);
	json_decref(o);
	return is_mine;
}
