/* What may never be, looked at after every event that can change it, by true time. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>

void violate(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violation[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(w->violation, sizeof w->violation, fmt, ap);
	va_end(ap);
	trace_line(&w->trace, "INVARIANT", "%s", w->violation);
}

/* Promise 1. A frozen server counts: nothing but the closed port keeps it from going on in the next instant. */
static void check_primaries(struct world *w, int group)
{
	int first = NODE_NONE;

	for (int i = 0; i < w->node_count; i++) {
		const struct server *s = &w->hosts[i].servers[group];

		if (!s->is_writable || !port_is_open(w, i, group))
			continue;
		if (first != NODE_NONE)
			violate(w, "two writable primaries of g%d can be reached: %s and %s", group + 1, w->hosts[first].name,
			        w->hosts[i].name);
		first = i;
	}
}

static void check_vips(struct world *w, int group)
{
	int first = NODE_NONE;

	for (int i = 0; i < w->node_count && w->has_vipd; i++) {
		if (!vip_is_open(w, i, group))
			continue;
		if (first != NODE_NONE)
			violate(w, "two holders of the address of g%d: %s and %s", group + 1, w->hosts[first].name,
			        w->hosts[i].name);
		first = i;
	}
}

static bool holds_controller(const struct world *w, int node, int64_t now_ms)
{
	const struct host *h = &w->hosts[node];

	if (h->is_up && h->is_leader && now_ms < h->stored_until_ms)
		return true; /* the store goes on serving under it when the control process is gone */
	return h->agent != NULL && agent_lease_is_valid(h->agent, "controller", now_ms);
}

static void check_leases(struct world *w)
{
	int controller = NODE_NONE, holder[SIM_GROUPS] = {NODE_NONE, NODE_NONE};

	for (int i = 0; i < w->node_count; i++) {
		const struct host *h = &w->hosts[i];
		int64_t now_ms = local_ms(w, i);

		if (holds_controller(w, i, now_ms)) {
			if (controller != NODE_NONE)
				violate(w, "two valid holders of the controller's lease: %s and %s", w->hosts[controller].name,
				        h->name);
			controller = i;
		}
		for (int g = 0; g < w->group_count && h->agent != NULL; g++) {
			if (!agent_lease_is_valid(h->agent, g == 0 ? "group:g1" : "group:g2", now_ms))
				continue;
			if (holder[g] != NODE_NONE)
				violate(w, "two valid holders of the lease of g%d: %s and %s", g + 1, w->hosts[holder[g]].name,
				        h->name);
			holder[g] = i;
		}
	}
}

/* Promise 3, and one node per epoch: a writable server was promoted for an epoch that names its node. */
static void check_orders(struct world *w, int group)
{
	for (int i = 0; i < w->node_count; i++) {
		const struct guard *gu = &w->hosts[i].guards[group];
		const struct server *s = &w->hosts[i].servers[group];

		if (!s->is_writable || !port_is_open(w, i, group))
			continue;
		if (s->order_epoch == 0 || s->order_epoch >= SIM_EPOCHS || w->store.owner[group][s->order_epoch] != i)
			violate(w, "%s is a writable primary of g%d without an order of an epoch that names it",
			        w->hosts[i].name, group + 1);
		if (!gu->may_write)
			violate(w, "%s became a writable primary of g%d by itself", w->hosts[i].name, group + 1);
	}
}

void check_instant(struct world *w)
{
	w->dirty = 0;
	for (int g = 0; g < w->group_count; g++) {
		check_primaries(w, g);
		check_vips(w, g);
		check_orders(w, g);
	}
	check_leases(w);
}

void check_promoted(struct world *w, int node, int group, uint64_t epoch)
{
	if (epoch >= SIM_EPOCHS || w->store.owner[group][epoch] != node)
		violate(w, "%s is promoted for epoch %llu of g%d, which names another node", w->hosts[node].name,
		        (unsigned long long)epoch, group + 1);
}

/* Promise 2, one way round: whoever serves has what was acknowledged before. Asked when clients first reach a primary on its
 * timeline. */
void check_served(struct world *w, int node, int group)
{
	struct server *s = &w->hosts[node].servers[group];

	if (s->served_tl == s->has.tl)
		return;
	s->served_tl = w->newest_tl[group] = s->has.tl;
	for (int t = 0; t < w->timeline_count && w->store.rec[group].is_sync; t++)
		if (w->timelines[t].group == group && w->timelines[t].acked > 0 &&
		    !content_has(w, &s->has, t, w->timelines[t].acked))
			violate(w, "%s serves synchronous g%d without a write that was acknowledged on timeline %d at %llu",
			        w->hosts[node].name, group + 1, t, (unsigned long long)w->timelines[t].acked);
}

/* The other way round: nothing is acknowledged that a later primary lacks. */
void check_ack(struct world *w, int node, int group, int tl, uint64_t pos)
{
	int newest = w->newest_tl[group];

	if (!w->store.rec[group].is_sync || newest < 0)
		return;
	for (int t = tl; t >= 0; t = w->timelines[t].parent)
		if (t == newest)
			return; /* this is the later primary */
	if (!content_has(w, &(struct content){newest, UINT64_MAX}, tl, pos))
		violate(w, "%s acknowledges a write of synchronous g%d at %llu that a later primary lacks", w->hosts[node].name,
		        group + 1, (unsigned long long)pos);
}

static void check_instance_live(struct world *w, int node, int group, int primary)
{
	const struct server *s = &w->hosts[node].servers[group], *p = &w->hosts[primary].servers[group];

	if (node == primary)
		return;
	if (s->run == 0 || s->is_primary || !s->is_connected || s->upstream != primary)
		violate(w, "a minute after the last fault %s is no replica of g%d that receives from %s", w->hosts[node].name,
		        group + 1, w->hosts[primary].name);
	else if (!content_has(w, &p->has, s->has.tl, s->has.pos))
		violate(w, "a minute after the last fault %s of g%d holds what its primary does not", w->hosts[node].name,
		        group + 1);
}

/* After a minute without faults everything is well. */
void check_live(struct world *w)
{
	if (node_set_count(w->voters.members) != w->node_count)
		violate(w, "a minute after the last fault the voters are %x of %d nodes", w->voters.members, w->node_count);
	for (int g = 0; g < w->group_count; g++) {
		const struct group_record *r = &w->store.rec[g];
		const struct server *s;

		if (r->state != STATE_STEADY || r->reason[0] != '\0')
			violate(w, "a minute after the last fault g%d is %s: %s", g + 1, group_state_name(r->state), r->reason);
		s = &w->hosts[r->primary].servers[g];
		if (!s->is_writable || !port_is_open(w, r->primary, g))
			violate(w, "a minute after the last fault the primary of g%d on %s cannot be written to", g + 1,
			        w->hosts[r->primary].name);
		for (int i = 0; i < w->node_count; i++)
			if ((r->instances & node_bit(i)) != 0)
				check_instance_live(w, i, g, r->primary);
	}
}
