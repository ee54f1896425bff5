/* The door of the controller: events in, update out. */
#include "core/control/state.h"

#include "core/base/str.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *group_state_name(enum group_state s)
{
	static const char *const names[STATE_COUNT] = {"new",     "creating",  "steady",     "restarting",
	                                               "fencing", "promoting", "checkpoint", "stopping"};

	return names[s];
}

enum group_state group_state_parse(const char *name)
{
	int s;

	for (s = 0; s < STATE_COUNT; s++)
		if (strcmp(name, group_state_name((enum group_state)s)) == 0)
			break;
	return (enum group_state)s;
}

const char *op_kind_name(enum op_kind k)
{
	static const char *const names[] = {"", "create", "restart", "failover", "switchover"};

	return names[k];
}

struct ctl *ctl_new(const struct profile *p, int self, uint64_t generation, int64_t now_ms)
{
	struct ctl *c = mem_alloc(sizeof *c);

	c->profile = p;
	c->self = self;
	c->generation = generation;
	c->start_ms = c->now_ms = now_ms;
	c->transfer_ms = now_ms;
	return c;
}

void ctl_free(struct ctl *c)
{
	if (c == NULL)
		return;
	free(c->groups);
	free(c);
}

void ctl_add_node(struct ctl *c, const struct ctl_node *n)
{
	assert(c->node_count < MAX_NODES);
	c->nodes[c->node_count++].id = *n;
}

void ctl_add_group(struct ctl *c, const struct group_record *rec)
{
	struct group *g;
	int node;

	c->groups = mem_resize(c->groups, (c->group_count + 1) * sizeof *c->groups);
	g = &c->groups[c->group_count++];
	memset(g, 0, sizeof *g);
	g->rec = *rec;
	g->since_ms = c->start_ms;
	g->cmd.target = NODE_NONE;
	g->sync_wanted = g->sync_told = rec->sync_set;
	/* Nobody is silent before this controller could hear him. */
	for (node = 0; node < MAX_NODES; node++)
		g->inst[node].seen_ms = g->inst[node].leased_ms = c->start_ms;
	for (node = 0; node < MAX_NODES; node++)
		g->inst[node].streamed_ms = (rec->sync_set & node_bit(node)) != 0 ? c->start_ms : 0;
}

static void take_command(struct ctl *c, const struct event *e)
{
	struct command cmd = {.request_id = e->u.command.request_id,
	                      .kind = e->u.command.kind,
	                      .target = e->u.command.target,
	                      .is_forced = e->u.command.is_forced};
	struct reply_due r = {.request_id = e->u.command.request_id, .code = ERR_NOTFOUND};
	size_t i;

	for (i = 0; i < c->group_count; i++) {
		if (strcmp(c->groups[i].rec.name, e->u.command.group) != 0)
			continue;
		fsm_command(c, &c->groups[i], &cmd);
		return;
	}
	str_copy(r.text, sizeof r.text, "there is no such group: see `group list`");
	str_copy(r.group, sizeof r.group, e->u.command.group);
	fsm_reply(c, &r);
}

static void take_outcome(struct ctl *c, const struct event *e)
{
	size_t i;

	/* After a lost commit another controller may rule, or this one no longer knows what it decided: it says nothing more.
	 */
	if (e->u.committed.outcome == COMMIT_LOST)
		c->is_lost = true;
	for (i = 0; i < c->group_count && !c->is_lost; i++)
		if (c->groups[i].is_committing && c->groups[i].pending.id == e->u.committed.commit_id)
			fsm_committed(c, &c->groups[i], e->u.committed.outcome, e->u.committed.op_id);
}

static void take_event(struct ctl *c, const struct event *e)
{
	switch (e->type) {
	case EVENT_HEARTBEAT:
		view_heartbeat(c, e->u.heartbeat);
		break;
	case EVENT_COMMITTED:
		take_outcome(c, e);
		break;
	case EVENT_COMMAND:
		take_command(c, e);
		break;
	case EVENT_NODE_DOWN:
	case EVENT_TICK:
		break;
	}
}

void ctl_heard(struct ctl *c, const struct heartbeat *hb, int64_t at_ms)
{
	c->now_ms = at_ms;
	view_heartbeat(c, hb);
	c->now_ms = c->start_ms;
}

static void emit_commits(struct ctl *c, struct update *u)
{
	size_t i;

	for (i = 0; i < c->group_count && u->commit_count < UPDATE_MAX_COMMITS; i++) {
		if (!c->groups[i].is_commit_queued)
			continue;
		u->commits[u->commit_count++] = c->groups[i].pending;
		c->groups[i].is_commit_queued = false;
	}
}

static void emit_replies(struct ctl *c, struct update *u)
{
	int i;

	for (i = 0; i < c->reply_count && u->action_count < UPDATE_MAX_ACTIONS; i++) {
		struct action *a = &u->actions[u->action_count++];

		a->type = ACTION_REPLY;
		a->group = NULL;
		a->request_id = c->replies[i].request_id;
		a->op_id = c->replies[i].op_id;
		a->code = c->replies[i].code;
		memcpy(a->text, c->replies[i].text, sizeof a->text);
	}
	memmove(c->replies, c->replies + i, (size_t)(c->reply_count - i) * sizeof c->replies[0]);
	c->reply_count -= i;
}

/* Orders follow from committed records only, and only to nodes that were heard: each answers a heartbeat. */
static void emit_orders(struct ctl *c, struct group *g, struct update *u)
{
	int node;

	for (node = 0; node < c->node_count && u->action_count < UPDATE_MAX_ACTIONS; node++) {
		struct action *a;

		if ((g->due & g->rec.instances & node_bit(node)) == 0 || !c->nodes[node].is_heard)
			continue;
		g->due &= ~node_bit(node);
		g->ordered_ms[node] = c->now_ms;
		a = &u->actions[u->action_count++];
		a->type = ACTION_ORDER;
		a->node = node;
		a->group = g->rec.name;
		order_make(c, g, node, &a->order);
	}
}

/* In the steady state the leader sits on the (first) group's primary, so that store and database share one VIP holder. */
static void emit_transfer(struct ctl *c, struct update *u)
{
	const struct group *g = c->groups;
	struct action *a;

	if (c->group_count == 0 || g->rec.state != STATE_STEADY || g->rec.reason[0] != '\0' || g->is_committing ||
	    g->cmd.request_id != 0)
		return;
	if (g->rec.primary == c->self || !view_is_online(c, g->rec.primary) || c->now_ms - c->transfer_ms < TRANSFER_PAUSE_MS)
		return;
	if (u->action_count == UPDATE_MAX_ACTIONS)
		return;
	c->transfer_ms = c->now_ms;
	a = &u->actions[u->action_count++];
	a->type = ACTION_TRANSFER;
	a->node = g->rec.primary;
	a->group = g->rec.name;
}

int ctl_step(struct ctl *c, const struct event *e, struct update *u)
{
	size_t i;

	u->commit_count = u->action_count = 0;
	if (c->is_lost)
		return 0;
	c->now_ms = e->now_ms;
	take_event(c, e);
	for (i = 0; i < c->group_count && !c->is_lost; i++)
		fsm_run(c, &c->groups[i]);
	if (c->is_lost)
		return 0;
	emit_commits(c, u);
	emit_replies(c, u);
	for (i = 0; i < c->group_count; i++)
		emit_orders(c, &c->groups[i], u);
	emit_transfer(c, u);
	return 0;
}

int64_t ctl_deadline(const struct ctl *c)
{
	int64_t when = c->now_ms + TICK_MS;
	size_t i;

	for (i = 0; i < c->group_count; i++) {
		const struct group *g = &c->groups[i];
		int64_t silent_at;

		if (g->is_commit_queued)
			return c->now_ms;
		if (g->rec.primary == NODE_NONE)
			continue;
		silent_at = g->inst[g->rec.primary].seen_ms + c->profile->silence_ms + 1;
		if (silent_at > c->now_ms && silent_at < when)
			when = silent_at;
	}
	return when;
}

const struct group_record *ctl_group(const struct ctl *c, size_t i)
{
	return i < c->group_count ? &c->groups[i].rec : NULL;
}

const struct group_record *ctl_find_group(const struct ctl *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->group_count; i++)
		if (strcmp(c->groups[i].rec.name, name) == 0)
			return &c->groups[i].rec;
	return NULL;
}

const struct instance_report *ctl_instance(const struct ctl *c, size_t group, int node)
{
	if (group >= c->group_count || node < 0 || node >= MAX_NODES || !c->groups[group].inst[node].is_known)
		return NULL;
	return &c->groups[group].inst[node].r;
}

int64_t ctl_heartbeat_age(const struct ctl *c, int node, int64_t now_ms)
{
	return c->nodes[node].is_heard ? now_ms - c->nodes[node].heard_ms : -1;
}

bool ctl_is_online(const struct ctl *c, int node, int64_t now_ms)
{
	const struct view_node *n = &c->nodes[node];

	return n->is_heard && !n->is_stopping && now_ms - n->heard_ms <= c->profile->silence_ms;
}
