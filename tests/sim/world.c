#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAL_TIME                                                                                                              \
	(75 * SECOND) /* faults under way end within 10 s, a crashed host is back within 20 s: at least a minute of peace for  \
	                 the rest */

static void forget(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct host *h = &w->hosts[i];

		ctl_free(h->ctl);
		agent_free(h->agent);
		agent_update_done(&h->update);
	}
	memset(w->hosts, 0, sizeof w->hosts);
	memset(w->cut, 0, sizeof w->cut);
	memset(w->arrival, 0, sizeof w->arrival);
	w->violation[0] = '\0';
	w->timeline_count = 0;
	w->is_calm = w->is_slow_disk = false;
	w->last_run = 0;
	for (int g = 0; g < SIM_GROUPS; g++)
		w->newest_tl[g] = -1;
}

static void choose(struct world *w)
{
	static const char *const profiles[] = {"fast", "default", "default", "relaxed"};
	int shape = (int)rng_range(&w->rng, 0, 9);

	w->node_count = shape < 2 ? 5 : 3;
	w->group_count = rng_one_in(&w->rng, 5) ? 2 : 1;
	w->profile = profile_find(profiles[rng_range(&w->rng, 0, 3)]);
	w->has_vipd = !rng_one_in(&w->rng, 6);
	w->voters = (struct voter_set){1, (node_set)(1u << w->node_count) - 1};
	if (rng_one_in(&w->rng, 3))
		w->voters.members = rng_one_in(&w->rng, 2) ? 1 : 7;
	w->leaving = 0;
	for (int i = 0; i < w->node_count; i++) {
		struct host *h = &w->hosts[i];

		snprintf(h->name, sizeof h->name, "n%d", i + 1);
		h->is_arbiter = shape >= 2 && shape < 5 && i == 2;
		h->clock = drift_random(&w->rng);
		h->disk_voters = (w->voters.members & node_bit(i)) != 0 ? w->voters : (struct voter_set){0};
		for (int g = 0; g < SIM_GROUPS; g++) {
			h->servers[g].has.tl = -1;
			h->servers[g].upstream = NODE_NONE;
			h->servers[g].served_tl = -1;
		}
	}
	if (shape >= 2 && shape < 5)
		snprintf(w->hosts[2].name, sizeof w->hosts[2].name, "arb");
}

void world_run(struct world *w, uint64_t seed, int64_t length_us)
{
	struct sim_event e;

	forget(w);
	sim_queue_reset(&w->q);
	msg_reset(w);
	w->seed = seed;
	w->rng.state = seed;
	choose(w);
	trace_line(&w->trace, "world", "seed %llu: %d nodes%s, %d groups, profile %s, %s", (unsigned long long)seed,
	           w->node_count, w->hosts[2].is_arbiter ? " (one an arbiter)" : "", w->group_count, w->profile->name,
	           w->has_vipd ? "with port fence" : "no vipd");
	raft_start(w);
	for (int i = 0; i < w->node_count; i++)
		host_boot(w, i);
	faults_start(w);
	commands_start(w);
	members_start(w);
	while (w->violation[0] == '\0' && sim_next(&w->q, length_us, &e)) {
		w->trace.now_us = w->q.now_us;
		if (!w->is_calm && w->q.now_us >= length_us - HEAL_TIME)
			faults_heal(w);
		e.fn(w, &e);
		w->events++;
		if (w->dirty)
			check_instant(w);
	}
	if (w->violation[0] == '\0')
		check_live(w);
}

void world_done(struct world *w)
{
	forget(w);
	sim_queue_done(&w->q);
	trace_done(&w->trace);
	free(w->msgs);
}
