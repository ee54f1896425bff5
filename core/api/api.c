/* Dispatch: health routes answer everywhere, everything else on the controller's node; others ask it. */
#include "core/api/api.h"

#include "core/api/trust.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_json(struct http_request *r, int status, json_t *body)
{
	char *text;

	json_object_set_new(body, "version", json_integer(1));
	text = json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(body);
	http_reply(r, status, "application/json", text);
	free(text);
}

static int http_status(enum err_code code)
{
	switch (code) {
	case ERR_OK:
		return 200;
	case ERR_INVAL:
		return 400;
	case ERR_NOTFOUND:
		return 404;
	case ERR_REFUSED:
	case ERR_EXISTS:
		return 409;
	case ERR_NOQUORUM:
	case ERR_UNREACHABLE:
		return 503;
	case ERR_TIMEOUT:
		return 504;
	default:
		return 500;
	}
}

void api_error(struct http_request *r, enum err_code code, const char *message, const char *hint)
{
	json_t *o = json_pack("{s:s,s:s}", "error", err_name(code), "message", message);

	if (hint != NULL)
		json_object_set_new(o, "hint", json_string(hint));
	api_json(r, http_status(code), o);
}

/* The node whose newest heartbeat says that it is the controller, NODE_NONE. */
static int find_controller(const struct control *c)
{
	int64_t now = clock_now_ms();
	int best = NODE_NONE;
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++) {
		const struct last_heartbeat *l = &c->last[i];

		if ((int)i == c->self || l->json == NULL || l->generation == 0 || now - l->at_ms > 1000)
			continue;
		if (best == NODE_NONE || l->generation > c->last[best].generation)
			best = (int)i;
	}
	return best;
}

static void ask_controller(struct control *c, struct http_request *r)
{
	int node = find_controller(c);

	if (!c->member.is_member)
		api_error(r, ERR_REFUSED, "this node is not a member of a cluster yet",
		          "run `mha-shell cluster init` on the first node, or `mhad join TOKEN` here");
	else if (node == NODE_NONE)
		api_error(r, ERR_NOQUORUM,
		          "no controller is known: the cluster has no usable majority, or is just electing one", NULL);
	else
		forward_request(c, r, node);
}

static bool serves_as(struct control *c, const char *group, enum inst_role role)
{
	const struct heartbeat *hb = c->agent != NULL ? agent_heartbeat(c->agent) : NULL;
	size_t i;

	for (i = 0; hb != NULL && i < hb->report_count; i++) {
		const struct instance_report *r = &hb->reports[i];

		if (group != NULL && strcmp(group, r->group) != 0)
			continue;
		if (r->process == PROC_RUNNING && r->role == role && (role == ROLE_REPLICA || r->is_leased))
			return true;
	}
	return false;
}

/* For load balancers: 200 or 503, about this node alone. */
static bool health_route(struct control *c, struct http_request *r)
{
	const char *path = http_path(r);
	bool is_ok;

	if (strcmp(path, "/health") == 0)
		is_ok = c->member.is_member && store_session_is_connected(c->store);
	else if (strcmp(path, "/leader") == 0)
		is_ok = c->leadership == LEADERSHIP_ACTIVE;
	else if (strcmp(path, "/primary") == 0)
		is_ok = serves_as(c, http_query(r, "group"), ROLE_PRIMARY);
	else if (strcmp(path, "/replica") == 0)
		is_ok = serves_as(c, http_query(r, "group"), ROLE_REPLICA);
	else
		return false;
	api_json(r, is_ok ? 200 : 503, json_pack("{s:b,s:s}", "ok", is_ok, "node", c->config->node));
	return true;
}

static bool get_route(struct control *c, struct http_request *r)
{
	static const struct {
		const char *path;
		json_t *(*make)(struct control *c);
	} routes[] = {{"/v1/status", api_status}, {"/v1/nodes", api_nodes}, {"/v1/groups", api_groups}, {"/v1/vips", api_vips}};
	size_t i;

	for (i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(http_path(r), routes[i].path) != 0)
			continue;
		api_json(r, 200, routes[i].make(c));
		return true;
	}
	if (strcmp(http_path(r), "/v1/store") == 0) {
		api_store_status(c, r);
		return true;
	}
	if (strcmp(http_path(r), "/v1/events") != 0)
		return false;
	api_events(c, r);
	return true;
}

static struct waiting_request *keep_waiting(struct control *c, struct http_request *r)
{
	size_t i;

	for (i = 0; i < MAX_WAITING_REQUESTS; i++) {
		if (c->waiting[i].id != 0)
			continue;
		c->waiting[i].id = ++c->last_request;
		c->waiting[i].http = r;
		c->waiting[i].since_ms = clock_now_ms();
		return &c->waiting[i];
	}
	return NULL;
}

static bool parse_verb(const char *verb, enum command_kind *ret)
{
	static const char *const names[] = {"switchover", "failover", "pause", "resume"};
	int i;

	for (i = 0; i < 4; i++) {
		if (strcmp(verb, names[i]) != 0)
			continue;
		*ret = (enum command_kind)i;
		return true;
	}
	return false;
}

static void give_command(struct control *c, struct http_request *r, const char *group, enum command_kind kind)
{
	struct event e = {.type = EVENT_COMMAND, .now_ms = clock_now_ms()};
	json_t *body = json_loads(http_body(r)[0] != '\0' ? http_body(r) : "{}", 0, NULL);
	const char *to = json_string_value(json_object_get(body, "to"));
	struct waiting_request *w;

	e.u.command.kind = kind;
	e.u.command.is_forced = json_is_true(json_object_get(body, "force"));
	e.u.command.target = NODE_NONE;
	str_copy(e.u.command.group, sizeof e.u.command.group, group);
	if (!json_is_object(body)) {
		api_error(r, ERR_INVAL, "the body is no JSON object", NULL);
	} else if (to != NULL && codec_node(c->config, to) == NODE_NONE) {
		char text[128];

		snprintf(text, sizeof text, "there is no node \"%.40s\"", to);
		api_error(r, ERR_NOTFOUND, text, "see `mha-shell node list`");
	} else if ((w = keep_waiting(c, r)) == NULL) {
		api_error(r, ERR_REFUSED, "too many requests wait for an answer", NULL);
	} else {
		if (to != NULL)
			e.u.command.target = codec_node(c->config, to);
		e.u.command.request_id = w->id;
		json_decref(body);
		effects_controller(c, &e);
		return;
	}
	json_decref(body);
}

static bool post_route(struct control *c, struct http_request *r)
{
	char group[NAME_SIZE], verb[16];
	enum command_kind kind;

	if (api_node_verb(c, r))
		return true;
	if (strcmp(http_path(r), "/v1/store/backup") == 0) {
		api_store_backup(c, r);
		return true;
	}
	if (sscanf(http_path(r), "/v1/groups/%39[^/]/%15[a-z]", group, verb) != 2 || !parse_verb(verb, &kind))
		return false;
	give_command(c, r, group, kind);
	return true;
}

/* Who but an administrator may use a route. */
static bool is_open(const struct control *c, struct http_request *r, enum http_who who)
{
	static const struct {
		const char *method, *path;
		enum http_who least;
	} routes[] = {
	        {"POST", "/v1/join", HTTP_NOBODY}, /* the token's secret is checked by the route */
	        {"POST", "/v1/certs/renew", HTTP_NODE}, {NULL, "/health", HTTP_NODE},  {NULL, "/leader", HTTP_NODE},
	        {NULL, "/primary", HTTP_NODE},          {NULL, "/replica", HTTP_NODE},
	};
	size_t i;

	for (i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		bool is_health = routes[i].method == NULL;

		if (strcmp(http_path(r), routes[i].path) != 0)
			continue;
		if (is_health)
			return strcmp(http_method(r), "POST") != 0 && (who >= routes[i].least || c->config->api.health != NULL);
		return strcmp(http_method(r), routes[i].method) == 0 && who >= routes[i].least;
	}
	return false;
}

static bool refuse_stranger(const struct control *c, struct http_request *r)
{
	const char *name;
	enum http_who who = http_who(r, &name);
	char text[512];

	if (who == HTTP_ADMIN || is_open(c, r, who))
		return false;
	if (who == HTTP_NODE)
		snprintf(text, sizeof text, "node %s may not do this: it takes an administrator's certificate", name);
	else if (http_why(r)[0] != '\0')
		snprintf(text, sizeof text, "%s", http_why(r));
	else
		snprintf(text, sizeof text, "this takes an administrator's certificate, and none was shown");
	api_json(r, who == HTTP_NOBODY ? 401 : 403,
	         json_pack("{s:s,s:s,s:s}", "error", err_name(ERR_REFUSED), "message", text, "hint",
	                   "run mha-shell as root on a node, or let `mha-shell cert issue NAME` make a certificate there"));
	return true;
}

void api_request(void *arg, struct http_request *r)
{
	struct control *c = arg;
	bool is_post = strcmp(http_method(r), "POST") == 0;

	if (refuse_stranger(c, r))
		return;
	if (!is_post && health_route(c, r))
		return;
	if (is_post && strcmp(http_path(r), "/v1/cluster/init") == 0) {
		api_init(c, r);
		return;
	}
	if (strncmp(http_path(r), "/v1/", 4) == 0 && c->leadership != LEADERSHIP_ACTIVE) {
		ask_controller(c, r);
		return;
	}
	if (is_post ? trust_post_route(c, r) || post_route(c, r) : trust_get_route(c, r) || get_route(c, r))
		return;
	api_error(r, ERR_NOTFOUND, "there is no such route", NULL);
}

static void answer(struct control *c, struct waiting_request *w, const struct action *a)
{
	double seconds = (double)(clock_now_ms() - w->since_ms) / 1000.0;
	const struct group_record *g = a->group != NULL ? ctl_find_group(c->ctl, a->group) : NULL;

	if (a->code != ERR_OK)
		api_error(w->http, a->code, a->text, NULL);
	else
		api_json(w->http, 200,
		         json_pack("{s:I,s:s,s:f,s:s}", "operation", (json_int_t)a->op_id, "primary",
		                   g != NULL && g->primary != NODE_NONE ? c->config->nodes[g->primary].name : "", "seconds",
		                   seconds, "text", a->text));
	w->id = 0;
}

void api_reply(struct control *c, const struct action *a)
{
	size_t i;

	for (i = 0; i < MAX_WAITING_REQUESTS; i++)
		if (c->waiting[i].id != 0 && c->waiting[i].id == a->request_id)
			answer(c, &c->waiting[i], a);
}

void api_fail_waiting(struct control *c, const char *why)
{
	char text[256];
	size_t i;

	snprintf(text, sizeof text, "this node stopped being the controller (%s): the next one goes on with what was begun",
	         why);
	for (i = 0; i < MAX_WAITING_REQUESTS; i++) {
		if (c->waiting[i].id == 0)
			continue;
		api_error(c->waiting[i].http, ERR_TIMEOUT, text, "see `mha-shell cluster status`");
		c->waiting[i].id = 0;
	}
}
