/* One change of the members: Raft first, then its record, the numbered voter set and an event in one transaction of this
 * generation. What Raft says counts: a step that an earlier controller has taken is not taken again. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/membership.h"
#include "core/run/trust.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RETRY_MS 1000

static const char *node_name(const struct membership *m)
{
	return m->c->config->nodes[m->job.node].name;
}

/* --- the record of a change --- */

void membership_committed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct membership *m = arg;

	(void)res;
	m->is_busy = false;
	if (!m->is_active)
		return;
	if (outcome != STORE_DONE)
		log_warn("membership", "the change was not committed: %s %s", sqlstate, message);
	/* Also after a failure: it may have been applied, or another generation rules. */
	leadership_lost(m->c, outcome == STORE_DONE ? "the members have changed: everything is read again"
	                                            : "a change of the members failed: everything is read again");
}

static void put_roster(struct buf *b, const struct config_node *n)
{
	buf_printf(b,
	           "INSERT INTO roster (name, address, peer_port, raft_port, sql_port, role, failure_domain) VALUES ('%s', "
	           "'%s', %u, "
	           "%u, %u, '%s', '%s') ON CONFLICT (name) DO UPDATE SET removed_at = 0, leaving_at = 0;",
	           n->name, n->address, n->peer_port, n->raft_port, n->sql_port, n->role, n->failure_domain);
}

static void put_taken_in(struct membership *m, struct buf *b)
{
	const struct config_node *n = &m->c->config->nodes[m->job.node];
	const struct hb_extra *x = &m->c->last[m->job.node].extra;

	put_roster(b, n);
	buf_printf(b,
	           "INSERT INTO node (name, raft_id, address, raft_address, role, joined_at) VALUES ('%s', '%s', '%s', '%s', "
	           "'%s', "
	           "%" PRId64 ");",
	           n->name, x->raft_id, n->address, x->raft_address, strcmp(n->role, "arbiter") == 0 ? "arbiter" : "standby",
	           clock_wall_ms());
}

static void put_voters(struct membership *m, struct buf *b)
{
	bool is_vote = m->job.kind == JOB_VOTE;
	node_set bit = node_bit(m->job.node);
	node_set members = is_vote ? m->voters.members | bit : m->voters.members & ~bit;
	char names[MAX_NODES * NAME_SIZE];

	buf_printf(b, "INSERT INTO voter_set (number, members, committed_at) VALUES (%" PRIu64 ", '%s', %" PRId64 ");",
	           m->voters.number + 1, codec_set_format(m->c->config, members, names, sizeof names), clock_wall_ms());
	buf_printf(b, "UPDATE node SET role = '%s' WHERE name = '%s' AND role <> 'arbiter';", is_vote ? "voter" : "standby",
	           node_name(m));
}

static void put_dismissed(struct membership *m, struct buf *b)
{
	const char *name = node_name(m);
	int64_t now = clock_wall_ms();

	buf_printf(b, "DELETE FROM db_instance WHERE node = '%s'; DELETE FROM node WHERE name = '%s';", name, name);
	buf_printf(b, "UPDATE roster SET removed_at = %" PRId64 ", leaving_at = 0 WHERE name = '%s';", now, name);
	buf_printf(b, "UPDATE certificate SET revoked_at = %" PRId64 " WHERE kind = 'node' AND name = '%s' AND revoked_at = 0;",
	           now, name);
	buf_printf(b, "UPDATE secret_join SET expires_at = 0 WHERE node = '%s' AND used_at = 0;", name);
}

static void put_moved(struct membership *m, struct buf *b)
{
	buf_printf(b,
	           "UPDATE node SET raft_address = '%s', address = (SELECT address FROM roster WHERE name = '%s') WHERE name = "
	           "'%s';",
	           m->job.address, node_name(m), node_name(m));
}

static void record(struct membership *m)
{
	struct control *c = m->c;
	struct buf b = {0};
	char text[200];

	snprintf(text, sizeof text, "node %s %s", node_name(m), m->job.reason);
	/* Asked again: this job may have been begun under an earlier set. */
	if ((m->job.kind == JOB_VOTE || m->job.kind == JOB_UNVOTE) && !membership_may_change(m, clock_now_ms())) {
		m->is_busy = false;
		return;
	}
	persist_guard(&b, c->generation);
	switch (m->job.kind) {
	case JOB_TAKE_IN:
		put_taken_in(m, &b);
		break;
	case JOB_VOTE:
	case JOB_UNVOTE:
		put_voters(m, &b);
		break;
	case JOB_DISMISS:
		put_dismissed(m, &b);
		break;
	case JOB_MOVE:
		put_moved(m, &b);
		break;
	case JOB_ALIGN:
		break;
	}
	buf_puts(&b, "UPDATE roster_number SET number = number + 1;");
	trust_event_row(c, &b, "info", text);
	buf_puts(&b, "SELECT 1");
	log_info("membership", "%s", text);
	store_session_query(c->store, b.data, MEMBERSHIP_CHANGE_MS, membership_committed, m);
	buf_done(&b);
}

/* --- a change in Raft --- */

/* "voter", "standby", "spare", or "" when Raft does not know the node at `address` (NULL: anywhere). */
static const char *raft_role(const PGresult *res, const char *raft_id, const char *address)
{
	int row;

	for (row = 0; row < PQntuples(res); row++)
		if (strcmp(PQgetvalue(res, row, 0), raft_id) == 0 &&
		    (address == NULL || strcmp(PQgetvalue(res, row, 1), address) == 0))
			return PQgetvalue(res, row, 2);
	return "";
}

static const char *raft_id_of(const struct membership *m)
{
	return m->job.kind == JOB_TAKE_IN ? m->c->last[m->job.node].extra.raft_id : m->nodes[m->job.node].raft_id;
}

static void look_at_raft(struct membership *m);

static void step_done(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct membership *m = arg;

	(void)res;
	if (!m->is_active) {
		m->is_busy = false;
		return;
	}
	if (outcome != STORE_DONE) {
		log_warn("membership", "node %s: %s %s -> tried again", node_name(m), sqlstate, message);
		m->retry_ms = clock_now_ms() + RETRY_MS;
		m->is_busy = false;
		return;
	}
	look_at_raft(m);
}

static void call_step(struct membership *m, const char *fmt, const char *a, const char *b)
{
	char sql[256];

	snprintf(sql, sizeof sql, fmt, a, b);
	store_session_query(m->c->store, sql, MEMBERSHIP_CHANGE_MS, step_done, m);
}

static void keep_role(struct membership *m, const char *id, const char *role, const char *wanted)
{
	if (role[0] == '\0')
		call_step(m, "CALL mha_add('%s', '%s')", id,
		          m->job.kind == JOB_TAKE_IN ? m->c->last[m->job.node].extra.raft_address
		                                     : m->nodes[m->job.node].raft_address);
	else if (strcmp(role, wanted) != 0)
		call_step(m, "CALL mha_assign('%s', '%s')", id, wanted);
	else
		record(m);
}

/* Remove the old entry, add the new one. It votes again (align) once it is heard at its new address: Raft would have to wait
 * for a voter that is away, and nothing else could be asked of the store meanwhile. */
static void move_on(struct membership *m, const PGresult *res)
{
	const char *id = raft_id_of(m), *role = raft_role(res, id, m->job.address);
	if (role[0] == '\0' && raft_role(res, id, NULL)[0] != '\0')
		call_step(m, "CALL mha_remove('%s')%s", id, "");
	else if (role[0] == '\0')
		call_step(m, "CALL mha_add('%s', '%s')", id, m->job.address);
	else if (strcmp(role, "spare") == 0)
		call_step(m, "CALL mha_assign('%s', '%s')", id, "standby");
	else
		record(m);
}

static void align(struct membership *m, const PGresult *res)
{
	int64_t now = clock_now_ms();
	int i;

	for (i = 0; i < (int)m->c->config->nodes_count; i++) {
		const char *wanted = (m->voters.members & node_bit(i)) != 0 ? "voter" : "standby", *role;

		if (!m->nodes[i].is_member || i == m->c->self)
			continue;
		role = raft_role(res, m->nodes[i].raft_id, NULL);
		if (role[0] == '\0' || strcmp(role, wanted) == 0 || !membership_is_ready(m, i, now))
			continue;
		log_warn("membership", "node %s is a %s in Raft, but the records say %s -> Raft is changed",
		         m->c->config->nodes[i].name, role, wanted);
		m->job.node = i;
		call_step(m, "CALL mha_assign('%s', '%s')", m->nodes[i].raft_id, wanted);
		return;
	}
	m->aligned_ms = now;
	m->is_busy = false;
}

/* What is there already is not done again: the attempt before may have got further than it knew. */
static void raft_seen(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct membership *m = arg;
	const char *id, *role;

	if (!m->is_active || outcome != STORE_DONE) {
		if (m->is_active)
			log_debug("membership", "the members were not listed: %s %s", sqlstate, message);
		m->is_busy = false;
		return;
	}
	id = raft_id_of(m);
	role = raft_role(res, id, NULL);
	switch (m->job.kind) {
	case JOB_TAKE_IN:
		/* A voter already: the controller before this one got as far as that. */
		keep_role(m, id, role, strcmp(role, "voter") == 0 ? "voter" : "standby");
		break;
	case JOB_VOTE:
		keep_role(m, id, role, "voter");
		break;
	case JOB_UNVOTE:
		keep_role(m, id, role, "standby");
		break;
	case JOB_DISMISS:
		if (role[0] != '\0')
			call_step(m, "CALL mha_remove('%s')%s", id, "");
		else
			record(m);
		break;
	case JOB_MOVE:
		move_on(m, res);
		break;
	case JOB_ALIGN:
		align(m, res);
		break;
	}
}

static void look_at_raft(struct membership *m)
{
	store_session_query(m->c->store, "SHOW mha.members", MEMBERSHIP_CHANGE_MS, raft_seen, m);
}

void membership_start(struct membership *m, enum job_kind kind, int node, const char *reason)
{
	m->is_busy = true;
	m->job.kind = kind;
	m->job.node = node;
	str_copy(m->job.reason, sizeof m->job.reason, reason);
	look_at_raft(m);
}
