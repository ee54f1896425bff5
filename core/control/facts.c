#include "core/control/facts.h"

#include "core/control/rank.h"

#include <string.h>

const char *fact_words(enum fact_index i)
{
	static const char *const words[] = {
#define X(bit, text) text,
	        FACTS(X)
#undef X
	};

	return words[i];
}

int64_t facts_state_limit(enum group_state s)
{
	static const int64_t limits[STATE_COUNT] = {
	        [STATE_CREATING] = 120000, [STATE_RESTARTING] = 15000, [STATE_FENCING] = 10000,
	        [STATE_PROMOTING] = 20000, [STATE_CHECKPOINT] = 60000, [STATE_STOPPING] = 8000,
	};

	return limits[s] > 0 ? limits[s] : INT64_MAX;
}

static fact_set when(bool is_true, fact_set bit)
{
	return is_true ? bit : 0;
}

/* A report that follows from the order now in force: the node has taken this step. */
static bool took_step(const struct group *g, int node)
{
	return g->inst[node].is_known && g->inst[node].r.step == g->rec.step;
}

static fact_set primary_facts(const struct ctl *c, const struct group *g)
{
	const struct view_instance *v;
	const struct instance_report *r;
	fact_set f = 0;
	bool is_up;

	if (g->rec.primary == NODE_NONE)
		return 0;
	v = &g->inst[g->rec.primary];
	r = &v->r;
	f |= F_ASSIGNED;
	if (!view_is_fresh(c, g, g->rec.primary))
		return f;
	f |= F_FRESH;
	if (!v->is_known)
		return f;
	is_up = r->process == PROC_RUNNING && r->role == ROLE_PRIMARY && r->promoted_epoch == g->rec.epoch;
	f |= when(is_up, F_UP);
	f |= when(r->is_leased && r->lease_epoch == g->rec.epoch, F_LEASED);
	f |= when(r->process == PROC_STOPPED || r->process == PROC_ABSENT, F_DOWN);
	f |= when(is_up && r->probe_age_ms > STUCK_PROBE_MS, F_STUCK);
	f |= when(is_up && c->now_ms - v->leased_ms > UNSERVED_MS, F_UNSERVED);
	f |= when(r->process == PROC_STOPPED && !r->is_leased, F_FENCED);
	f |= when(r->process == PROC_STOPPED && r->is_clean && took_step(g, g->rec.primary), F_STOPPED_CLEAN);
	f |= when(r->is_checkpointed && took_step(g, g->rec.primary), F_CHECKPOINTED);
	f |= when(took_step(g, g->rec.primary) && !is_up && r->verb[0] == '\0' && r->error[0] != '\0', F_FAILED);
	return f;
}

static bool is_detached(const struct ctl *c, const struct group *g, int node)
{
	const struct instance_report *r = &g->inst[node].r;

	return view_is_fresh(c, g, node) && took_step(g, node) && r->is_detached && r->detach_epoch == g->rec.epoch &&
	       r->process == PROC_RUNNING && r->role == ROLE_REPLICA;
}

/* Promise 2: while every member of the committed set is detached nobody can acknowledge for the old primary any more,
 * and the most advanced of them has everything that was ever acknowledged. */
static bool is_safe(const struct ctl *c, const struct group *g)
{
	int node;

	if (g->rec.sync_set == 0)
		return false;
	for (node = 0; node < c->node_count; node++)
		if ((g->rec.sync_set & node_bit(node)) != 0 && !is_detached(c, g, node))
			return false;
	return true;
}

/* A member of the committed set that cannot detach and tell, because it is unreachable or not running. */
static bool is_missing(const struct ctl *c, const struct group *g)
{
	int node;

	for (node = 0; node < c->node_count; node++)
		if ((g->rec.sync_set & node_bit(node)) != 0 &&
		    (!view_is_fresh(c, g, node) || (g->inst[node].is_known && g->inst[node].r.process != PROC_RUNNING)))
			return true;
	return false;
}

static bool is_collected(const struct ctl *c, const struct group *g)
{
	int node, found = 0;

	for (node = 0; node < c->node_count; node++) {
		if (node == g->rec.primary || (g->rec.instances & node_bit(node)) == 0 || !view_is_fresh(c, g, node))
			continue;
		if (g->inst[node].r.process != PROC_RUNNING)
			continue;
		if (!is_detached(c, g, node))
			return false;
		found++;
	}
	return found > 0;
}

static bool is_streamed(const struct ctl *c, const struct group *g)
{
	int node;

	for (node = 0; node < c->node_count; node++) {
		const struct view_instance *v = &g->inst[node];

		if (node == g->rec.primary || !v->is_known || !view_is_fresh(c, g, node))
			continue;
		if (v->r.is_receiving && v->r.upstream == g->rec.primary && v->r.received_age_ms >= 0 &&
		    v->r.received_age_ms + (c->now_ms - v->seen_ms) < STREAMING_FRESH_MS)
			return true;
	}
	return false;
}

int facts_target(const struct ctl *c, const struct group *g)
{
	int best;

	if (g->rec.target != NODE_NONE)
		return g->rec.target;
	if (g->cmd.request_id != 0 && g->cmd.target != NODE_NONE)
		return g->cmd.target;
	best = rank_best(c, g, false);
	return best != NODE_NONE ? best : rank_best(c, g, true);
}

static fact_set target_facts(const struct ctl *c, const struct group *g)
{
	int target = facts_target(c, g);
	const struct instance_report *t, *p;
	fact_set f = 0;

	/* The synchronous set is not asked: the target is promoted only when it has everything the stopped primary has. */
	if (target == NODE_NONE || g->rec.primary == NODE_NONE || rank_check(c, g, target, true) != RANK_OK)
		return 0;
	t = &g->inst[target].r;
	p = &g->inst[g->rec.primary].r;
	f |= when(t->is_receiving && t->upstream == g->rec.primary, F_TARGET_READY);
	/* The stopped primary's position is where its shutdown record begins: whoever has that much has every commit. */
	f |= when(p->process == PROC_STOPPED && p->is_clean && p->position > 0 && t->position >= p->position, F_TARGET_HAS_ALL);
	return f;
}

static fact_set command_facts(const struct group *g)
{
	fact_set f = 0;

	if (g->cmd.request_id == 0)
		return 0;
	f |= when(g->cmd.kind == COMMAND_SWITCHOVER, F_SWITCHOVER_ASKED);
	f |= when(g->cmd.kind == COMMAND_FAILOVER, F_FAILOVER_ASKED);
	f |= when(g->cmd.kind == COMMAND_PAUSE, F_PAUSE_ASKED);
	f |= when(g->cmd.kind == COMMAND_RESUME, F_RESUME_ASKED);
	f |= when(g->cmd.is_forced, F_FORCED);
	return f;
}

/* Standbys that stream and live. One that pauses for a moment stays, so that a hiccup costs no change of the set. */
static node_set desired_sync(const struct ctl *c, const struct group *g)
{
	node_set s = 0;
	int node;

	if (!g->rec.is_sync)
		return 0;
	for (node = 0; node < c->node_count; node++) {
		if (node == g->rec.primary || (g->rec.instances & node_bit(node)) == 0 || c->nodes[node].id.is_maintenance)
			continue;
		if (g->inst[node].streamed_ms > 0 && c->now_ms - g->inst[node].streamed_ms <= c->profile->silence_ms)
			s |= node_bit(node);
	}
	return s;
}

static bool is_caught_up(const struct group *g, const struct instance_report *p)
{
	int i;

	for (i = 0; i < p->standby_count; i++)
		if (p->standbys[i].is_streaming && p->standbys[i].flushed >= p->sync_since &&
		    (node_bit(p->standbys[i].node) & p->sync_members) != 0)
			return p->sync_since > 0;
	(void)g;
	return false;
}

struct sync_step facts_sync_step(const struct ctl *c, const struct group *g)
{
	const struct instance_report *p = &g->inst[g->rec.primary].r;
	struct sync_input in = {
	        .committed = g->rec.sync_set,
	        .told = p->sync_members,
	        .desired = desired_sync(c, g),
	        .is_settled = g->sync_seen_ms > 0 && c->now_ms - g->sync_seen_ms >= SYNC_SETTLE_MS,
	        .is_caught_up = is_caught_up(g, p),
	};

	return sync_plan(&in);
}

fact_set facts_of(const struct ctl *c, const struct group *g)
{
	fact_set f = primary_facts(c, g) | target_facts(c, g) | command_facts(g);

	f |= when(g->rec.is_paused, F_PAUSED);
	f |= when(g->rec.is_sync, F_SYNC);
	f |= when(g->rec.is_restart_first, F_RESTART_FIRST);
	f |= when(is_streamed(c, g), F_STREAMED);
	f |= when(rank_best(c, g, g->cmd.request_id != 0 && g->cmd.is_forced) != NODE_NONE, F_CANDIDATE);
	f |= when(is_safe(c, g), F_SAFE);
	f |= when(is_missing(c, g), F_MISSING);
	f |= when(is_collected(c, g), F_COLLECTED);
	f |= when(c->now_ms - g->since_ms > facts_state_limit(g->rec.state), F_LATE);
	if ((f & F_UP) != 0 && (f & F_FRESH) != 0 && g->rec.is_sync) {
		f |= when(facts_sync_step(c, g).is_commit, F_SYNC_MOVES);
		f |= when(g->rec.sync_set == 0 && node_set_count(g->rec.instances) > 1, F_UNPROTECTED);
	}
	return f;
}
