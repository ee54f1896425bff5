/* From the committed record to what each instance shall be. An order follows from the store alone, so a new controller gives
 * the same ones. */
#include "core/control/state.h"

#include "core/base/str.h"

#include <string.h>

static void order_primary(const struct group *g, struct order *o)
{
	enum group_state s = g->rec.state;
	int i;

	o->role = ORDER_PRIMARY;
	o->is_create = s == STATE_CREATING;
	o->is_bring_up = s == STATE_CREATING || s == STATE_RESTARTING || s == STATE_PROMOTING;
	o->is_checkpoint = s == STATE_CHECKPOINT;
	/* Early promotion never opens anything: the port fence waits for the lease all the same. */
	o->is_early = g->rec.is_early || s == STATE_CREATING || s == STATE_RESTARTING;
	o->sync_members = g->sync_wanted;
	o->vip_count = g->rec.vip_count;
	for (i = 0; i < g->rec.vip_count; i++)
		memcpy(o->vips[i], g->rec.vips[i], sizeof o->vips[i]);
}

static void order_old_primary(const struct group *g, struct order *o)
{
	if (g->rec.state == STATE_FENCING || g->rec.state == STATE_STOPPING) {
		o->role = ORDER_STOP;
		o->is_fast = g->rec.state == STATE_STOPPING;
		return;
	}
	order_primary(g, o);
}

/* A primary that is not promoted yet looks like no divergence at all: rewinding to it would prove nothing. */
static bool is_primary_up(const struct ctl *c, const struct group *g)
{
	const struct instance_report *p = &g->inst[g->rec.primary].r;

	return g->rec.state == STATE_STEADY && view_is_fresh(c, g, g->rec.primary) && p->process == PROC_RUNNING &&
	       p->role == ROLE_PRIMARY && p->promoted_epoch == g->rec.epoch;
}

static void order_replica(const struct ctl *c, const struct group *g, struct order *o)
{
	o->role = ORDER_REPLICA;
	o->primary = g->rec.primary;
	o->is_rejoin = is_primary_up(c, g);
	if (g->rec.state == STATE_FENCING)
		o->role = ORDER_DETACH;
	/* There is nothing to follow yet, or the operator wants nothing touched. */
	if (g->rec.state == STATE_CREATING || g->rec.is_paused)
		o->role = ORDER_HOLD;
}

void order_make(const struct ctl *c, const struct group *g, int node, struct order *ret)
{
	memset(ret, 0, offsetof(struct order, system_id));
	ret->vip_count = 0;
	str_copy(ret->group, sizeof ret->group, g->rec.name);
	str_copy(ret->system_id, sizeof ret->system_id, g->rec.system_id);
	ret->generation = c->generation;
	ret->epoch = g->rec.epoch;
	ret->answers = c->nodes[node].heartbeat;
	ret->answers_incarnation = c->nodes[node].incarnation;
	ret->step = g->rec.step;
	ret->is_sync = g->rec.is_sync;
	ret->primary = NODE_NONE;
	if (g->rec.state == STATE_NEW)
		ret->role = ORDER_HOLD;
	else if (node == g->rec.primary)
		order_old_primary(g, ret);
	else
		order_replica(c, g, ret);
}
