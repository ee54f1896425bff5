/* Growing the cluster: fresh nodes are told to join, joined ones become voters one at a time, their instances are registered.
 * The numbered voter set changes with the Raft membership, never twice within L + one poll (DESIGN section 4). */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_EVERY_MS 200
#define HEARD_MS      1500
#define CHANGE_MS     10000
#define POLL_MS       500
#define MAX_VOTERS    5

struct membership {
	struct control *c;
	bool is_active, is_busy;
	int64_t ticked_ms, changed_ms;
	struct voter_set voters;
	node_set members; /* of node rows */
	char raft_ids[MAX_NODES][24];
	node_set refused; /* said once */
	int changing;     /* node being added */
};

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

void membership_begin(struct membership *m, const json_t *nodes, const json_t *voters)
{
	const struct config *config = m->c->config;
	const json_t *o;
	const char *names;
	size_t i;

	m->members = 0;
	json_array_foreach(nodes, i, o)
	{
		int node = codec_node(config, json_string_value(json_object_get(o, "name")));

		if (node == NODE_NONE)
			continue;
		m->members |= node_bit(node);
		str_copy(m->raft_ids[node], sizeof m->raft_ids[node], json_string_value(json_object_get(o, "raft_id")));
	}
	names = json_string_value(json_object_get(voters, "members"));
	m->voters.number = (uint64_t)json_integer_value(json_object_get(voters, "number"));
	m->voters.members = codec_set_parse(config, names != NULL ? names : "");
	if (m->voters.number > 0 && m->c->agent != NULL)
		agent_set_voters(m->c->agent, &m->voters);
	m->is_active = true;
	m->is_busy = false;
	/* This controller does not know when the last change was: it waits as if it had been now. */
	m->changed_ms = clock_now_ms();
}

void membership_end(struct membership *m)
{
	m->is_active = false;
	m->is_busy = false;
}

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
	store_session_query(c->store, b.data, CHANGE_MS, NULL, NULL);
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

static void change_done(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct membership *m = arg;

	(void)res;
	m->is_busy = false;
	m->changed_ms = clock_now_ms();
	if (!m->is_active)
		return;
	if (outcome != STORE_DONE)
		log_warn("membership", "the change was not committed: %s %s", sqlstate, message);
	/* Also after a failure: it may have been applied, or another generation rules. */
	leadership_lost(m->c, outcome == STORE_DONE ? "the members have changed: everything is read again"
	                                            : "a change of the members failed: everything is read again");
}

/* Node row, voter set and event in one transaction of this generation. */
static void record_node(struct membership *m)
{
	struct control *c = m->c;
	const struct last_heartbeat *l = &c->last[m->changing];
	const struct config_node *n = &c->config->nodes[m->changing];
	node_set members = m->voters.members | node_bit(m->changing);
	char names[MAX_NODES * NAME_SIZE];
	struct buf b = {0};

	persist_guard(&b, c->generation);
	buf_printf(&b,
	           "INSERT INTO node (name, raft_id, address, raft_address, role, joined_at) VALUES ('%s', '%s', '%s', '%s', "
	           "'%s', %" PRId64 ");",
	           n->name, l->extra.raft_id, n->address, l->extra.raft_address,
	           strcmp(n->role, "arbiter") == 0 ? "arbiter" : "voter", clock_wall_ms());
	buf_printf(&b, "INSERT INTO voter_set (number, members, committed_at) VALUES (%" PRIu64 ", '%s', %" PRId64 ");",
	           m->voters.number + 1, codec_set_format(c->config, members, names, sizeof names), clock_wall_ms());
	buf_printf(&b,
	           "INSERT INTO event (at, generation, severity, text) VALUES (%" PRId64 ", %" PRIu64
	           ", 'info', 'node %s has joined as voter');",
	           clock_wall_ms(), c->generation, n->name);
	buf_puts(&b, "SELECT 1");
	log_info("membership", "node %s has joined as voter", n->name);
	store_session_query(c->store, b.data, CHANGE_MS, change_done, m);
	buf_done(&b);
}

static bool is_voter(const PGresult *res, const char *raft_id)
{
	int row;

	for (row = 0; row < PQntuples(res); row++)
		if (strcmp(PQgetvalue(res, row, 0), raft_id) == 0)
			return strcmp(PQgetvalue(res, row, 2), "voter") == 0;
	return false;
}

/* An earlier attempt may have got as far as the assignment: what Raft says counts. */
static void members_listed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate,
                           const char *message)
{
	struct membership *m = arg;

	(void)sqlstate;
	if (m->is_active && outcome == STORE_DONE && is_voter(res, m->c->last[m->changing].extra.raft_id)) {
		record_node(m);
		return;
	}
	if (m->is_active)
		log_warn("membership", "node %s is not a voter yet: %s", m->c->config->nodes[m->changing].name, message);
	m->is_busy = false;
}

static void assigned(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct membership *m = arg;

	(void)res;
	if (m->is_active && outcome != STORE_DONE) {
		log_debug("membership", "assign: %s %s", sqlstate, message);
		store_session_query(m->c->store, "SHOW mha.members", CHANGE_MS, members_listed, m);
	} else if (m->is_active) {
		record_node(m);
	} else {
		m->is_busy = false;
	}
}

static void added(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct membership *m = arg;
	char sql[96];

	(void)res;
	if (!m->is_active || outcome == STORE_UNKNOWN) {
		m->is_busy = false;
		return;
	}
	/* Added by an attempt that did not get further: the assignment tells. */
	if (outcome != STORE_DONE)
		log_debug("membership", "add: %s %s", sqlstate, message);
	snprintf(sql, sizeof sql, "CALL mha_assign('%s', 'voter')", m->c->last[m->changing].extra.raft_id);
	store_session_query(m->c->store, sql, CHANGE_MS, assigned, m);
}

static void add_node(struct membership *m, int node)
{
	const struct hb_extra *x = &m->c->last[node].extra;
	char sql[192];

	if (node_set_count(m->voters.members) >= MAX_VOTERS || x->raft_id[0] == '\0')
		return;
	m->is_busy = true;
	m->changing = node;
	snprintf(sql, sizeof sql, "CALL mha_add('%s', '%s')", x->raft_id, x->raft_address);
	store_session_query(m->c->store, sql, CHANGE_MS, added, m);
}

/* A member's name with another identity: a wiped host, or two hosts with one name. It is never taken in silently. */
static void check_identity(struct membership *m, int node)
{
	const struct hb_extra *x = &m->c->last[node].extra;

	if (strcmp(x->raft_id, m->raft_ids[node]) == 0 || x->raft_id[0] == '\0' || (m->refused & node_bit(node)) != 0)
		return;
	m->refused |= node_bit(node);
	log_error("membership",
	          "node \"%s\" is a member with store id %s, but the host that says so has %s: it was wiped, or two hosts have "
	          "one name. "
	          "Restore its state directory, or give the host a name of its own",
	          m->c->config->nodes[node].name, m->raft_ids[node], x->raft_id);
}

static bool register_instances(struct membership *m, int node)
{
	struct control *c = m->c;
	struct buf b = {0};
	size_t i;

	if (codec_decode(c->config, c->config->nodes[node].name, c->last[node].json, strlen(c->last[node].json), &c->frame,
	                 NULL) != ERR_OK)
		return false;
	for (i = 0; i < c->frame.heartbeat.report_count; i++) {
		const struct group_record *g = ctl_find_group(c->ctl, c->frame.reports[i].group);

		if (g == NULL || (g->instances & node_bit(node)) != 0)
			continue;
		if (b.len == 0)
			persist_guard(&b, c->generation);
		buf_printf(&b, "INSERT OR IGNORE INTO db_instance (group_name, node) VALUES ('%s', '%s');", g->name,
		           c->config->nodes[node].name);
		log_info("membership", "node %s takes part in group %s", c->config->nodes[node].name, g->name);
	}
	if (b.len > 0) {
		buf_puts(&b, "SELECT 1");
		m->is_busy = true;
		store_session_query(c->store, b.data, CHANGE_MS, change_done, m);
	}
	buf_done(&b);
	return m->is_busy;
}

static void look_at(struct membership *m, int node, int64_t now)
{
	struct control *c = m->c;
	const struct last_heartbeat *l = &c->last[node];
	int64_t settled = c->member.profile->lease_ms + POLL_MS;

	if (l->json == NULL || now - l->at_ms > HEARD_MS)
		return;
	if (l->extra.cluster_uuid[0] == '\0') {
		if ((m->members & node_bit(node)) == 0)
			tell_to_join(c, node);
		else
			check_identity(m, node);
		return;
	}
	if ((m->members & node_bit(node)) != 0) {
		check_identity(m, node);
		(void)register_instances(m, node);
		return;
	}
	/* A voter that has just started grants nothing for L: it is taken in when it can vote, so that leases are held
	 * throughout. */
	if (now - l->incarnation_since_ms > settled && now - m->changed_ms > settled)
		add_node(m, node);
}

void membership_tick(struct membership *m)
{
	int64_t now = clock_now_ms();
	unsigned i;

	if (!m->is_active || m->c->ctl == NULL || now - m->ticked_ms < TICK_EVERY_MS)
		return;
	m->ticked_ms = now;
	for (i = 0; i < m->c->config->nodes_count && !m->is_busy; i++)
		look_at(m, (int)i, now);
}
