#include "tests/sim/world.h"

#include "core/base/vip_msg.h"

#include <stdio.h>
#include <string.h>

/* The kernel's part: an element with a deadline, which no process has to watch. */
bool vip_is_open(const struct world *w, int node, int group)
{
	const struct host *h = &w->hosts[node];

	if (!h->is_up || h->vip_until_us[group] == 0)
		return false;
	return (w->broken & BROKEN_PORT) != 0 || local_us(w, node) < h->vip_until_us[group];
}

bool port_is_open(const struct world *w, int node, int group)
{
	return w->hosts[node].is_up && (!w->has_vipd || vip_is_open(w, node, group));
}

static void tell(struct world *w, int node, enum agent_event_type type)
{
	struct agent_event e = {.type = type};

	if (!w->hosts[node].control.is_up)
		return;
	control_deliver(w, node, &e);
}

/* To the control process, in the order of happening: what vipd answers, and that it came or went. */
static void on_notice(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct agent_event reply = {.type = AGENT_VIP_REPLY};
	char owner[LEASE_RESOURCE_SIZE];
	int group = e->b & 15;

	if (!h->control.is_up || h->control.run != e->u)
		return;
	if (put_back(w, e, h->control.frozen_until))
		return;
	if ((e->b & 16) != 0) {
		tell(w, e->a, (e->b & 32) != 0 ? AGENT_VIPD_UP : AGENT_VIPD_DOWN);
		return;
	}
	snprintf(owner, sizeof owner, "group:g%d", group + 1);
	reply.u.vip.seq = (uint32_t)(uintptr_t)e->p;
	reply.u.vip.rc = (e->b & 64) != 0 ? ERR_REFUSED : 0;
	reply.u.vip.flags = VIP_F_FENCE_ACTIVE | ((e->b & 128) != 0 ? VIP_F_HELD : 0);
	reply.u.vip.owner = (e->b & 256) != 0 ? NULL : owner;
	control_deliver(w, e->a, &reply);
}

static void notice(struct world *w, int node, int bits, uint32_t seq)
{
	struct host *h = &w->hosts[node];

	if (h->control.is_up)
		sim_post(&w->q, w->q.now_us + 100,
		         (struct sim_event){.fn = on_notice,
		                            .a = node,
		                            .b = bits,
		                            .u = h->control.run,
		                            .p = (void *)(uintptr_t)seq});
}

void vip_connect(struct world *w, int node)
{
	notice(w, node, 16 | 32, 0);
	notice(w, node, 256 | (vip_is_open(w, node, 0) ? 128 : 0), 0); /* the answer to the first question for its status */
}

void vip_start(struct world *w, int node)
{
	struct host *h = &w->hosts[node];

	h->vipd = (struct proc){.is_up = true, .run = ++w->last_run};
	/* It revokes what its predecessor held, and has forgotten the epochs. */
	memset(h->vip_seen, 0, sizeof h->vip_seen);
	memset(h->vip_until_us, 0, sizeof h->vip_until_us);
	w->dirty = 1;
	vip_connect(w, node);
}

static void on_return(void *world, const struct sim_event *e)
{
	struct world *w = world;

	if (w->hosts[e->a].is_up && w->hosts[e->a].boot == e->u && !w->hosts[e->a].vipd.is_up)
		vip_start(w, e->a);
}

void vip_crash(struct world *w, int node)
{
	struct host *h = &w->hosts[node];

	if (!h->vipd.is_up)
		return;
	h->vipd.is_up = false;
	notice(w, node, 16, 0);
	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 50 * MS, 2 * SECOND),
	         (struct sim_event){.fn = on_return, .a = node, .u = h->boot});
}

static void serve(struct world *w, int node, int group, const struct vip_request *r)
{
	struct host *h = &w->hosts[node];
	bool is_refused = r->epoch < h->vip_seen[group] || (!r->is_release && r->deadline_ms * MS <= local_us(w, node));

	if (r->epoch > h->vip_seen[group])
		h->vip_seen[group] = r->epoch;
	if (!is_refused) {
		h->vip_until_us[group] = r->is_release ? 0 : r->deadline_ms * MS;
		w->dirty = 1;
	}
	notice(w, node, group | (is_refused ? 64 : 0) | (vip_is_open(w, node, group) ? 128 : 0), r->seq);
}

static void on_request(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct msg *m = e->p;

	if (h->vipd.is_up && h->vipd.run == e->u && put_back(w, e, h->vipd.frozen_until))
		return;
	if (h->vipd.is_up && h->vipd.run == e->u)
		serve(w, e->a, e->b, &m->u.vip);
	msg_drop(w, m);
}

void vip_request(struct world *w, int node, int group, const struct vip_request *r, int64_t stall_us)
{
	struct host *h = &w->hosts[node];
	struct msg *m;

	if (!h->vipd.is_up)
		return;
	m = msg_new(w, MSG_VIP);
	m->u.vip = *r;
	/* The socket keeps the order of requests. */
	sim_post(&w->q, w->q.now_us + stall_us + 100,
	         (struct sim_event){.fn = on_request, .a = node, .b = group, .u = h->vipd.run, .p = m});
}
