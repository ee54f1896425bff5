/* Changes of the voter set as core/run/membership.c makes them: the real choice (voters_next), the real rule for when
 * (agent_voters_settled), one transaction of this generation for the change. Hosts are asked to leave and to come back. */
#include "tests/sim/world.h"

#include "core/control/voters.h"

#define HEARD_MS 1500
#define GONE_MS  6000

static bool may_change(const struct world *w, const struct host *h, int64_t now_ms)
{
	if ((w->broken & BROKEN_SETTLE) != 0)
		return true;
	return agent_voters(h->agent)->number == w->voters.number && agent_voters_settled(h->agent, now_ms);
}

static void fill(const struct world *w, int self, struct voters_node *list)
{
	const struct host *h = &w->hosts[self];
	int64_t now_ms = local_ms(w, self);

	for (int i = 0; i < w->node_count; i++) {
		int64_t silent_ms = h->last[i].beat != NULL ? now_ms - h->last[i].at_ms : 0;

		list[i] = (struct voters_node){.is_member = true,
		                               .is_voter = (w->voters.members & node_bit(i)) != 0,
		                               .is_arbiter = w->hosts[i].is_arbiter,
		                               .is_leaving = (w->leaving & node_bit(i)) != 0,
		                               .is_ready = h->last[i].beat != NULL && silent_ms <= HEARD_MS,
		                               .silent_ms = silent_ms > HEARD_MS ? silent_ms : 0,
		                               .domain = -1};
	}
}

static void change(struct world *w, int node)
{
	const struct voters_policy policy = {.gone_ms = GONE_MS};
	struct voters_node list[SIM_NODES];
	struct voters_step step;
	struct voter_set next = {w->voters.number + 1, w->voters.members};

	fill(w, node, list);
	voters_next(list, w->node_count, node, &policy, &step);
	if (step.change == VOTERS_KEEP)
		return;
	if (step.change == VOTERS_REMOVE && step.node == node) {
		/* Nobody takes his own vote away. */
		control_hands_over(w, node);
		return;
	}
	next.members ^= node_bit(step.node);
	if ((w->broken & BROKEN_TWO) != 0) {
		list[step.node].is_voter = !list[step.node].is_voter;
		voters_next(list, w->node_count, node, &policy, &step);
		next.members ^= step.node == node ? 0 : node_bit(step.node);
	}
	raft_change_voters(w, node, &next);
}

void members_tick(struct world *w, int node)
{
	const struct host *h = &w->hosts[node];

	if (!h->is_up || h->ctl == NULL || h->is_stopping || h->is_changing || h->control.frozen_until > w->q.now_us)
		return;
	if (may_change(w, h, local_ms(w, node)))
		change(w, node);
}

static void on_wish(void *world, const struct sim_event *e)
{
	struct world *w = world;

	w->leaving = 0;
	if (w->is_calm)
		return;
	for (int i = 0; i < w->node_count; i++)
		if (rng_one_in(&w->rng, 2))
			w->leaving |= node_bit(i);
	sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 5 * SECOND, 40 * SECOND), *e);
}

void members_start(struct world *w)
{
	sim_post(&w->q, 10 * SECOND, (struct sim_event){.fn = on_wish});
}
