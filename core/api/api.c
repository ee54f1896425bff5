/* Dispatch: health routes answer everywhere, everything else on the controller's node; others ask it. */
#include "core/api/api.h"

#include "core/api/trust.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static bool health_route(struct control *c, struct http_request *r, const struct api_route *route)
{
	bool is_ok;

	if (route->is_v1)
		return false;
	if (strcmp(route->noun, "health") == 0)
		is_ok = c->member.is_member && store_session_is_connected(c->store);
	else if (strcmp(route->noun, "leader") == 0)
		is_ok = c->leadership == LEADERSHIP_ACTIVE;
	else if (strcmp(route->noun, "primary") == 0)
		is_ok = serves_as(c, http_query(r, "group"), ROLE_PRIMARY);
	else if (strcmp(route->noun, "replica") == 0)
		is_ok = serves_as(c, http_query(r, "group"), ROLE_REPLICA);
	else
		return false;
	api_json(r, is_ok ? 200 : 503, json_pack("{s:b,s:s}", "ok", is_ok, "node", c->config->node));
	return true;
}

static bool get_route(struct control *c, struct http_request *r, const struct api_route *route)
{
	static const struct {
		const char *noun;
		json_t *(*make)(struct control *c);
	} routes[] = {{"status", api_status}, {"nodes", api_nodes}, {"groups", api_groups}, {"vips", api_vips}};
	size_t i;

	for (i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (!api_route_is(route, routes[i].noun, ""))
			continue;
		api_json(r, 200, routes[i].make(c));
		return true;
	}
	if (api_route_is(route, "store", "")) {
		api_store_status(c, r);
		return true;
	}
	if (!api_route_is(route, "events", ""))
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
	json_t *body = api_body(r);
	const char *to = json_string_value(json_object_get(body, "to"));
	struct waiting_request *w;

	if (body == NULL)
		return;
	e.u.command.kind = kind;
	e.u.command.is_forced = json_is_true(json_object_get(body, "force"));
	e.u.command.target = NODE_NONE;
	str_copy(e.u.command.group, sizeof e.u.command.group, group);
	if (to != NULL && codec_node(c->config, to) == NODE_NONE) {
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

static bool post_route(struct control *c, struct http_request *r, const struct api_route *route)
{
	enum command_kind kind;

	if (api_node_verb(c, r, route))
		return true;
	if (api_route_is(route, "store", "backup")) {
		api_store_backup(c, r);
		return true;
	}
	if (!api_route_names(route, "groups") || !parse_verb(route->verb, &kind))
		return false;
	give_command(c, r, route->name, kind);
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
	         json_pack("{s:s,s:o,s:s}", "error", err_name(ERR_REFUSED), "message", api_text(text), "hint",
	                   "run mha-shell as root on a node, or let `mha-shell cert issue NAME` make a certificate there"));
	return true;
}

void api_request(void *arg, struct http_request *r)
{
	struct control *c = arg;
	bool is_post = strcmp(http_method(r), "POST") == 0, is_route;
	struct api_route route;

	if (refuse_stranger(c, r))
		return;
	is_route = api_route_parse(http_path(r), &route);
	if (!is_post && health_route(c, r, &route))
		return;
	if (is_post && api_route_is(&route, "cluster", "init")) {
		api_init(c, r);
		return;
	}
	if (route.is_v1 && c->leadership != LEADERSHIP_ACTIVE) {
		ask_controller(c, r);
		return;
	}
	if (is_route && (is_post ? trust_post_route(c, r, &route) || post_route(c, r, &route)
	                         : trust_get_route(c, r, &route) || get_route(c, r, &route)))
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
		         json_pack("{s:I,s:s,s:f,s:o}", "operation", (json_int_t)a->op_id, "primary",
		                   g != NULL && g->primary != NODE_NONE ? c->config->nodes[g->primary].name : "", "seconds",
		                   seconds, "text", api_text(a->text)));
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
