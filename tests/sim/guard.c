/* mha-dbd's guard as core/base/dbd_msg.h describes it and drivers/guard*.c does it. */
#include "tests/sim/world.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

#define REPORT_EVERY (200 * MS)

enum { NOTICE_MSG, NOTICE_UP, NOTICE_DOWN };

static bool is_primary(const struct guard *gu, const struct server *s)
{
	return s->run != 0 && (gu->may_write || gu->report.role == DBD_ROLE_PRIMARY);
}

/* To the control process: a message, or that the guard came or went. */
static void on_notice(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct agent_event a = {.type = AGENT_DBD};
	struct msg *m = e->p;
	bool is_there = h->is_up && h->control.is_up && h->control.run == e->u;

	if (is_there && put_back(w, e, h->control.frozen_until))
		return;
	a.u.dbd.instance = e->b / 4;
	if (e->b % 4 == NOTICE_MSG)
		a.u.dbd.msg = &m->u.dbd;
	else
		a.type = e->b % 4 == NOTICE_UP ? AGENT_DBD_UP : AGENT_DBD_DOWN;
	if (is_there)
		control_deliver(w, e->a, &a);
	if (m != NULL)
		msg_drop(w, m);
}

static void notice(struct world *w, int node, int group, int kind, struct msg *m)
{
	sim_post(&w->q, w->q.now_us + 100,
	         (struct sim_event){.fn = on_notice,
	                            .a = node,
	                            .b = group * 4 + kind,
	                            .u = w->hosts[node].guards[group].control_run,
	                            .p = m});
}

static int32_t age_ms(int64_t since_us, int64_t now_us)
{
	return since_us == 0 ? -1 : (int32_t)((now_us - since_us) / MS);
}

static void name_set(const struct world *w, node_set s, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (int i = 0; i < w->node_count; i++)
		if ((s & node_bit(i)) != 0)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len > 0 ? "," : "", w->hosts[i].name);
}

static void probe_standbys(const struct world *w, const struct server *s, struct dbd_report *r)
{
	r->standby_count = 0;
	for (int i = 0; i < w->node_count; i++) {
		struct dbd_standby *d = &r->standbys[r->standby_count];

		if (!s->standby[i].is_streaming)
			continue;
		str_copy(d->name, sizeof d->name, w->hosts[i].name);
		d->flushed = s->standby[i].flushed;
		d->is_streaming = 1;
		r->standby_count++;
	}
}

/* A frozen or starting server answers nothing: role and the rest stay as last seen. */
static void probe(struct world *w, int node, int group)
{
	struct guard *gu = &w->hosts[node].guards[group];
	const struct server *s = &w->hosts[node].servers[group];
	struct dbd_report *r = &gu->report;

	r->is_accepting = s->run != 0 && s->phase == DBD_PROC_RUNNING && s->frozen_until <= w->q.now_us;
	if (s->run != 0 && !r->is_accepting)
		return;
	if (s->run != 0) {
		gu->probed_us = local_us(w, node);
		gu->received_us = s->received_us;
	}
	r->role = s->run == 0 ? DBD_ROLE_UNKNOWN : s->is_primary ? DBD_ROLE_PRIMARY : DBD_ROLE_REPLICA;
	r->is_receiving = s->run != 0 && s->is_connected ? 1 : 0;
	r->is_detached = s->is_detached;
	r->is_clean = s->is_clean;
	r->timeline = s->has.tl >= 0 ? (uint32_t)w->timelines[s->has.tl].number : 0;
	r->position = s->has.tl >= 0 ? s->has.pos : 0;
	str_copy(r->upstream, sizeof r->upstream, s->upstream == NODE_NONE ? "" : w->hosts[s->upstream].name);
	str_copy(r->system_id, sizeof r->system_id, s->has.tl >= 0 ? "model" : "");
	name_set(w, s->run != 0 && s->is_primary ? s->sync : 0, r->sync_members, sizeof r->sync_members);
	if (s->run != 0 && s->is_primary)
		probe_standbys(w, s, r);
	else
		r->standby_count = 0;
}

static void fill(struct world *w, int node, int group, struct dbd_report *r)
{
	struct guard *gu = &w->hosts[node].guards[group];
	const struct server *s = &w->hosts[node].servers[group];
	int64_t now_us = local_us(w, node);

	*r = gu->report;
	r->process = (uint8_t)(s->run != 0 ? s->phase : s->has.tl < 0 ? DBD_PROC_ABSENT : DBD_PROC_STOPPED);
	r->verb = (uint8_t)(gu->verb & 0xff);
	r->probe_age_ms = s->run != 0 ? age_ms(gu->probed_us, now_us) : -1;
	r->received_age_ms = s->run != 0 ? age_ms(gu->received_us, now_us) : -1;
	r->epoch = gu->seen_epoch;
	r->promoted_epoch = gu->promoted_epoch;
	r->sync_since = r->role == DBD_ROLE_PRIMARY ? s->sync_since : 0;
	str_copy(r->last_error, sizeof r->last_error, gu->last_error);
}

static void send(struct world *w, int node, int group, enum dbd_msg_type type, uint32_t seq, int rc, const char *text)
{
	struct guard *gu = &w->hosts[node].guards[group];
	struct msg *m;

	if (gu->control_run == 0 || (type == DBD_REPLY && seq == 0))
		return;
	m = msg_new(w, MSG_DBD);
	m->u.dbd.type = (uint16_t)type;
	m->u.dbd.seq = seq;
	m->u.dbd.rc = rc;
	str_copy(m->u.dbd.text, sizeof m->u.dbd.text, text);
	fill(w, node, group, &m->u.dbd.report);
	notice(w, node, group, NOTICE_MSG, m);
}

void guard_report(struct world *w, int node, int group)
{
	struct guard *gu = &w->hosts[node].guards[group];

	if (!gu->proc.is_up)
		return;
	probe(w, node, group);
	send(w, node, group, DBD_REPORT, 0, 0, "");
}

static void on_cut_sessions(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (s->run == e->u)
		s->is_writable = false;
	w->dirty = 1;
}

static void on_killed(void *world, const struct sim_event *e)
{
	struct world *w = world;

	if (w->hosts[e->a].servers[e->b].run == e->u)
		server_end(w, e->a, e->b, false);
}

/* Sessions are signalled directly and gone at once; the process takes a little longer; a frozen one is killed half a second
 * later. */
static void fence(struct world *w, int node, int group)
{
	struct guard *gu = &w->hosts[node].guards[group];
	struct server *s = &w->hosts[node].servers[group];
	bool is_frozen = s->frozen_until > w->q.now_us;
	struct sim_event e = {.a = node, .b = group, .u = s->run};

	if (gu->is_fenced)
		return;
	LOG(w, node, "guard of g%d: the lease has ended -> the primary is stopped at once", group + 1);
	gu->is_fenced = true;
	s->phase = DBD_PROC_STOPPING;
	if (is_frozen)
		s->is_writable = false;
	e.fn = on_cut_sessions;
	sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 1 * MS, 8 * MS), e);
	e.fn = on_killed;
	sim_post(&w->q, w->q.now_us + (is_frozen ? 500 * MS : rng_range(&w->rng, 8 * MS, 100 * MS)), e);
	guard_report(w, node, group);
}

static void on_timer(void *world, const struct sim_event *e);

static void check_lease(struct world *w, int node, int group)
{
	struct host *h = &w->hosts[node];
	struct guard *gu = &h->guards[group];

	if ((w->broken & BROKEN_GUARD) != 0)
		return;
	if (gu->expires_us <= local_us(w, node)) {
		if (is_primary(gu, &h->servers[group]))
			fence(w, node, group);
		return;
	}
	if (!is_primary(gu, &h->servers[group]))
		return;
	sim_post(&w->q, drift_true_us(&h->clock, gu->expires_us),
	         (struct sim_event){.fn = on_timer,
	                            .a = node,
	                            .b = group,
	                            .u = gu->proc.run,
	                            .p = (void *)(uintptr_t)++gu->timer_token});
}

static void on_timer(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct guard *gu = &w->hosts[e->a].guards[e->b];

	if (!gu->proc.is_up || gu->proc.run != e->u || gu->timer_token != (uintptr_t)e->p)
		return;
	if (!put_back(w, e, gu->proc.frozen_until))
		check_lease(w, e->a, e->b);
}

static void on_report_time(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct guard *gu = &w->hosts[e->a].guards[e->b];
	uint8_t role = gu->report.role;

	if (!gu->proc.is_up || gu->proc.run != e->u || put_back(w, e, gu->proc.frozen_until))
		return;
	guard_report(w, e->a, e->b);
	if (role != gu->report.role)
		check_lease(w, e->a, e->b);
	sim_post(&w->q, w->q.now_us + REPORT_EVERY, *e);
}

void guard_verb_done(struct world *w, int node, int group, int rc, const char *text)
{
	struct guard *gu = &w->hosts[node].guards[group];
	uint32_t seq = gu->verb_seq;

	if (rc != 0)
		LOG(w, node, "guard of g%d: verb %u failed: %s", group + 1, gu->verb, text);
	gu->verb = 0;
	gu->verb_seq = 0;
	gu->verb_token = 0;
	str_copy(gu->last_error, sizeof gu->last_error, rc != 0 ? text : "");
	guard_report(w, node, group);
	send(w, node, group, DBD_REPLY, seq, rc, text);
	check_lease(w, node, group);
}

static int take_expiry(struct world *w, int node, int group, const struct dbd_msg *m)
{
	struct guard *gu = &w->hosts[node].guards[group];
	int64_t now_us = local_us(w, node), until_us = m->deadline_ns / 1000;

	if (m->type == DBD_PROMOTE && m->deadline_ns == 0)
		until_us = now_us + m->grace_ms * MS;
	else if (until_us > now_us)
		until_us += m->grace_ms * MS;
	if (m->type == DBD_PROMOTE && until_us <= now_us)
		return ERR_REFUSED;
	gu->expires_us = until_us;
	return 0;
}

static void on_disk(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct guard *gu = &w->hosts[e->a].guards[e->b];

	if (gu->proc.run == e->u && gu->disk_epoch < (uintptr_t)e->p)
		gu->disk_epoch = (uintptr_t)e->p;
}

static void take_request(struct world *w, int node, int group, const struct dbd_msg *m)
{
	struct guard *gu = &w->hosts[node].guards[group];

	if (m->epoch < gu->seen_epoch) {
		send(w, node, group, DBD_REPLY, m->seq, ERR_REFUSED, "the epoch is older than one seen here");
		return;
	}
	if (m->epoch > gu->seen_epoch) {
		gu->seen_epoch = m->epoch;
		sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 1 * MS, 20 * MS),
		         (struct sim_event){.fn = on_disk,
		                            .a = node,
		                            .b = group,
		                            .u = gu->proc.run,
		                            .p = (void *)(uintptr_t)m->epoch});
	}
	if (m->type == DBD_LEASE) {
		(void)take_expiry(w, node, group, m);
		check_lease(w, node, group);
		send(w, node, group, DBD_REPLY, m->seq, 0, "");
		return;
	}
	if (gu->verb != 0 && m->type != DBD_STOP) {
		send(w, node, group, DBD_REPLY, m->seq, ERR_REFUSED, "busy with another verb");
		return;
	}
	if (gu->verb != 0)
		guard_verb_done(w, node, group, ERR_REFUSED, "interrupted by a stop order");
	gu->verb = m->type;
	gu->verb_seq = m->seq;
	gu->verb_token = ++w->last_run;
	gu->order = *m;
	if (m->type == DBD_PROMOTE) {
		if (take_expiry(w, node, group, m) != 0) {
			guard_verb_done(w, node, group, ERR_REFUSED, "the lease that comes with the order has ended");
			return;
		}
		gu->was_writable = gu->may_write;
		gu->may_write = true;
		check_lease(w, node, group);
	}
	verb_begin(w, node, group, m);
}

static void on_request(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct guard *gu = &w->hosts[e->a].guards[e->b];
	struct msg *m = e->p;
	bool is_there = gu->proc.is_up && gu->proc.run == e->u;

	if (is_there && put_back(w, e, gu->proc.frozen_until))
		return;
	if (is_there)
		take_request(w, e->a, e->b, &m->u.dbd);
	msg_drop(w, m);
}

void guard_request(struct world *w, int node, int group, const struct dbd_msg *d, int64_t stall_us)
{
	struct guard *gu = &w->hosts[node].guards[group];
	struct msg *m;

	if (!gu->proc.is_up || gu->control_run != w->hosts[node].control.run)
		return;
	m = msg_new(w, MSG_DBD);
	m->u.dbd = *d;
	sim_post(&w->q, w->q.now_us + stall_us + 100,
	         (struct sim_event){.fn = on_request, .a = node, .b = group, .u = gu->proc.run, .p = m});
}

void guard_connect(struct world *w, int node, int group)
{
	struct host *h = &w->hosts[node];
	struct guard *gu = &h->guards[group];

	if (!gu->proc.is_up || !h->control.is_up)
		return;
	gu->control_run = h->control.run;
	gu->verb_seq = 0; /* the verb of an earlier control process goes on; nobody is there to be told */
	notice(w, node, group, NOTICE_UP, NULL);
	if (gu->proc.frozen_until <= w->q.now_us)
		guard_report(w, node, group);
}

/* A primary that an earlier guard left is taken over together with its lease. */
void guard_start(struct world *w, int node, int group)
{
	struct host *h = &w->hosts[node];
	struct guard *gu = &h->guards[group];

	gu->proc = (struct proc){.is_up = true, .run = ++w->last_run};
	gu->control_run = 0;
	gu->verb = 0;
	gu->verb_seq = 0;
	gu->verb_token = 0;
	gu->is_fenced = false;
	gu->probed_us = gu->received_us = 0;
	memset(&gu->report, 0, sizeof gu->report);
	if (h->servers[group].run == 0)
		gu->may_write = false;
	check_lease(w, node, group);
	guard_connect(w, node, group);
	sim_post(&w->q, w->q.now_us + REPORT_EVERY,
	         (struct sim_event){.fn = on_report_time, .a = node, .b = group, .u = gu->proc.run});
}

static void on_return(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];

	if (h->is_up && h->boot == e->u && !h->guards[e->b].proc.is_up && !put_back(w, e, h->frozen_until))
		guard_start(w, e->a, e->b);
}

void guard_crash(struct world *w, int node, int group)
{
	struct guard *gu = &w->hosts[node].guards[group];

	if (!gu->proc.is_up)
		return;
	if (gu->control_run != 0)
		notice(w, node, group, NOTICE_DOWN, NULL);
	/* A rewind or clone that is under way dies with its worker. */
	if (gu->verb == DBD_REWIND)
		w->hosts[node].servers[group].is_broken = true;
	gu->proc.is_up = false;
	gu->control_run = 0;
	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 20 * MS, 2 * SECOND),
	         (struct sim_event){.fn = on_return, .a = node, .b = group, .u = w->hosts[node].boot});
}

static void on_ended(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct guard *gu = &w->hosts[e->a].guards[e->b];

	if (!gu->proc.is_up || gu->proc.run != e->u || put_back(w, e, gu->proc.frozen_until))
		return;
	guard_report(w, e->a, e->b);
	if (gu->verb == DBD_STOP)
		guard_verb_done(w, e->a, e->b, 0, "");
}

/* By its pidfd the guard knows at once; a frozen guard knows when it goes on. */
void guard_server_ended(struct world *w, int node, int group, bool is_ordered)
{
	struct guard *gu = &w->hosts[node].guards[group];

	gu->may_write = false;
	gu->is_fenced = false;
	gu->probed_us = 0;
	if (!is_ordered)
		LOG(w, node, "the server of g%d has ended by itself", group + 1);
	if (gu->proc.is_up)
		sim_post(&w->q, w->q.now_us + 200,
		         (struct sim_event){.fn = on_ended, .a = node, .b = group, .u = gu->proc.run});
}
