/* The members of the cluster. Hosts that have joined are taken in as standbys, voters_next() says who votes, nodes that leave
 * lose their vote, their roles and their place. One change at a time; a change that was interrupted is found again by the next
 * controller. The voter set changes again only when a majority has granted leases under the present one, and L has passed since
 * (lease_is_settled says why). */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/control/voters.h"
#include "core/run/membership.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_EVERY_MS 200
#define HEARD_MS      1500
#define POLL_MS       500
#define ALIGN_MS      3000

struct membership *membership_new(struct control *c)
{
	struct membership *m = mem_alloc(sizeof *m);

	m->c = c;
	return m;
}

void membership_free(struct membership *m)
{
	free(m);
}

static const char *name_of(const struct membership *m, int node)
{
	return m->c->config->nodes[node].name;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

/* --- what the store says --- */

static void read_members(struct membership *m, const json_t *all)
{
	const struct config *config = m->c->config;
	const json_t *list = json_object_get(all, "nodes"), *o;
	size_t i;
	int node;

	memset(m->nodes, 0, sizeof m->nodes);
	json_array_foreach(list, i, o)
	{
		node = codec_node(config, text_of(o, "name"));
		if (node == NODE_NONE)
			continue;
		m->nodes[node].is_member = true;
		str_copy(m->nodes[node].raft_id, sizeof m->nodes[node].raft_id, text_of(o, "raft_id"));
		str_copy(m->nodes[node].raft_address, sizeof m->nodes[node].raft_address, text_of(o, "raft_address"));
	}
	list = json_object_get(json_object_get(all, "roster"), "nodes");
	json_array_foreach(list, i, o)
	{
		node = codec_node(config, text_of(o, "name"));
		if (node == NODE_NONE)
			continue;
		m->nodes[node].is_leaving = json_integer_value(json_object_get(o, "leaving")) != 0;
		m->nodes[node].is_removed = json_is_true(json_object_get(o, "removed"));
	}
}

void membership_policy(struct membership *m, const char *name, const char *value)
{
	uint64_t seconds;

	if (strcmp(name, MEMBERSHIP_GONE_POLICY) == 0 && str_to_u64(value, name, 0, INT32_MAX, &seconds, NULL) == ERR_OK)
		m->gone_ms = (int64_t)seconds * 1000;
}

static void read_policies(struct membership *m, json_t *policies)
{
	const char *name;
	json_t *value;

	m->gone_ms = VOTERS_GONE_DEFAULT_MS;
	m->c->disk.limits = (struct disk_limits){0};
	json_object_foreach(policies, name, value)
	{
		membership_policy(m, name, json_string_value(value));
		disk_policy(m->c, name, json_string_value(value));
	}
}

void membership_begin(struct membership *m, const json_t *all)
{
	const json_t *voters = json_object_get(all, "voters");
	uint64_t number = (uint64_t)json_integer_value(json_object_get(voters, "number"));
	int64_t now = clock_now_ms();

	read_members(m, all);
	read_policies(m, json_object_get(all, "policies"));
	if (m->begun_ms == 0)
		m->begun_ms = now;
	m->voters.number = number;
	m->is_active = codec_set_parse(m->c->config, text_of(voters, "members"), &m->voters.members);
	if (!m->is_active && number > 0)
		log_error("membership", "the voter set names an unknown node: %s", text_of(voters, "members"));
	if (m->is_active && number > 0 && m->c->agent != NULL)
		agent_set_voters(m->c->agent, &m->voters);
	m->is_busy = false;
	m->aligned_ms = 0;
}

void membership_end(struct membership *m)
{
	m->is_active = false;
	m->is_busy = false;
	m->begun_ms = 0;
}

/* --- a host that has not joined yet --- */

void membership_joined(struct control *c, const char *uuid, const char *profile)
{
	struct buf b = {0};

	if (c->member.is_member || profile_find(profile) == NULL)
		return;
	buf_puts(&b, "CALL mha_join(");
	persist_quote(&b, uuid);
	buf_puts(&b, ", ");
	persist_quote(&b, profile);
	buf_puts(&b, ")");
	/* Asked again with every join frame until node.json says that it is done. */
	store_session_query(c->store, b.data, MEMBERSHIP_CHANGE_MS, NULL, NULL);
	buf_done(&b);
}

static void tell_to_join(struct control *c, int node)
{
	char *json;
	json_t *o = json_pack("{s:s,s:s,s:s}", "t", "join", "uuid", c->member.uuid, "profile", c->member.profile->name);

	json = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	effects_send(c, node, json);
}

/* --- what to do next --- */

/* A member's name with another identity: a wiped host, or two hosts with one name. It is never taken in silently. */
static void check_identity(struct membership *m, int node)
{
	const struct hb_extra *x = &m->c->last[node].extra;

	if (strcmp(x->raft_id, m->nodes[node].raft_id) == 0 || x->raft_id[0] == '\0' || (m->refused & node_bit(node)) != 0)
		return;
	m->refused |= node_bit(node);
	log_error("membership",
	          "node \"%s\" is a member with store id %s, but the host that says so has %s: it was wiped, or two hosts have "
	          "one "
	          "name. Remove the node (mha-shell node remove %s) and let the host join with a new token, or give it a name "
	          "of its own",
	          name_of(m, node), m->nodes[node].raft_id, x->raft_id, name_of(m, node));
}

static void register_instances(struct membership *m, int node)
{
	struct control *c = m->c;
	struct buf b = {0};
	size_t i;

	if (m->nodes[node].is_leaving || codec_decode(c->config, name_of(m, node), c->last[node].json,
	                                              strlen(c->last[node].json), &c->frame, NULL) != ERR_OK)
		return;
	for (i = 0; i < c->frame.heartbeat.report_count; i++) {
		const struct group_record *g = ctl_find_group(c->ctl, c->frame.reports[i].group);

		if (g == NULL || (g->instances & node_bit(node)) != 0)
			continue;
		if (b.len == 0)
			persist_guard(&b, c->generation);
		buf_printf(&b, "INSERT OR IGNORE INTO db_instance (group_name, node) VALUES ('%s', '%s');", g->name,
		           name_of(m, node));
		log_info("membership", "node %s takes part in group %s", name_of(m, node), g->name);
	}
	if (b.len > 0) {
		buf_puts(&b, "SELECT 1");
		m->is_busy = true;
		store_session_query(c->store, b.data, MEMBERSHIP_CHANGE_MS, membership_committed, m);
	}
	buf_done(&b);
}

static bool is_heard(const struct membership *m, int node, int64_t now)
{
	const struct last_heartbeat *l = &m->c->last[node];

	return l->json != NULL && now - l->at_ms <= HEARD_MS;
}

/* A voter that has just started grants nothing for L: it gets a vote when it can vote, so that leases are held throughout. */
bool membership_is_ready(const struct membership *m, int node, int64_t now)
{
	int64_t settled = m->c->member.profile->lease_ms + POLL_MS;

	return is_heard(m, node, now) && m->c->last[node].extra.cluster_uuid[0] != '\0' &&
	       now - m->c->last[node].incarnation_since_ms > settled;
}

static void look_at(struct membership *m, int node, int64_t now)
{
	const struct member_node *n = &m->nodes[node];

	if (!is_heard(m, node, now) || m->c->config->nodes[node].is_removed)
		return;
	if (m->c->last[node].extra.cluster_uuid[0] == '\0') {
		if (n->is_member)
			check_identity(m, node);
		else
			tell_to_join(m->c, node);
	} else if (n->is_member) {
		check_identity(m, node);
		register_instances(m, node);
	} else if (m->c->last[node].extra.raft_id[0] != '\0') {
		membership_start(m, JOB_TAKE_IN, node, "has joined");
	}
}

static int domain_number(const struct config *c, unsigned node)
{
	unsigned i;

	if (c->nodes[node].failure_domain[0] == '\0')
		return -1;
	for (i = 0; strcmp(c->nodes[i].failure_domain, c->nodes[node].failure_domain) != 0; i++)
		;
	return (int)i;
}

static void fill_voters(const struct membership *m, int64_t now, struct voters_node *list)
{
	const struct config *config = m->c->config;
	unsigned i;

	memset(list, 0, MAX_NODES * sizeof *list);
	for (i = 0; i < config->nodes_count; i++) {
		/* This controller knows of a silence only since it began. */
		int64_t heard = m->c->last[i].at_ms > m->begun_ms ? m->c->last[i].at_ms : m->begun_ms;

		list[i].is_member = m->nodes[i].is_member;
		list[i].is_voter = (m->voters.members & node_bit((int)i)) != 0;
		list[i].is_arbiter = strcmp(config->nodes[i].role, "arbiter") == 0;
		list[i].is_leaving = m->nodes[i].is_leaving;
		list[i].is_ready = membership_is_ready(m, (int)i, now);
		list[i].silent_ms = is_heard(m, (int)i, now) ? 0 : now - heard;
		list[i].domain = domain_number(config, i);
	}
}

bool membership_may_change(const struct membership *m, int64_t now_ms)
{
	const struct agent *a = m->c->agent;

	return a != NULL && agent_voters(a)->number == m->voters.number && agent_voters_settled(a, now_ms);
}

static void change_voters(struct membership *m, int64_t now)
{
	const struct voters_policy policy = {.gone_ms = m->gone_ms};
	struct voters_node list[MAX_NODES];
	struct voters_step step;
	int other;

	if (!membership_may_change(m, now))
		return;
	if (m->aligned_ms == 0 || now - m->aligned_ms > ALIGN_MS) {
		membership_start(m, JOB_ALIGN, m->c->self, "");
		return;
	}
	fill_voters(m, now, list);
	voters_next(list, (int)m->c->config->nodes_count, m->c->self, &policy, &step);
	if (step.change == VOTERS_ADD) {
		membership_start(m, JOB_VOTE, step.node, step.reason);
	} else if (step.change == VOTERS_REMOVE && step.node != m->c->self) {
		membership_start(m, JOB_UNVOTE, step.node, step.reason);
	} else if (step.change == VOTERS_REMOVE) {
		/* Nobody takes his own vote away: another voter leads first and does it. */
		for (other = 0; other < (int)m->c->config->nodes_count; other++)
			if (other != m->c->self && list[other].is_voter && list[other].is_ready && !list[other].is_leaving &&
			    !list[other].is_arbiter)
				break;
		if (other < (int)m->c->config->nodes_count)
			leadership_transfer(m->c, other, "this node loses its vote");
	}
}

/* --- nodes that leave --- */

/* Why the node cannot go yet; "" when it can. */
static void find_obstacle(const struct membership *m, int node, char *buf, size_t size)
{
	const struct group_record *g;
	unsigned i;

	buf[0] = '\0';
	if ((m->voters.members & node_bit(node)) != 0)
		snprintf(buf, size, "it votes until another change of the voters is through");
	for (i = 0; buf[0] == '\0' && (g = ctl_group(m->c->ctl, i)) != NULL; i++) {
		if (g->primary == node || g->target == node)
			snprintf(buf, size, "it is the primary of group %s: switch over first", g->name);
		else if ((g->sync_set & node_bit(node)) != 0)
			snprintf(buf, size, "group %s still waits for its acknowledgements", g->name);
	}
}

static void let_leave(struct membership *m)
{
	char obstacle[sizeof m->waits_for];
	int i;

	for (i = 0; i < (int)m->c->config->nodes_count && !m->is_busy; i++) {
		if (!m->nodes[i].is_leaving || m->nodes[i].is_removed)
			continue;
		find_obstacle(m, i, obstacle, sizeof obstacle);
		if (obstacle[0] == '\0')
			membership_start(m, JOB_DISMISS, i, "has left the cluster");
		else if (strcmp(obstacle, m->waits_for) != 0)
			log_info("membership", "node %s has not left yet: %s", name_of(m, i), obstacle);
		str_copy(m->waits_for, sizeof m->waits_for, obstacle);
	}
}

const char *membership_obstacle(const struct membership *m, int node)
{
	static char text[sizeof m->waits_for];

	if (!m->is_active || !m->nodes[node].is_leaving || m->c->ctl == NULL)
		return "";
	find_obstacle(m, node, text, sizeof text);
	return text;
}

bool membership_is_leaving(const struct membership *m, int node)
{
	return m->is_active && m->nodes[node].is_leaving;
}

/* --- nodes that move --- */

static void let_move(struct membership *m)
{
	const struct config *c = m->c->config;
	char address[64];
	unsigned i;

	for (i = 0; i < c->nodes_count && !m->is_busy; i++) {
		if (!m->nodes[i].is_member || m->nodes[i].is_leaving || (int)i == m->c->self)
			continue;
		snprintf(address, sizeof address, strchr(c->nodes[i].address, ':') != NULL ? "[%s]:%u" : "%s:%u",
		         c->nodes[i].address, c->nodes[i].raft_port);
		if (strcmp(address, m->nodes[i].raft_address) == 0)
			continue;
		str_copy(m->job.address, sizeof m->job.address, address);
		membership_start(m, JOB_MOVE, (int)i, "has another address now");
	}
}

void membership_tick(struct membership *m)
{
	int64_t now = clock_now_ms();
	unsigned i;

	if (!m->is_active || m->is_busy || m->c->ctl == NULL || now - m->ticked_ms < TICK_EVERY_MS || now < m->retry_ms)
		return;
	m->ticked_ms = now;
	for (i = 0; i < m->c->config->nodes_count && !m->is_busy; i++)
		look_at(m, (int)i, now);
	if (!m->is_busy)
		let_move(m);
	if (!m->is_busy)
		change_voters(m, now);
	if (!m->is_busy && m->is_active)
		let_leave(m);
}
