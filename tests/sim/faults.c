/* What goes wrong, and what operators ask for. Faults overlap; each ends by itself; in the last minute of a run there are none.
 */
#include "tests/sim/world.h"

#include "core/base/str.h"

#include <stdio.h>

static int64_t fault_length(struct world *w)
{
	return rng_long_tail(&w->rng, 50 * MS, 10 * SECOND);
}

static void on_cut_end(void *world, const struct sim_event *e)
{
	struct world *w = world;
	int from = e->a / SIM_NODES, to = e->a % SIM_NODES;

	if (w->cut[from][to] > 0)
		w->cut[from][to]--;
}

static void cut(struct world *w, int from, int to, int64_t length)
{
	if (from == to)
		return;
	w->cut[from][to]++;
	sim_post(&w->q, w->q.now_us + length, (struct sim_event){.fn = on_cut_end, .a = from * SIM_NODES + to});
}

static void cut_some(struct world *w, int node)
{
	int other = (int)rng_range(&w->rng, 0, w->node_count - 1);
	int64_t length = fault_length(w);

	switch (rng_range(&w->rng, 0, 4)) {
	case 0:
		LOG(w, node, "is not heard by %s for %lld ms", w->hosts[other].name, (long long)(length / MS));
		cut(w, node, other, length);
		return;
	case 1:
		LOG(w, node, "is cut from %s for %lld ms", w->hosts[other].name, (long long)(length / MS));
		cut(w, node, other, length);
		cut(w, other, node, length);
		return;
	case 2:
		LOG(w, node, "is heard by nobody for %lld ms", (long long)(length / MS));
		for (other = 0; other < w->node_count; other++)
			cut(w, node, other, length);
		return;
	case 3:
		LOG(w, node, "hears nobody for %lld ms", (long long)(length / MS));
		for (other = 0; other < w->node_count; other++)
			cut(w, other, node, length);
		return;
	default:
		LOG(w, node, "is cut off for %lld ms", (long long)(length / MS));
		for (other = 0; other < w->node_count; other++) {
			cut(w, node, other, length);
			cut(w, other, node, length);
		}
	}
}

static bool is_frozen(const struct world *w, const struct host *h)
{
	bool is = h->control.frozen_until > w->q.now_us || h->vipd.frozen_until > w->q.now_us;

	for (int g = 0; g < w->group_count; g++)
		is = is || h->guards[g].proc.frozen_until > w->q.now_us || h->servers[g].frozen_until > w->q.now_us;
	return is;
}

/* One fault of a process at a time: events that wait for it keep their order. */
static void freeze(struct world *w, int node)
{
	struct host *h = &w->hosts[node];
	int group = (int)rng_range(&w->rng, 0, w->group_count - 1), what = (int)rng_range(&w->rng, 0, 4);
	int64_t until = w->q.now_us + fault_length(w);
	static const char *const names[] = {"the host", "the control process", "a guard", "vipd", "a server"};

	if (is_frozen(w, h) || (!w->has_vipd && (what == 0 || what == 2)))
		return;
	LOG(w, node, "%s is frozen for %lld ms", names[what], (long long)((until - w->q.now_us) / MS));
	if (what == 1 && rng_one_in(&w->rng, 2)) {
		h->stall_us = until - w->q.now_us; /* right after it has decided something */
		return;
	}
	if (what == 0)
		h->frozen_until = until;
	if (what == 0 || what == 1)
		h->control.frozen_until = until;
	if (what == 0 || what == 3)
		h->vipd.frozen_until = until;
	for (int g = 0; g < w->group_count; g++) {
		if (what == 0 || (what == 2 && g == group))
			h->guards[g].proc.frozen_until = until;
		if (what == 0 || (what == 4 && g == group))
			h->servers[g].frozen_until = until;
	}
}

static void kill_something(struct world *w, int node)
{
	struct host *h = &w->hosts[node];
	int group = (int)rng_range(&w->rng, 0, w->group_count - 1);

	switch (rng_range(&w->rng, 0, 4)) {
	case 0:
		LOG(w, node, "control process killed");
		control_crash(w, node);
		break;
	case 1:
		/* Without a port fence the guard is the last hand: nothing else stops the server then. */
		if (!w->has_vipd)
			break;
		LOG(w, node, "guard of g%d killed", group + 1);
		guard_crash(w, node, group);
		break;
	case 2:
		LOG(w, node, "vipd killed");
		vip_crash(w, node);
		break;
	case 3:
		if (h->servers[group].run != 0)
			server_end(w, node, group, false);
		break;
	default:
		if (!h->is_up)
			break;
		LOG(w, node, "host crashes");
		host_crash(w, node);
	}
}

static void on_slow_end(void *world, const struct sim_event *e)
{
	struct world *w = world;

	(void)e;
	w->is_slow_disk = false;
}

static void on_fault(void *world, const struct sim_event *e)
{
	struct world *w = world;
	int node = (int)rng_range(&w->rng, 0, w->node_count - 1);
	int64_t pause = rng_long_tail(&w->rng, 100 * MS, 40 * SECOND);

	if (w->is_calm)
		return;
	w->faults++;
	/* Often it hits whoever matters most now. */
	if (rng_one_in(&w->rng, 2) && w->store.rec[0].primary != NODE_NONE)
		node = w->store.rec[0].primary;
	else if (rng_one_in(&w->rng, 3) && w->store.leader != NODE_NONE)
		node = w->store.leader;
	switch (rng_range(&w->rng, 0, 9)) {
	case 0:
		w->is_slow_disk = true;
		sim_post(&w->q, w->q.now_us + fault_length(w), (struct sim_event){.fn = on_slow_end});
		break;
	case 1:
		if (w->hosts[node].control.is_up && !w->hosts[node].is_stopping &&
		    w->hosts[node].control.frozen_until <= w->q.now_us)
			control_begin_stop(w, node);
		break;
	case 2:
	case 3:
	case 4:
		cut_some(w, node);
		break;
	case 5:
	case 6:
		kill_something(w, node);
		break;
	default:
		freeze(w, node);
	}
	sim_post(&w->q, w->q.now_us + pause, *e);
}

static void on_command(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct event c = {.type = EVENT_COMMAND};
	int leader = w->store.leader;

	if (w->is_calm)
		return;
	sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 5 * SECOND, 90 * SECOND), *e);
	if (leader == NODE_NONE || w->hosts[leader].ctl == NULL || w->hosts[leader].control.frozen_until > w->q.now_us)
		return;
	c.u.command.request_id = ++w->last_run;
	snprintf(c.u.command.group, sizeof c.u.command.group, "g%d", (int)rng_range(&w->rng, 1, w->group_count));
	c.u.command.target = rng_one_in(&w->rng, 2) ? NODE_NONE : (int)rng_range(&w->rng, 0, w->node_count - 1);
	c.u.command.kind = rng_one_in(&w->rng, 4) ? COMMAND_FAILOVER : COMMAND_SWITCHOVER;
	LOG(w, leader, "the operator asks for a %s of %s", c.u.command.kind == COMMAND_FAILOVER ? "failover" : "switchover",
	    c.u.command.group);
	control_ctl_event(w, leader, &c);
}

void commands_start(struct world *w)
{
	sim_post(&w->q, 20 * SECOND, (struct sim_event){.fn = on_command});
}

void faults_start(struct world *w)
{
	/* Mostly the cluster comes up in peace, sometimes not even that. */
	sim_post(&w->q, rng_one_in(&w->rng, 4) ? 0 : 20 * SECOND, (struct sim_event){.fn = on_fault});
}

/* No new faults; those under way end within their ten seconds. */
void faults_heal(struct world *w)
{
	w->is_calm = true;
	w->leaving = 0;
	trace_line(&w->trace, "world", "no more faults from now on");
}
