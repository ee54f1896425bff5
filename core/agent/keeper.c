/* Lease keeping: ask while a role is ours, push the deadline itself to every hand that keeps it, give up in the order that is
 * safe. */
#include "core/agent/agent_state.h"

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/vip_msg.h"

#include <stdio.h>
#include <string.h>

/* The epoch this instance should hold the group's lease for; 0: none. */
static uint64_t wanted_epoch(const struct agent *a, const struct instance *in)
{
	if (a->is_stopping)
		return 0;
	if (!in->is_ordered) {
		/* This process was restarted under a running primary: the epoch on its disk names this node and nobody else. */
		if (in->is_report_known && instance_is_primary(in))
			return in->report.promoted_epoch;
		return 0;
	}
	if (in->order.role != ORDER_PRIMARY)
		return 0;
	return in->order.is_bring_up || instance_is_primary(in) ? in->order.epoch : 0;
}

/* The kernel may still let clients through to this host for the group. */
static bool is_open(const struct agent *a, const struct instance *in)
{
	return in->vip_until_ms > a->now_ms;
}

static bool is_primary_running(const struct instance *in)
{
	return instance_is_running(in) && in->report.role != DBD_ROLE_REPLICA;
}

/* A promotion under way makes a primary at any moment, whatever the last report says; a server that is to stop counts until it
 * has ended. */
static bool may_be_primary(const struct instance *in)
{
	if (in->verb == DBD_PROMOTE || in->report.verb == DBD_PROMOTE)
		return true;
	return is_primary_running(in) || (instance_is_running(in) && in->is_ordered && in->order.role == ORDER_STOP);
}

/* Promise 1: the grants go back only when nobody can reach this server as a primary any more: it has ended (or never was one),
 * and vipd has confirmed that address and port are closed, or their deadline has passed. */
static void give_up(struct agent *a, struct instance *in, struct agent_update *u)
{
	struct agent_action *x;

	if (in->lease.value == 0 || is_open(a, in) || (in->is_dbd_up && in->is_report_known && may_be_primary(in)))
		return;
	/* What the guard's server does is not known while it is away: the lease ends by itself then. */
	if (!in->is_dbd_up || !in->is_report_known)
		return;
	x = agent_add(u, AGENT_SEND_RELEASE);
	str_copy(x->resource, sizeof x->resource, in->resource);
	x->value = in->lease.value;
	lease_drop(&in->lease);
	in->lease_pushed_ms = 0;
	a->is_beat_due = true;
}

static void note_asked(struct agent *a)
{
	if (a->vip_asked_ms == 0)
		a->vip_asked_ms = a->now_ms;
}

static void close_vip(struct agent *a, struct instance *in, struct agent_update *u)
{
	struct agent_action *x;

	if (!is_open(a, in) || in->is_vip_released || !a->is_vipd_up)
		return;
	x = agent_add(u, AGENT_SEND_VIP_RELEASE);
	str_copy(x->resource, sizeof x->resource, in->resource);
	x->value = in->epoch; /* an earlier run of this process may have opened it: any epoch so far */
	x->seq = ++a->seq;
	in->is_vip_released = true;
	note_asked(a);
}

static void open_vip(struct agent *a, struct instance *in, struct agent_update *u)
{
	struct agent_action *x;
	int i;

	if (!a->is_vipd_up || in->lease.until_ms <= in->vip_until_ms)
		return;
	if (in->vip_until_ms <= a->now_ms)
		a->is_beat_due = true; /* newly open: say so at once */
	x = agent_add(u, AGENT_SEND_VIP_LEASE);
	str_copy(x->resource, sizeof x->resource, in->resource);
	x->value = in->lease.value;
	x->deadline_ms = in->lease.until_ms;
	x->seq = ++a->seq;
	x->u.vip.addr_count = in->order.vip_count;
	for (i = 0; i < in->order.vip_count; i++)
		memcpy(x->u.vip.addrs[i], in->order.vips[i], sizeof x->u.vip.addrs[i]);
	x->u.vip.port_count = 1;
	x->u.vip.ports[0] = in->setup.port;
	in->vip_until_ms = in->lease.until_ms;
	in->vip_epoch = in->lease.value;
	in->is_vip_released = false;
	note_asked(a);
}

/* Clients come only to a server that is the promoted primary of the leased epoch and answers. */
static bool may_serve(const struct agent *a, const struct instance *in)
{
	return in->is_ordered && in->order.role == ORDER_PRIMARY && lease_is_valid(&in->lease, a->now_ms) &&
	       in->lease.value == in->order.epoch && in->is_dbd_up && in->is_report_known && instance_is_primary(in) &&
	       in->report.is_accepting && !a->is_stopping;
}

/* Behind a closed port a synchronous primary harms nobody: a hiccup then costs a closed port, not a crash recovery. */
int32_t keeper_grace_ms(const struct agent *a, const struct instance *in)
{
	return in->is_ordered && in->order.is_sync && a->is_fence_active ? (int32_t)a->profile->lease_ms : 0;
}

static void push_to_guard(struct agent *a, struct instance *in, struct agent_update *u)
{
	struct agent_action *x;

	if (!in->is_dbd_up || !lease_is_valid(&in->lease, a->now_ms) || in->lease.until_ms <= in->lease_pushed_ms)
		return;
	x = agent_add(u, AGENT_SEND_DBD);
	x->index = (int)(in - a->instances);
	memset(&x->u.dbd, 0, sizeof x->u.dbd);
	x->u.dbd.version = DBD_MSG_VERSION;
	x->u.dbd.type = DBD_LEASE;
	x->u.dbd.seq = ++a->seq;
	x->u.dbd.generation = in->generation;
	x->u.dbd.epoch = in->lease.value;
	x->u.dbd.deadline_ns = in->lease.until_ms * CLOCK_NS_PER_MS;
	x->u.dbd.grace_ms = keeper_grace_ms(a, in);
	in->lease_pushed_ms = in->lease.until_ms;
}

/* An orderly stop lets the server say good-bye to its clients first; for everything else the door closes first. A primary that
 * only waits for its grants keeps what it has: the kernel closes at the deadline. */
static bool must_close(const struct agent *a, const struct instance *in, uint64_t epoch)
{
	if (!in->is_ordered || (epoch != 0 && instance_is_primary(in)))
		return a->is_stopping && !is_primary_running(in);
	return !(in->order.role == ORDER_STOP && in->order.is_fast && is_primary_running(in));
}

void keeper_work(struct agent *a, struct instance *in, struct agent_update *u)
{
	uint64_t epoch = wanted_epoch(a, in);

	if (epoch > in->lease.value && in->lease.value != 0)
		give_up(a, in, u); /* of an older epoch */
	if (epoch != 0 && in->lease.value == 0) {
		lease_hold(&in->lease, in->resource, epoch, a->profile->lease_ms);
		in->lease_pushed_ms = 0;
		a->is_beat_due = true;
	}
	push_to_guard(a, in, u);
	if (may_serve(a, in))
		open_vip(a, in, u);
	else if (must_close(a, in, epoch))
		close_vip(a, in, u);
	if (epoch == 0)
		give_up(a, in, u);
}

static struct lease_holder *find_holder(struct agent *a, const char *resource)
{
	int i;

	if (strcmp(resource, "controller") == 0)
		return &a->controller;
	for (i = 0; i < a->instance_count; i++)
		if (strcmp(a->instances[i].resource, resource) == 0)
			return &a->instances[i].lease;
	return NULL;
}

void keeper_answer(struct agent *a, const struct lease_reply *r, struct agent_update *u)
{
	struct lease_holder *h = find_holder(a, r->resource);
	int64_t again;

	agent_learn_voters(a, &r->voters, u);
	if (h == NULL || h->value != r->value)
		return;
	if (r->answer == LEASE_GRANTED) {
		bool was_valid = lease_is_valid(h, a->now_ms);

		if (!lease_answered(h, r->voter, r->value, r->number, &a->voter.set))
			return;
		if (!was_valid)
			a->is_beat_due = true;
		if (h == &a->controller) {
			struct agent_action *x = agent_add(u, AGENT_STORE_LEASE);

			lease_settling_note(&a->settling, a->now_ms, a->voter.set.number);
			x->value = h->value;
			x->deadline_ms = h->until_ms;
		}
		return;
	}
	again = a->now_ms + r->busy_ms + 1;
	if ((r->answer == LEASE_BUSY || r->answer == LEASE_STARTING) && !lease_is_valid(h, a->now_ms) &&
	    (h->retry_ms == 0 || again < h->retry_ms))
		h->retry_ms = again;
}

void keeper_vip_reply(struct agent *a, const struct agent_event *e)
{
	int i;

	a->vip_asked_ms = 0;
	a->is_fence_active = (e->u.vip.flags & VIP_F_FENCE_ACTIVE) != 0;
	for (i = 0; i < a->instance_count; i++) {
		struct instance *in = &a->instances[i];

		if (e->u.vip.owner == NULL || strcmp(in->resource, e->u.vip.owner) != 0)
			continue;
		/* Closed and confirmed: nobody has to wait for the deadline. */
		if (in->is_vip_released && e->u.vip.rc == 0 && (e->u.vip.flags & VIP_F_HELD) == 0) {
			in->vip_until_ms = 0;
			in->is_vip_released = false;
		}
	}
}
