/* Decisions as transactions: each checks that the generation still rules and that the group is where it was thought to be. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_MS 3000

void persist_quote(struct buf *b, const char *text)
{
	char *utf8 = str_utf8(text), *p; /* what is stored is read again as JSON */

	buf_puts(b, "'");
	for (p = utf8; *p != '\0'; p++) {
		if (*p == '\'')
			buf_puts(b, "'");
		buf_add(b, p, 1);
	}
	buf_puts(b, "'");
	free(utf8);
}

/* decision_guard has CHECK (ok = 1): a false condition fails the statement, and with it the whole transaction. */
void persist_guard(struct buf *b, uint64_t generation)
{
	buf_printf(b,
	           "INSERT OR REPLACE INTO decision_guard (id, ok) SELECT 1, EXISTS (SELECT 1 FROM controller WHERE generation "
	           "= %" PRIu64 ");",
	           generation);
}

static void guard_epoch(struct buf *b, const struct commit *k)
{
	buf_puts(b, "INSERT OR REPLACE INTO decision_guard (id, ok) SELECT 1, EXISTS (SELECT 1 FROM db_group WHERE name = ");
	persist_quote(b, k->record.name);
	buf_printf(b, " AND epoch = %" PRIu64 ");", k->old_epoch);
}

static const char *node_name(const struct control *c, int node)
{
	return node == NODE_NONE ? "" : c->config->nodes[node].name;
}

static void write_operation(struct control *c, struct buf *b, const struct commit *k)
{
	const struct group_record *r = &k->record;
	int64_t now = clock_wall_ms();

	if (k->is_op_begin) {
		buf_puts(b, "INSERT INTO operation (group_name, kind, from_node, to_node, generation, epoch, phase, "
		            "started_at, reason) VALUES (");
		persist_quote(b, r->name);
		buf_printf(b, ", '%s', '%s', '%s', %" PRIu64 ", %" PRIu64 ", '%s', %" PRId64 ", ", op_kind_name(r->op),
		           node_name(c, r->primary), node_name(c, r->target), c->generation, r->epoch,
		           group_state_name(r->state), now);
		persist_quote(b, k->event_text);
		buf_puts(b, ");");
		return;
	}
	if (r->op_id == 0 && !k->is_op_end)
		return;
	buf_printf(b, "UPDATE operation SET phase = '%s', to_node = '%s', epoch = %" PRIu64, group_state_name(r->state),
	           node_name(c, r->primary), r->epoch);
	if (k->is_op_end)
		buf_printf(b, ", ended_at = %" PRId64 ", result = '%s'", now, k->is_op_failed ? "failed" : "ok");
	buf_puts(b, ", reason = ");
	persist_quote(b, k->event_text);
	buf_puts(b, " WHERE id = (SELECT operation FROM db_group WHERE name = ");
	persist_quote(b, r->name);
	buf_puts(b, ");");
}

static void write_group(struct control *c, struct buf *b, const struct commit *k)
{
	const struct group_record *r = &k->record;
	char names[MAX_NODES * NAME_SIZE];

	buf_printf(b,
	           "UPDATE db_group SET state = '%s', epoch = %" PRIu64 ", step = %" PRIu64
	           ", primary_node = '%s', target_node = '%s', sync_set = '%s', "
	           "paused = %d, early = %d, rule = %d, reason = ",
	           group_state_name(r->state), r->epoch, r->step, node_name(c, r->primary), node_name(c, r->target),
	           codec_set_format(c->config, r->sync_set, names, sizeof names), r->is_paused, r->is_early, r->rule);
	persist_quote(b, r->reason);
	buf_puts(b, ", system_id = ");
	persist_quote(b, r->system_id);
	if (k->is_op_begin)
		buf_puts(b, ", operation = (SELECT max(id) FROM operation)");
	else if (k->is_op_end)
		buf_puts(b, ", operation = 0");
	buf_puts(b, " WHERE name = ");
	persist_quote(b, r->name);
	buf_puts(b, ";");
}

static void write_event(struct control *c, struct buf *b, const struct commit *k)
{
	static const char *const severities[] = {"info", "warning", "critical"};

	if (!k->is_event)
		return;
	buf_puts(b, "INSERT INTO event (at, generation, group_name, epoch, rule, severity, text) VALUES (");
	buf_printf(b, "%" PRId64 ", %" PRIu64 ", ", clock_wall_ms(), c->generation);
	persist_quote(b, k->record.name);
	buf_printf(b, ", %" PRIu64 ", %d, '%s', ", k->record.epoch, k->record.rule, severities[k->severity]);
	persist_quote(b, k->event_text);
	buf_puts(b, ");");
}

struct pending_commit {
	struct control *c;
	uint64_t id, generation;
};

static void log_decision(const struct commit *k)
{
	char obj[NAME_SIZE + 8];

	if (!k->is_event)
		return;
	snprintf(obj, sizeof obj, "group %s", k->record.name);
	if (k->severity == 0)
		log_info(obj, "rule %d: %s", k->record.rule, k->event_text);
	else
		log_warn(obj, "rule %d: %s", k->record.rule, k->event_text);
}

static enum commit_outcome judge(enum store_outcome outcome, const char *sqlstate)
{
	if (outcome == STORE_DONE)
		return COMMIT_DONE;
	/* 10506 and its like are ambiguous: whatever was meant may be there. 23514 is the guard: another generation rules. */
	if (outcome == STORE_UNKNOWN || strcmp(sqlstate, "23514") == 0)
		return COMMIT_LOST;
	return COMMIT_FAILED;
}

static void committed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct pending_commit *p = arg;
	struct control *c = p->c;
	struct event e = {.type = EVENT_COMMITTED, .now_ms = clock_now_ms()};
	bool is_mine = c->ctl != NULL && c->generation == p->generation;

	e.u.committed.commit_id = p->id;
	e.u.committed.outcome = judge(outcome, sqlstate);
	if (res != NULL && PQntuples(res) == 1)
		e.u.committed.op_id = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	free(p);
	if (!is_mine)
		return;
	if (e.u.committed.outcome != COMMIT_DONE)
		log_warn("controller", "a decision was not committed: %s %s", sqlstate, message);
	if (e.u.committed.outcome == COMMIT_LOST) {
		leadership_lost(c, "the outcome of a decision is not known: everything is read again");
		return;
	}
	if (e.u.committed.outcome == COMMIT_DONE)
		c->quorum_ms = e.now_ms;
	effects_controller(c, &e);
}

void persist_commit(struct control *c, const struct commit *k)
{
	struct pending_commit *p = mem_alloc(sizeof *p);
	struct buf b = {0};

	p->c = c;
	p->id = k->id;
	p->generation = c->generation;
	persist_guard(&b, c->generation);
	guard_epoch(&b, k);
	write_operation(c, &b, k);
	write_event(c, &b, k);
	write_group(c, &b, k);
	buf_puts(&b, "SELECT operation FROM db_group WHERE name = ");
	persist_quote(&b, k->record.name);
	log_decision(k);
	store_session_query(c->store, b.data, COMMIT_MS, committed, p);
	buf_done(&b);
}

const char *persist_load_sql(void)
{
	return "SELECT json_object("
	       "'schema', (SELECT max(version) FROM schema_version),"
	       "'generation', (SELECT generation FROM controller),"
	       "'nodes', (SELECT json_group_array(json_object('name', name, 'raft_id', raft_id, 'raft_address', raft_address, "
	       "'role', role,"
	       " 'maintenance', maintenance)) FROM node),"
	       "'voters', (SELECT json_object('number', number, 'members', members) FROM voter_set ORDER BY number DESC LIMIT "
	       "1),"
	       "'groups', (SELECT json_group_array(json_object('name', name, 'engine', engine, 'state', state, 'epoch', epoch, "
	       "'step', step,"
	       " 'primary', primary_node, 'target', target_node, 'sync_set', sync_set, 'durability', durability, 'on_failure', "
	       "on_failure,"
	       " 'paused', paused, 'early', early, 'operation', operation, 'kind', (SELECT kind FROM operation o WHERE o.id = "
	       "g.operation),"
	       " 'system_id', system_id, 'rule', rule, 'reason', reason)) FROM db_group g),"
	       "'instances', (SELECT json_group_array(json_object('group', group_name, 'node', node)) FROM db_instance),"
	       "'vips', (SELECT json_group_array(json_object('address', address, 'owner', owner)) FROM vip)," NODES_SQL
	       ",'policies', (SELECT json_group_object(name, value) FROM policy))";
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static enum op_kind parse_kind(const char *name)
{
	int k;

	for (k = OP_SWITCHOVER; k > OP_NONE; k--)
		if (strcmp(name, op_kind_name((enum op_kind)k)) == 0)
			break;
	return (enum op_kind)k;
}

static void read_record(const struct control *c, const json_t *o, struct group_record *r)
{
	memset(r, 0, sizeof *r);
	str_copy(r->name, sizeof r->name, text_of(o, "name"));
	str_copy(r->engine, sizeof r->engine, text_of(o, "engine"));
	r->state = group_state_parse(text_of(o, "state"));
	r->epoch = number_of(o, "epoch");
	r->step = number_of(o, "step");
	r->primary = codec_node(c->config, text_of(o, "primary"));
	r->target = codec_node(c->config, text_of(o, "target"));
	/* Nobody can be trusted with acknowledged commits when somebody in the set is unknown. */
	if (!codec_set_parse(c->config, text_of(o, "sync_set"), &r->sync_set))
		log_error("controller", "group \"%s\": its synchronous set names an unknown node: %s", r->name,
		          text_of(o, "sync_set"));
	r->is_sync = strcmp(text_of(o, "durability"), "sync") == 0;
	r->is_restart_first = strcmp(text_of(o, "on_failure"), "restart") == 0;
	r->is_paused = number_of(o, "paused") != 0;
	r->is_early = number_of(o, "early") != 0;
	r->op_id = number_of(o, "operation");
	r->op = r->op_id != 0 ? parse_kind(text_of(o, "kind")) : OP_NONE;
	str_copy(r->system_id, sizeof r->system_id, text_of(o, "system_id"));
	r->rule = (int)number_of(o, "rule");
	str_copy(r->reason, sizeof r->reason, text_of(o, "reason"));
}

static void read_members_of(const struct control *c, const json_t *all, struct group_record *r)
{
	const json_t *list = json_object_get(all, "instances"), *o;
	char owner[NAME_SIZE + 8];
	size_t i;

	json_array_foreach(list, i, o) if (strcmp(text_of(o, "group"), r->name) == 0) r->instances |=
	        node_bit(codec_node(c->config, text_of(o, "node")));
	snprintf(owner, sizeof owner, "group:%s", r->name);
	list = json_object_get(all, "vips");
	json_array_foreach(list, i, o) if (strcmp(text_of(o, "owner"), owner) == 0 && r->vip_count < MAX_VIPS)
	        str_copy(r->vips[r->vip_count++], sizeof r->vips[0], text_of(o, "address"));
}

static void read_nodes(const struct control *c, const json_t *all, struct ctl *ctl)
{
	const json_t *list = json_object_get(all, "nodes"), *o;
	unsigned n;
	size_t i;

	for (n = 0; n < c->config->nodes_count; n++) {
		struct ctl_node node = {.is_arbiter = strcmp(c->config->nodes[n].role, "arbiter") == 0};

		str_copy(node.name, sizeof node.name, c->config->nodes[n].name);
		json_array_foreach(list, i, o) if (strcmp(text_of(o, "name"), node.name) == 0) node.is_maintenance =
		        number_of(o, "maintenance") != 0;
		/* A node that leaves shall be nobody's primary and nobody's synchronous standby. */
		list = json_object_get(json_object_get(all, "roster"), "nodes");
		json_array_foreach(list, i, o) if (strcmp(text_of(o, "name"), node.name) == 0 && number_of(o, "leaving") != 0)
		        node.is_maintenance = true;
		list = json_object_get(all, "nodes");
		ctl_add_node(ctl, &node);
	}
}

int persist_load(struct control *c, const char *json, struct ctl *ctl, struct err *e)
{
	json_t *all = json_loads(json, 0, NULL);
	const json_t *list = json_object_get(all, "groups"), *o;
	size_t i;

	if (!json_is_object(all)) {
		json_decref(all);
		return err_set(e, ERR_PROTOCOL, "the store's records cannot be read");
	}
	nodes_read(c, all);
	read_nodes(c, all, ctl);
	json_array_foreach(list, i, o)
	{
		struct group_record r;

		read_record(c, o, &r);
		read_members_of(c, all, &r);
		if (r.state == STATE_COUNT) {
			json_decref(all);
			return err_set(e, ERR_PROTOCOL, "group \"%s\" is in a state this version does not know: \"%s\"", r.name,
			               text_of(o, "state"));
		}
		ctl_add_group(ctl, &r);
	}
	c->leader_vip_count = 0;
	list = json_object_get(all, "vips");
	json_array_foreach(list, i, o) if (strcmp(text_of(o, "owner"), "leader") == 0 && c->leader_vip_count < MAX_LEADER_VIPS)
	        str_copy(c->leader_vips[c->leader_vip_count++], sizeof c->leader_vips[0], text_of(o, "address"));
	membership_begin(c->membership, all);
	json_decref(all);
	return ERR_OK;
}

uint64_t persist_schema(const char *json)
{
	json_t *all = json_loads(json, 0, NULL);
	uint64_t version = number_of(all, "schema");

	json_decref(all);
	return version;
}
