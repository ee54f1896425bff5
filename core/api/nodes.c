/* Nodes that leave, stay after all, or move. The routes only record what is wanted; core/run/membership.c carries it out. */
#include "core/api/api.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/trust.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_MS 5000

struct node_job {
	struct control *c;
	struct http_request *http;
	char text[200];
};

static void recorded(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct node_job *j = arg;
	struct control *c = j->c;
	char text[400];

	(void)res;
	if (outcome == STORE_DONE) {
		log_info("membership", "%s", j->text);
		api_json(j->http, 200, json_pack("{s:s}", "text", j->text));
	} else {
		snprintf(text, sizeof text, "it was not recorded: %s %s", sqlstate, message);
		api_error(j->http, outcome == STORE_UNKNOWN ? ERR_TIMEOUT : ERR_SQL, text, "see `mha-shell node list`");
	}
	free(j);
	if (c->leadership == LEADERSHIP_ACTIVE)
		leadership_lost(c, "what is wanted of the members has changed: everything is read again");
}

/* change: what is set in the node's row, SQL. */
static void commit_change(struct control *c, struct http_request *r, const struct config_node *n, const char *change,
                          const char *text)
{
	struct node_job *j = mem_alloc(sizeof *j);
	struct buf b = {0};

	j->c = c;
	j->http = r;
	str_copy(j->text, sizeof j->text, text);
	persist_guard(&b, c->generation);
	buf_printf(&b,
	           "INSERT INTO roster (name, address, peer_port, raft_port, sql_port, role, failure_domain) VALUES ('%s', "
	           "'%s', %u, "
	           "%u, %u, '%s', '%s') ON CONFLICT (name) DO NOTHING;",
	           n->name, n->address, n->peer_port, n->raft_port, n->sql_port, n->role, n->failure_domain);
	buf_printf(&b, "UPDATE roster SET %s WHERE name = '%s';", change, n->name);
	buf_puts(&b, "UPDATE roster_number SET number = number + 1;");
	trust_event_row(c, &b, "info", text);
	buf_puts(&b, "SELECT 1");
	store_session_query(c->store, b.data, COMMIT_MS, recorded, j);
	buf_done(&b);
}

/* Would the voters that are left, as far as they are online, still be a majority? */
static bool keeps_majority(struct control *c, int node)
{
	node_set left = agent_voters(c->agent)->members & ~node_bit(node);
	int64_t now = clock_now_ms();
	int online = 0, i;

	for (i = 0; i < (int)c->config->nodes_count; i++)
		if ((left & node_bit(i)) != 0 && ctl_is_online(c->ctl, i, now))
			online++;
	return online * 2 > node_set_count(left);
}

static void remove_node(struct control *c, struct http_request *r, int node)
{
	const struct config_node *n = &c->config->nodes[node];
	const struct group_record *g;
	char text[256], change[64];
	size_t i;

	for (i = 0; (g = ctl_group(c->ctl, i)) != NULL; i++) {
		if (g->primary != node && g->target != node)
			continue;
		snprintf(text, sizeof text, "node %s is the primary of group %s", n->name, g->name);
		api_error(r, ERR_REFUSED, text, "hand it over first: `mha-shell group switchover GROUP`");
		return;
	}
	if (!keeps_majority(c, node)) {
		snprintf(text, sizeof text, "without node %s the voters that are online would be no majority", n->name);
		api_error(r, ERR_REFUSED, text, "bring other nodes back, or add one, first");
		return;
	}
	snprintf(text, sizeof text, "node %s is to leave the cluster", n->name);
	snprintf(change, sizeof change, "leaving_at = %" PRId64, clock_wall_ms());
	commit_change(c, r, n, change, text);
}

static void keep_node(struct control *c, struct http_request *r, int node)
{
	const struct config_node *n = &c->config->nodes[node];
	char text[128];

	if (!membership_is_leaving(c->membership, node)) {
		snprintf(text, sizeof text, "node %s is not leaving", n->name);
		api_error(r, ERR_REFUSED, text, NULL);
		return;
	}
	snprintf(text, sizeof text, "node %s stays in the cluster", n->name);
	commit_change(c, r, n, "leaving_at = 0", text);
}

static bool is_address(const char *text)
{
	unsigned char ip[16];

	return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

static const char *user_of_address(const struct control *c, const char *address, int node)
{
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++)
		if ((int)i != node && !c->config->nodes[i].is_removed && strcmp(c->config->nodes[i].address, address) == 0)
			return c->config->nodes[i].name;
	return NULL;
}

static void move_node(struct control *c, struct http_request *r, int node)
{
	const struct config_node *n = &c->config->nodes[node];
	json_t *body = api_body(r);
	const char *address = json_string_value(json_object_get(body, "address")), *user;
	char text[256], change[80];

	if (body == NULL)
		return;
	if (address == NULL || !is_address(address)) {
		api_error(r, ERR_INVAL, "\"address\" is missing or no numeric address", NULL);
	} else if (ctl_is_online(c->ctl, node, clock_now_ms())) {
		snprintf(text, sizeof text, "node %s is online at %s", n->name, n->address);
		api_error(r, ERR_REFUSED, text,
		          "stop mhad there first, change `address` in its node.yaml, start it after this");
	} else if ((user = user_of_address(c, address, node)) != NULL &&
	           n->peer_port == config_find_node(c->config, user)->peer_port) {
		snprintf(text, sizeof text, "%s is the address of node %s", address, user);
		api_error(r, ERR_REFUSED, text, NULL);
	} else {
		snprintf(text, sizeof text, "node %s moves from %s to %s", n->name, n->address, address);
		snprintf(change, sizeof change, "address = '%s'", address);
		commit_change(c, r, n, change, text);
	}
	json_decref(body);
}

bool api_node_verb(struct control *c, struct http_request *r, const struct api_route *route)
{
	static const struct {
		const char *verb;
		void (*run)(struct control *c, struct http_request *r, int node);
	} verbs[] = {{"remove", remove_node}, {"keep", keep_node}, {"move", move_node}};
	char text[128];
	size_t i;
	int node;

	if (!api_route_names(route, "nodes"))
		return false;
	node = codec_node(c->config, route->name);
	for (i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(route->verb, verbs[i].verb) != 0)
			continue;
		if (node == NODE_NONE || c->config->nodes[node].is_removed) {
			snprintf(text, sizeof text, "there is no node \"%s\"", route->name);
			api_error(r, ERR_NOTFOUND, text, "see `mha-shell node list`");
			return true;
		}
		verbs[i].run(c, r, node);
		return true;
	}
	return false;
}
