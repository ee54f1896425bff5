/* What the controller sees, as JSON: shell, status page and load tests read the same object. */
#include "core/api/api.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>

static const char *node_name(const struct control *c, int node)
{
	return node == NODE_NONE ? "" : c->config->nodes[node].name;
}

static const char *node_role(const struct control *c, int node)
{
	const struct voter_set *v = agent_voters(c->agent);

	if (strcmp(c->config->nodes[node].role, "arbiter") == 0)
		return "arbiter";
	return (v->members & node_bit(node)) != 0 ? "voter" : "standby";
}

static json_t *node_json(const struct control *c, int node)
{
	bool is_online = ctl_is_online(c->ctl, node, clock_now_ms());

	return json_pack("{s:s,s:s,s:s,s:s}", "name", node_name(c, node), "role", node_role(c, node), "state",
	                 is_online ? "online" : "offline", "address", c->config->nodes[node].address);
}

static json_t *node_list(struct control *c)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++)
		if (!c->config->nodes[i].is_removed)
			json_array_append_new(list, node_json(c, (int)i));
	return list;
}

static size_t group_index(struct control *c, const struct group_record *g)
{
	size_t i = 0;

	while (ctl_group(c->ctl, i) != g)
		i++;
	return i;
}

static const char *holder_of(struct control *c, const struct group_record *g)
{
	const struct instance_report *r = g->primary == NODE_NONE ? NULL : ctl_instance(c->ctl, group_index(c, g), g->primary);

	if (r == NULL || !r->is_leased || r->lease_epoch != g->epoch || !ctl_is_online(c->ctl, g->primary, clock_now_ms()))
		return "";
	return node_name(c, g->primary);
}

static json_t *vip_list(struct control *c)
{
	json_t *list = json_array();
	const struct group_record *g;
	char owner[NAME_SIZE + 8];
	size_t i;
	int k;

	for (k = 0; k < c->leader_vip_count; k++)
		json_array_append_new(list,
		                      json_pack("{s:s,s:s,s:s}", "address", c->leader_vips[k], "owner", "leader", "holder",
		                                agent_lease_is_valid(c->agent, "controller", clock_now_ms()) ? c->config->node
		                                                                                             : ""));
	for (i = 0; (g = ctl_group(c->ctl, i)) != NULL; i++) {
		snprintf(owner, sizeof owner, "group:%s", g->name);
		for (k = 0; k < g->vip_count; k++)
			json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "address", g->vips[k], "owner", owner, "holder",
			                                      holder_of(c, g)));
	}
	return list;
}

static const char *instance_role(const struct instance_report *r)
{
	if (r->process != PROC_RUNNING || r->role == ROLE_UNKNOWN)
		return "down";
	return r->role == ROLE_PRIMARY ? "primary" : "replica";
}

static const char *instance_state(const struct instance_report *r)
{
	static const char *const names[] = {"absent", "stopped", "starting", "running", "stopping"};

	if (r->process == PROC_RUNNING && r->role == ROLE_REPLICA && !r->is_receiving)
		return "not receiving";
	return r->verb[0] != '\0' && r->process != PROC_RUNNING ? r->verb : names[r->process];
}

static json_t *instance_json(struct control *c, const struct group_record *g, int node)
{
	size_t index = group_index(c, g);
	const struct instance_report *r = ctl_instance(c->ctl, index, node);
	const struct instance_report *p = g->primary == NODE_NONE ? NULL : ctl_instance(c->ctl, index, g->primary);
	json_int_t lag = -1;
	json_t *o;

	if (r == NULL || !ctl_is_online(c->ctl, node, clock_now_ms()))
		return json_pack("{s:s,s:s,s:s,s:s,s:n,s:b,s:s}", "node", node_name(c, node), "role", "down", "state",
		                 r == NULL ? "unknown" : "unreachable", "position", r != NULL ? r->position_text : "",
		                 "lag_bytes", "sync", 0, "error", "");
	if (p != NULL && p->position > 0 && r->position > 0)
		lag = p->position > r->position ? (json_int_t)(p->position - r->position) : 0;
	o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:b,s:o}", "node", node_name(c, node), "role", instance_role(r), "state",
	              instance_state(r), "position", r->position_text, "lag_bytes", lag, "sync",
	              (g->sync_set & node_bit(node)) != 0, "error", api_text(r->error));
	if (lag < 0)
		json_object_set_new(o, "lag_bytes", json_null());
	return o;
}

static json_t *operation_json(const struct control *c, const struct group_record *g)
{
	if (g->op == OP_NONE)
		return json_null();
	return json_pack("{s:I,s:s,s:s,s:s,s:s}", "id", (json_int_t)g->op_id, "kind", op_kind_name(g->op), "phase",
	                 group_state_name(g->state), "from", node_name(c, g->primary), "to", node_name(c, g->target));
}

static json_t *group_json(struct control *c, const struct group_record *g)
{
	json_t *instances = json_array();
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++)
		if ((g->instances & node_bit((int)i)) != 0)
			json_array_append_new(instances, instance_json(c, g, (int)i));
	return json_pack("{s:s,s:s,s:s,s:o,s:I,s:s,s:s,s:s,s:b,s:o,s:o}", "name", g->name, "engine", g->engine, "state",
	                 group_state_name(g->state), "reason", api_text(g->reason), "epoch", (json_int_t)g->epoch, "primary",
	                 node_name(c, g->primary), "durability", g->is_sync ? "sync" : "async", "on_failure",
	                 g->is_restart_first ? "restart" : "failover", "paused", g->is_paused, "operation",
	                 operation_json(c, g), "instances", instances);
}

static json_t *group_list(struct control *c)
{
	json_t *list = json_array();
	const struct group_record *g;
	size_t i;

	for (i = 0; (g = ctl_group(c->ctl, i)) != NULL; i++)
		json_array_append_new(list, group_json(c, g));
	return list;
}

json_t *api_status(struct control *c)
{
	bool has_quorum = agent_lease_is_valid(c->agent, "controller", clock_now_ms());

	return json_pack("{s:i,s:s,s:b,s:s,s:I,s:o,s:o,s:o}", "version", 1, "cluster", c->config->cluster, "quorum", has_quorum,
	                 "leader", c->config->node, "generation", (json_int_t)c->generation, "nodes", node_list(c), "vips",
	                 vip_list(c), "groups", group_list(c));
}

json_t *api_nodes(struct control *c)
{
	json_t *list = node_list(c), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		int node = codec_node(c->config, json_string_value(json_object_get(o, "name")));

		json_object_set_new(o, "id", json_string(c->last[node].extra.raft_id));
		json_object_set_new(o, "leader", json_boolean(node == c->self));
		json_object_set_new(o, "heartbeat_age_ms", json_integer(ctl_heartbeat_age(c->ctl, node, clock_now_ms())));
		json_object_set_new(o, "failure_domain", json_string(c->config->nodes[node].failure_domain));
		json_object_set_new(o, "leaving", json_boolean(membership_is_leaving(c->membership, node)));
		json_object_set_new(o, "reason", api_text(membership_obstacle(c->membership, node)));
	}
	return json_pack("{s:o}", "nodes", list);
}

json_t *api_groups(struct control *c)
{
	return json_pack("{s:o}", "groups", group_list(c));
}

json_t *api_vips(struct control *c)
{
	return json_pack("{s:o}", "vips", vip_list(c));
}
