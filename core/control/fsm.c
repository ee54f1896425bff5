/* One group's machine: find the rule that holds, turn it into a commit, and go on when the store has it. */
#include "core/control/rank.h"
#include "core/control/rules.h"
#include "core/control/state.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAX_MOVES 4 /* rules that can follow one another within one step */

/* Names of the committed set's members that have not detached yet. */
static void names_of_waiting(const struct ctl *c, const struct group *g, char *buf, size_t size)
{
	node_set waiting = 0;
	int node;

	for (node = 0; node < c->node_count; node++)
		if ((g->rec.sync_set & node_bit(node)) != 0 &&
		    (!view_is_fresh(c, g, node) || !g->inst[node].r.is_detached || g->inst[node].r.step != g->rec.step))
			waiting |= node_bit(node);
	view_set_names(c, waiting, buf, size);
}

/* Why a switchover's target cannot take over. */
static void explain_target(const struct ctl *c, const struct group *g, char *buf, size_t size)
{
	int target = facts_target(c, g);
	enum rank_reject why = target == NODE_NONE ? RANK_NO_INSTANCE : rank_check(c, g, target, true);

	if (target == NODE_NONE)
		snprintf(buf, size, "there is no replica that could take over");
	else if (why != RANK_OK)
		snprintf(buf, size, "%s %s", view_node_name(c, target), rank_reject_text(why));
	else
		snprintf(buf, size, "%s does not receive from %s now", view_node_name(c, target),
		         view_node_name(c, g->rec.primary));
}

static void fill_word(const struct ctl *c, const struct group *g, const char *word, char *buf, size_t size)
{
	bool is_forced = g->cmd.request_id != 0 && g->cmd.is_forced;

	if (strcmp(word, "primary") == 0)
		snprintf(buf, size, "%s", view_node_name(c, g->rec.primary));
	else if (strcmp(word, "target") == 0)
		snprintf(buf, size, "%s", view_node_name(c, facts_target(c, g)));
	else if (strcmp(word, "unfit") == 0)
		explain_target(c, g, buf, size);
	else if (strcmp(word, "best") == 0)
		snprintf(buf, size, "%s", view_node_name(c, rank_best(c, g, is_forced)));
	else if (strcmp(word, "why") == 0)
		rank_explain(c, g, is_forced, buf, size);
	else if (strcmp(word, "set") == 0)
		view_set_names(c, facts_sync_step(c, g).set, buf, size);
	else if (strcmp(word, "waiting") == 0)
		names_of_waiting(c, g, buf, size);
	else if (strcmp(word, "error") == 0)
		snprintf(buf, size, "%s", g->rec.primary == NODE_NONE ? "" : g->inst[g->rec.primary].r.error);
	else
		assert(!"a reason names an unknown word");
}

static void fill_reason(const struct ctl *c, const struct group *g, const char *reason, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	while (*reason != '\0' && len + 1 < size) {
		const char *end = *reason == '{' ? strchr(reason, '}') : NULL;
		char word[16];

		if (end == NULL) {
			buf[len++] = *reason++;
			buf[len] = '\0';
			continue;
		}
		snprintf(word, sizeof word, "%.*s", (int)(end - reason - 1), reason + 1);
		fill_word(c, g, word, buf + len, size - len);
		len += strlen(buf + len);
		reason = end + 1;
	}
}

void fsm_reply(struct ctl *c, const struct reply_due *r)
{
	if (c->reply_count < MAX_REPLIES)
		c->replies[c->reply_count++] = *r;
}

static void answer_command(struct ctl *c, struct group *g, enum err_code code, const char *text)
{
	struct reply_due r = {.request_id = g->cmd.request_id, .op_id = g->rec.op_id, .code = code};

	if (g->cmd.request_id == 0)
		return;
	snprintf(r.group, sizeof r.group, "%s", g->rec.name);
	snprintf(r.text, sizeof r.text, "%s", text);
	fsm_reply(c, &r);
	memset(&g->cmd, 0, sizeof g->cmd);
}

/* Standbys that have everything the new primary has: they go on being safe under the new epoch. */
static node_set equal_standbys(const struct ctl *c, const struct group *g, int primary)
{
	const struct instance_report *p = &g->inst[primary].r;
	node_set s = 0;
	int node;

	for (node = 0; node < c->node_count; node++) {
		const struct instance_report *r = &g->inst[node].r;

		if (node == primary || node == g->rec.primary || !view_is_fresh(c, g, node) || r->process != PROC_RUNNING)
			continue;
		if (r->role == ROLE_REPLICA && rank_compare_position(r, p) >= 0)
			s |= node_bit(node);
	}
	return s;
}

static node_set running_replicas(const struct ctl *c, const struct group *g, int primary)
{
	node_set s = 0;
	int node;

	for (node = 0; node < c->node_count; node++)
		if (node != primary && node != g->rec.primary && (g->rec.instances & node_bit(node)) != 0 &&
		    view_is_fresh(c, g, node) && g->inst[node].r.process == PROC_RUNNING &&
		    g->inst[node].r.role == ROLE_REPLICA && !c->nodes[node].id.is_maintenance)
			s |= node_bit(node);
	return s;
}

/* The epoch grows in the same transaction that names its primary, before anything is promoted: one node per epoch, for ever. */
static void new_epoch(const struct ctl *c, const struct group *g, struct group_record *next, int primary)
{
	node_set equals = g->rec.is_sync ? equal_standbys(c, g, primary) : 0;

	next->epoch = g->rec.epoch + 1;
	next->primary = primary;
	next->target = NODE_NONE;
	next->sync_set = equals;
	/* Not early for a forced choice: the old primary might still acknowledge, so its lease must have ended first. */
	next->is_early = g->rec.is_sync && !(g->cmd.request_id != 0 && g->cmd.is_forced);
}

static void begin_op(struct group *g, enum op_kind kind)
{
	if (g->rec.op != OP_NONE)
		return; /* one operation goes on through several attempts */
	g->next.op = kind;
	g->pending.is_op_begin = true;
}

static void end_op(struct group *g, bool is_failed)
{
	if (g->rec.op == OP_NONE)
		return;
	g->next.op = OP_NONE;
	g->next.op_id = 0;
	g->pending.is_op_end = true;
	g->pending.is_op_failed = is_failed;
}

static void apply_action(struct ctl *c, struct group *g, const struct rule *rule)
{
	struct group_record *next = &g->next;

	switch (rule->action) {
	case DO_CREATE:
		next->epoch = g->rec.epoch + 1;
		begin_op(g, OP_CREATE);
		break;
	case DO_RESTART:
		next->target = NODE_NONE;
		begin_op(g, OP_RESTART);
		break;
	case DO_FENCE:
		next->target = NODE_NONE;
		begin_op(g, OP_FAILOVER);
		break;
	case DO_PROMOTE_BEST:
		new_epoch(c, g, next, rank_best(c, g, g->cmd.request_id != 0 && g->cmd.is_forced));
		break;
	case DO_CHECKPOINT:
		next->target = facts_target(c, g);
		begin_op(g, OP_SWITCHOVER);
		break;
	case DO_PROMOTE_TARGET:
		new_epoch(c, g, next, g->rec.target);
		break;
	case DO_SYNC_SET:
		next->sync_set = facts_sync_step(c, g).set;
		break;
	case DO_FINISH:
		/* An operator who asked for another primary has not got it when the old one serves again. */
		end_op(g, g->rec.state == STATE_RESTARTING && g->rec.op != OP_RESTART);
		break;
	case DO_ABANDON:
		next->target = NODE_NONE;
		end_op(g, true);
		break;
	case DO_PAUSE:
		next->is_paused = true;
		break;
	case DO_RESUME:
		next->is_paused = false;
		break;
	default:
		break;
	}
	if (rule->action == DO_FINISH && g->rec.system_id[0] == '\0')
		snprintf(next->system_id, sizeof next->system_id, "%s", g->inst[g->rec.primary].r.system_id);
}

static void make_commit(struct ctl *c, struct group *g, const struct rule *rule, const char *reason)
{
	memset(&g->pending, 0, sizeof g->pending);
	g->next = g->rec;
	g->next.state = rule->next;
	g->next.rule = rule->number;
	snprintf(g->next.reason, sizeof g->next.reason, "%s",
	         rule->next == STATE_STEADY && rule->action != DO_STAY ? "" : reason);
	if (rule->action == DO_PAUSE)
		snprintf(g->next.reason, sizeof g->next.reason, "%s", reason);
	g->is_moved = rule->next != g->rec.state || rule->action == DO_RESTART || rule->action == DO_FENCE;
	if (g->is_moved)
		g->next.step = g->rec.step + 1;
	apply_action(c, g, rule);
	g->pending.id = ++c->last_commit;
	g->pending.record = g->next;
	g->pending.old_epoch = g->rec.epoch;
	g->pending.is_event = reason[0] != '\0' || g->rec.reason[0] != '\0';
	g->pending.severity = rule->severity;
	snprintf(g->pending.event_text, sizeof g->pending.event_text, "%s", reason[0] != '\0' ? reason : "healthy");
	g->is_committing = true;
	g->is_commit_queued = true;
}

/* Promise 2: an order with another set may still be on its way to the primary, an earlier one of ours or a deposed
 * controller's. What the server reports counts from when its node took an order of this generation that left after the last
 * change: from then on it drops those. */
static bool has_obeyed(const struct ctl *c, const struct group *g)
{
	const struct instance_report *p = &g->inst[g->rec.primary].r;

	return p->generation == c->generation && p->answers > g->sync_beat && p->sync_members == g->sync_told;
}

static void tell_sync(const struct ctl *c, struct group *g)
{
	const struct view_node *n = &c->nodes[g->rec.primary];

	if (g->sync_wanted == g->sync_told && g->sync_incarnation == n->incarnation)
		return;
	g->sync_told = g->sync_wanted;
	g->sync_beat = n->heartbeat;
	g->sync_incarnation = n->incarnation;
	g->sync_seen_ms = 0;
	g->due |= node_bit(g->rec.primary);
}

/* What the primary shall wait for. Recomputed on every step: it follows from the record and the view alone. */
static void plan_sync(const struct ctl *c, struct group *g, fact_set facts)
{
	if (!g->rec.is_sync || g->rec.primary == NODE_NONE) {
		g->sync_wanted = 0;
		return;
	}
	if ((facts & F_UP) == 0) {
		/* It comes up waiting for those who are there; with nobody there it works alone (policy: degrade). */
		g->sync_seen_ms = 0;
		g->sync_incarnation = 0;
		g->sync_wanted = g->rec.sync_set != 0 ? g->rec.sync_set : running_replicas(c, g, g->rec.primary);
		return;
	}
	if (!has_obeyed(c, g))
		g->sync_seen_ms = 0;
	else if (g->sync_seen_ms == 0)
		g->sync_seen_ms = c->now_ms;
	if (g->rec.state == STATE_STEADY && !g->rec.is_paused)
		g->sync_wanted = facts_sync_step(c, g).tell;
	tell_sync(c, g);
}

void fsm_run(struct ctl *c, struct group *g)
{
	char reason[256];
	int moves;

	for (moves = 0; moves < MAX_MOVES && !g->is_committing && c->now_ms >= g->retry_ms; moves++) {
		fact_set facts = facts_of(c, g);
		const struct rule *rule;

		plan_sync(c, g, facts);
		rule = rules_find(g->rec.state, facts);
		assert(rule != NULL);
		if (rule->action == DO_STAY && rule->number == g->rec.rule)
			return;
		fill_reason(c, g, rule->reason, reason, sizeof reason);
		if (rule->action == DO_REFUSE) {
			answer_command(c, g, ERR_REFUSED, reason);
			continue;
		}
		make_commit(c, g, rule, reason);
	}
}

/* A command is answered when what it asked for has ended. */
static void answer_finished(struct ctl *c, struct group *g, bool is_end, bool is_failed)
{
	bool is_done = g->cmd.kind == COMMAND_PAUSE || g->cmd.kind == COMMAND_RESUME;

	if (g->cmd.request_id == 0)
		return;
	if (is_end && is_failed)
		answer_command(c, g, ERR_REFUSED, g->pending.event_text);
	else if (is_end || is_done)
		answer_command(c, g, ERR_OK, g->pending.event_text);
}

/* The standbys get a moment to find the new primary before they count as gone. */
static void begin_epoch(const struct ctl *c, struct group *g)
{
	int node;

	for (node = 0; node < c->node_count; node++) {
		g->inst[node].leased_ms = c->now_ms;
		g->inst[node].streamed_ms = 0;
		if ((running_replicas(c, g, g->rec.primary) & node_bit(node)) != 0)
			g->inst[node].streamed_ms = c->now_ms;
	}
	g->sync_told = 0;
	g->sync_incarnation = 0;
	g->sync_seen_ms = 0;
}

void fsm_committed(struct ctl *c, struct group *g, enum commit_outcome outcome, uint64_t op_id)
{
	struct commit *p = &g->pending;

	g->is_committing = false;
	if (outcome != COMMIT_DONE) {
		g->retry_ms = c->now_ms + COMMIT_RETRY_MS;
		return;
	}
	if (p->is_op_end)
		g->next.op_id = 0;
	else if (p->is_op_begin)
		g->next.op_id = op_id;
	if (p->is_op_end && g->cmd.request_id != 0) {
		uint64_t ended = g->rec.op_id;

		g->rec = g->next;
		g->rec.op_id = ended; /* the answer names the operation that has just ended */
		answer_finished(c, g, true, p->is_op_failed);
		g->rec.op_id = 0;
	} else {
		g->rec = g->next;
		answer_finished(c, g, false, false);
	}
	if (g->is_moved)
		g->since_ms = c->now_ms;
	if (g->rec.epoch != p->old_epoch)
		begin_epoch(c, g);
	g->due |= g->rec.instances;
	fsm_run(c, g);
}

void fsm_command(struct ctl *c, struct group *g, const struct command *cmd)
{
	struct reply_due r = {.request_id = cmd->request_id, .code = ERR_REFUSED};
	enum op_kind busy = g->rec.op != OP_NONE ? g->rec.op : OP_SWITCHOVER;

	snprintf(r.group, sizeof r.group, "%s", g->rec.name);
	if (g->cmd.request_id != 0 || g->rec.op != OP_NONE) {
		snprintf(r.text, sizeof r.text, "group \"%s\" is busy with a %s: wait for its end", g->rec.name,
		         op_kind_name(busy));
		fsm_reply(c, &r);
		return;
	}
	if (cmd->target != NODE_NONE && cmd->target == g->rec.primary) {
		snprintf(r.text, sizeof r.text, "%s is the primary already", view_node_name(c, cmd->target));
		fsm_reply(c, &r);
		return;
	}
	g->cmd = *cmd;
	fsm_run(c, g);
}
