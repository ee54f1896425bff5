/* A host and its control process: here the real agent and controller run. What core/run does with their effects is done the
 * same way. */
#include "tests/sim/world.h"

#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

bool put_back(struct world *w, const struct sim_event *e, int64_t frozen_until)
{
	if (frozen_until <= w->q.now_us)
		return false;
	sim_post(&w->q, frozen_until, *e);
	return true;
}

static int group_index(const char *name)
{
	return name[1] - '1';
}

static void run_agent_actions(struct world *w, int node);

static void send_heartbeat(struct world *w, int node, int64_t stall_us)
{
	const struct heartbeat *hb = agent_heartbeat(w->hosts[node].agent);
	struct msg *m = msg_new(w, MSG_HEARTBEAT);

	m->u.beat.hb = *hb;
	memcpy(m->u.beat.asks, hb->asks, hb->ask_count * sizeof hb->asks[0]);
	memcpy(m->u.beat.reports, hb->reports, hb->report_count * sizeof hb->reports[0]);
	m->u.beat.hb.asks = m->u.beat.asks;
	m->u.beat.hb.reports = m->u.beat.reports;
	for (size_t i = 0; i < hb->report_count && (w->broken & BROKEN_UNSAFE) != 0; i++) {
		m->u.beat.reports[i].is_detached = true;
		m->u.beat.reports[i].detach_epoch = m->u.beat.reports[i].epoch;
	}
	m->refs = w->node_count;
	for (int i = 0; i < w->node_count; i++)
		net_send(w, node, i, m, stall_us);
}

static void send_release(struct world *w, int node, const char *resource, uint64_t value, int64_t stall_us)
{
	struct msg *m = msg_new(w, MSG_RELEASE);

	LOG(w, node, "releases %s value %llu", resource, (unsigned long long)value);
	str_copy(m->u.release.resource, sizeof m->u.release.resource, resource);
	m->u.release.value = value;
	m->refs = w->node_count;
	for (int i = 0; i < w->node_count; i++)
		net_send(w, node, i, m, stall_us);
}

static void run_agent_action(struct world *w, int node, const struct agent_action *x, int64_t stall_us)
{
	struct host *h = &w->hosts[node];
	struct vip_request vip = {.epoch = x->value, .deadline_ms = x->deadline_ms, .seq = x->seq};
	struct msg *m;

	switch (x->type) {
	case AGENT_SEND_HEARTBEAT:
		send_heartbeat(w, node, stall_us);
		break;
	case AGENT_SAVE_VOTERS:
		h->disk_voters = *agent_voters(h->agent);
		break;
	case AGENT_SEND_REPLY:
		m = msg_new(w, MSG_REPLY);
		m->u.reply = x->u.reply;
		net_send(w, node, x->node, m, stall_us);
		break;
	case AGENT_SEND_RELEASE:
		send_release(w, node, x->resource, x->value, stall_us);
		break;
	case AGENT_SEND_DBD:
		guard_request(w, node, x->index, &x->u.dbd, stall_us);
		break;
	case AGENT_SEND_VIP_RELEASE:
	case AGENT_SEND_VIP_LEASE:
		vip.is_release = x->type == AGENT_SEND_VIP_RELEASE;
		vip_request(w, node, group_index(x->resource + strlen("group:")), &vip, stall_us);
		break;
	case AGENT_STORE_LEASE:
		if (h->is_leader)
			h->stored_until_ms = x->deadline_ms;
		break;
	case AGENT_KILL_VIPD:
		LOG(w, node, "kills its vipd");
		vip_crash(w, node);
		break;
	case AGENT_KILL_DBD:
		LOG(w, node, "kills the guard of g%d", x->index + 1);
		guard_crash(w, node, x->index);
		break;
	case AGENT_LOG:
		LOG(w, node, "%s: %s", x->resource, x->u.text);
		break;
	}
}

static void on_tick(void *world, const struct sim_event *e);

static void wake_at(struct world *w, int node, bool is_ctl, int64_t deadline_ms)
{
	struct host *h = &w->hosts[node];
	struct wake *wake = is_ctl ? &h->ctl_wake : &h->agent_wake;
	int64_t at_us = drift_true_us(&h->clock, deadline_ms * MS);

	if (at_us <= w->q.now_us)
		at_us = w->q.now_us + 1 * MS;
	if (wake->at_us > w->q.now_us && wake->at_us <= at_us)
		return; /* the one that is posted comes no later */
	wake->at_us = at_us;
	wake->token++;
	sim_post(&w->q, at_us,
	         (struct sim_event){.fn = on_tick,
	                            .a = node,
	                            .b = is_ctl,
	                            .u = h->control.run,
	                            .p = (void *)(uintptr_t)wake->token});
}

/* Effects leave after the step; a process that is frozen right then sends them when it goes on. */
static void run_agent_actions(struct world *w, int node)
{
	struct host *h = &w->hosts[node];
	int64_t stall_us = h->stall_us;

	h->stall_us = 0;
	if (stall_us > 0)
		h->control.frozen_until = w->q.now_us + stall_us;
	for (size_t i = 0; i < h->update.count; i++)
		run_agent_action(w, node, &h->update.actions[i], stall_us);
	wake_at(w, node, false, agent_deadline(h->agent));
	w->dirty = 1;
}

void control_deliver(struct world *w, int node, struct agent_event *e)
{
	struct host *h = &w->hosts[node];

	e->now_ms = local_ms(w, node);
	(void)agent_step(h->agent, e, &h->update);
	run_agent_actions(w, node);
}

/* The store serves nothing under the lease any more; then the grants go back. */
static void drop_ctl(struct world *w, int node)
{
	struct host *h = &w->hosts[node];
	struct agent_event e = {.type = AGENT_GENERATION};
	uint64_t generation = h->generation;

	if (h->ctl == NULL)
		return;
	ctl_free(h->ctl);
	h->ctl = NULL;
	h->generation = 0;
	h->stored_until_ms = 0;
	control_deliver(w, node, &e);
	send_release(w, node, "controller", generation, 0);
}

static void run_ctl_action(struct world *w, int node, const struct action *a)
{
	struct msg *m;

	switch (a->type) {
	case ACTION_ORDER:
		m = msg_new(w, MSG_ORDER);
		m->u.order = a->order;
		net_send(w, node, a->node, m, 0);
		break;
	case ACTION_REPLY:
		LOG(w, node, "answers the operator: %s (%s)", a->text, err_name(a->code));
		break;
	case ACTION_TRANSFER:
		LOG(w, node, "hands the lead over to %s", w->hosts[a->node].name);
		drop_ctl(w, node);
		raft_transfer(w, node, a->node);
		break;
	}
}

void control_ctl_event(struct world *w, int node, struct event *e)
{
	struct host *h = &w->hosts[node];

	e->now_ms = local_ms(w, node);
	(void)ctl_step(h->ctl, e, &w->update);
	for (size_t i = 0; i < w->update.commit_count; i++)
		raft_commit(w, node, &w->update.commits[i]);
	for (size_t i = 0; i < w->update.action_count && h->ctl != NULL; i++)
		run_ctl_action(w, node, &w->update.actions[i]);
	if (h->ctl == NULL)
		return;
	if (e->type == EVENT_COMMITTED && e->u.committed.outcome == COMMIT_LOST)
		drop_ctl(w, node);
	else
		wake_at(w, node, true, ctl_deadline(h->ctl));
}

static void on_tick(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct wake *wake = e->b ? &h->ctl_wake : &h->agent_wake;
	struct agent_event tick = {.type = AGENT_TICK};
	struct event ctl_tick = {.type = EVENT_TICK};

	if (!h->is_up || !h->control.is_up || h->control.run != e->u || wake->token != (uintptr_t)e->p)
		return;
	if (put_back(w, e, h->control.frozen_until))
		return;
	wake->at_us = 0;
	if (!e->b)
		control_deliver(w, e->a, &tick);
	else if (h->ctl != NULL)
		control_ctl_event(w, e->a, &ctl_tick);
}

static void keep_last(struct world *w, int node, struct msg *m)
{
	struct host *h = &w->hosts[node];
	struct last *l = &h->last[m->u.beat.hb.node];

	if (l->beat != NULL)
		msg_drop(w, l->beat);
	l->beat = m;
	l->at_ms = local_ms(w, node);
	m->refs++;
}

static void take_message(struct world *w, int node, struct msg *m)
{
	struct host *h = &w->hosts[node];
	struct agent_event e = {.type = AGENT_HEARTBEAT};
	struct event c = {.type = EVENT_HEARTBEAT};

	switch (m->type) {
	case MSG_HEARTBEAT:
		keep_last(w, node, m);
		c.u.heartbeat = &m->u.beat.hb;
		if (h->ctl != NULL)
			control_ctl_event(w, node, &c);
		e.u.heartbeat = &m->u.beat.hb;
		break;
	case MSG_REPLY:
		e.type = AGENT_LEASE_REPLY;
		e.u.reply = &m->u.reply;
		break;
	case MSG_RELEASE:
		e.type = AGENT_RELEASE;
		memcpy(e.u.release.resource, m->u.release.resource, sizeof e.u.release.resource);
		e.u.release.value = m->u.release.value;
		break;
	default:
		e.type = AGENT_ORDER;
		e.u.order = &m->u.order;
		break;
	}
	control_deliver(w, node, &e);
}

void control_message(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	bool is_there = h->is_up && h->control.is_up && h->control.run == e->u;

	if (is_there && put_back(w, e, h->control.frozen_until))
		return;
	if (is_there)
		take_message(w, e->a, e->p);
	msg_drop(w, e->p);
}

void control_start(struct world *w, int node)
{
	struct host *h = &w->hosts[node];
	struct agent_node nodes[SIM_NODES];
	struct agent_instance instances[SIM_GROUPS];
	struct agent_setup setup = {.profile = w->profile,
	                            .self = node,
	                            .node_count = w->node_count,
	                            .nodes = nodes,
	                            .instances = instances,
	                            .has_vipd = w->has_vipd};
	int64_t now_ms = local_ms(w, node);

	memset(nodes, 0, sizeof nodes);
	memset(instances, 0, sizeof instances);
	for (int i = 0; i < w->node_count; i++) {
		str_copy(nodes[i].name, sizeof nodes[i].name, w->hosts[i].name);
		snprintf(nodes[i].host, sizeof nodes[i].host, "10.0.1.%d", i + 1);
		nodes[i].is_arbiter = w->hosts[i].is_arbiter;
	}
	for (int g = 0; g < w->group_count && !h->is_arbiter; g++) {
		snprintf(instances[g].group, sizeof instances[g].group, "g%d", g + 1);
		instances[g].port = (uint16_t)(5432 + g);
		setup.instance_count++;
	}
	setup.incarnation = rng_next(&w->rng);
	h->control = (struct proc){.is_up = true, .run = ++w->last_run};
	h->stall_us = 0;
	h->is_winning = h->is_stopping = h->is_changing = false;
	h->agent_wake.at_us = h->ctl_wake.at_us = 0;
	h->agent = agent_new(&setup, (w->broken & BROKEN_STARTING) != 0 ? now_ms - w->profile->lease_ms : now_ms);
	agent_set_voters(h->agent, &h->disk_voters);
	LOG(w, node, "control process starts, clock %+lld ppm", (long long)h->clock.ppm);
	wake_at(w, node, false, now_ms + 1);
	for (int g = 0; g < setup.instance_count; g++)
		guard_connect(w, node, g);
	if (w->has_vipd && h->vipd.is_up)
		vip_connect(w, node);
}

static void on_control_return(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];

	if (h->is_up && h->boot == e->u && !h->control.is_up && !put_back(w, e, h->frozen_until))
		control_start(w, e->a);
}

static void forget_control(struct world *w, struct host *h)
{
	for (int i = 0; i < w->node_count; i++) {
		if (h->last[i].beat != NULL)
			msg_drop(w, h->last[i].beat);
		h->last[i].beat = NULL;
	}
	ctl_free(h->ctl);
	agent_free(h->agent);
	h->ctl = NULL;
	h->agent = NULL;
	h->generation = 0;
	h->control.is_up = false;
}

void control_crash(struct world *w, int node)
{
	struct host *h = &w->hosts[node];

	if (!h->control.is_up)
		return;
	forget_control(w, h);
	for (int g = 0; g < w->group_count; g++)
		h->guards[g].control_run = 0;
	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 20 * MS, 3 * SECOND),
	         (struct sim_event){.fn = on_control_return, .a = node, .u = h->boot});
	w->dirty = 1;
}

void host_boot(struct world *w, int node)
{
	struct host *h = &w->hosts[node];

	h->is_up = true;
	h->boot = ++w->last_run;
	h->frozen_until = 0;
	h->is_leader = false;
	h->stored_until_ms = 0;
	if (w->has_vipd && !h->is_arbiter)
		vip_start(w, node);
	for (int g = 0; g < w->group_count && !h->is_arbiter; g++)
		guard_start(w, node, g);
	control_start(w, node);
}

static void on_host_return(void *world, const struct sim_event *e)
{
	struct world *w = world;

	if (!w->hosts[e->a].is_up)
		host_boot(w, e->a);
}

void host_crash(struct world *w, int node)
{
	struct host *h = &w->hosts[node];

	if (!h->is_up)
		return;
	for (int g = 0; g < w->group_count; g++) {
		struct guard *gu = &h->guards[g];

		if (h->servers[g].run != 0)
			server_end(w, node, g, false);
		/* Only what reached the disk is known after a boot. */
		gu->proc.is_up = false;
		gu->seen_epoch = gu->disk_epoch > gu->promoted_epoch ? gu->disk_epoch : gu->promoted_epoch;
		gu->expires_us = 0;
		gu->may_write = false;
		h->vip_until_us[g] = 0;
	}
	if (h->control.is_up)
		forget_control(w, h);
	h->vipd.is_up = false;
	h->is_up = false;
	raft_node_died(w, node);
	h->frozen_until = 0;
	w->dirty = 1;
	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 300 * MS, 20 * SECOND),
	         (struct sim_event){.fn = on_host_return, .a = node});
}

void control_leads(struct world *w, int node, uint64_t generation, const struct group_record *rec)
{
	struct host *h = &w->hosts[node];
	struct agent_event e = {.type = AGENT_GENERATION};
	struct event tick = {.type = EVENT_TICK};

	if (!h->is_leader || h->is_stopping)
		return;
	ctl_free(h->ctl);
	h->generation = generation;
	h->is_changing = false;
	agent_set_voters(h->agent, &w->voters);
	h->ctl = ctl_new(w->profile, node, generation, local_ms(w, node));
	for (int i = 0; i < w->node_count; i++) {
		struct ctl_node n = {.is_arbiter = w->hosts[i].is_arbiter};

		str_copy(n.name, sizeof n.name, w->hosts[i].name);
		ctl_add_node(h->ctl, &n);
	}
	for (int g = 0; g < w->group_count; g++)
		ctl_add_group(h->ctl, &rec[g]);
	/* What this node heard before counts from when it was heard. */
	for (int i = 0; i < w->node_count; i++)
		if (h->last[i].beat != NULL)
			ctl_heard(h->ctl, &h->last[i].beat->u.beat.hb, h->last[i].at_ms);
	e.u.generation = generation;
	control_deliver(w, node, &e);
	control_ctl_event(w, node, &tick);
}

void control_deposed(struct world *w, int node)
{
	if (!w->hosts[node].control.is_up)
		return;
	LOG(w, node, "learns that it does not lead the store any more");
	drop_ctl(w, node);
}

void control_hands_over(struct world *w, int node)
{
	for (int i = 0; i < w->node_count; i++)
		if (i != node && !w->hosts[i].is_arbiter && (w->voters.members & ~w->leaving & node_bit(i)) != 0) {
			LOG(w, node, "votes no more: hands the lead over to %s", w->hosts[i].name);
			drop_ctl(w, node);
			raft_transfer(w, node, i);
			return;
		}
}

/* An orderly stop: the agent stops its servers and gives back its leases, then the host goes down. */
static void on_stopping(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];

	if (!h->is_up || h->boot != e->u || put_back(w, e, h->control.frozen_until))
		return;
	if (h->control.is_up && h->is_stopping && !agent_is_stopped(h->agent) && w->q.now_us < h->stop_by_us) {
		sim_post(&w->q, w->q.now_us + 50 * MS, *e);
		return;
	}
	LOG(w, e->a, "has stopped in good order");
	host_crash(w, e->a);
}

void control_begin_stop(struct world *w, int node)
{
	struct host *h = &w->hosts[node];
	struct agent_event e = {.type = AGENT_STOP};

	LOG(w, node, "is told to stop in good order");
	if (h->ctl != NULL)
		raft_transfer(w, node, (node + 1) % w->node_count);
	drop_ctl(w, node);
	h->is_stopping = true;
	h->stop_by_us = w->q.now_us + 10 * SECOND;
	control_deliver(w, node, &e);
	sim_post(&w->q, w->q.now_us + 50 * MS, (struct sim_event){.fn = on_stopping, .a = node, .u = h->boot});
}
