/* Events in, effects out: the agent's door, its votes and its heartbeats. */
#include "core/agent/agent_state.h"

#include "core/base/str.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct agent_action *agent_add(struct agent_update *u, enum agent_action_type type)
{
	struct agent_action *x;

	if (u->count == u->cap) {
		u->cap = u->cap > 0 ? u->cap * 2 : 16;
		u->actions = mem_resize(u->actions, u->cap * sizeof *u->actions);
	}
	x = &u->actions[u->count++];
	memset(x, 0, offsetof(struct agent_action, u));
	x->type = type;
	return x;
}

void agent_update_done(struct agent_update *u)
{
	free(u->actions);
	memset(u, 0, sizeof *u);
}

void agent_log(struct agent_update *u, const struct instance *in, const char *fmt, ...)
{
	struct agent_action *x = agent_add(u, AGENT_LOG);
	va_list ap;

	str_copy(x->resource, sizeof x->resource, in->setup.group);
	va_start(ap, fmt);
	vsnprintf(x->u.text, sizeof x->u.text, fmt, ap);
	va_end(ap);
}

int agent_find_node(const struct agent *a, const char *name)
{
	int i;

	for (i = 0; i < a->node_count; i++)
		if (strcmp(a->nodes[i].name, name) == 0)
			return i;
	return NODE_NONE;
}

node_set agent_parse_set(const struct agent *a, const char *names)
{
	node_set s = 0;

	while (*names != '\0') {
		char name[NAME_SIZE];
		size_t len = strcspn(names, ",");

		snprintf(name, sizeof name, "%.*s", (int)len, names);
		s |= node_bit(agent_find_node(a, name));
		names += len + (names[len] == ',' ? 1 : 0);
	}
	return s;
}

void agent_format_set(const struct agent *a, node_set s, char *buf, size_t size)
{
	size_t len = 0;
	int i;

	buf[0] = '\0';
	for (i = 0; i < a->node_count && len < size; i++)
		if ((s & node_bit(i)) != 0)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len > 0 ? "," : "", a->nodes[i].name);
}

struct agent *agent_new(const struct agent_setup *s, int64_t now_ms)
{
	struct agent *a = mem_alloc(sizeof *a);
	int i;

	assert(s->node_count <= MAX_NODES && s->instance_count <= AGENT_MAX_INSTANCES);
	a->profile = s->profile;
	a->self = s->self;
	a->now_ms = now_ms;
	a->incarnation = s->incarnation;
	/* Numbers of two runs never meet: a late answer to a heartbeat of the run before must not count as a grant of a round
	 * of this one. */
	a->number = (s->incarnation & UINT32_MAX) << 16;
	a->node_count = s->node_count;
	memcpy(a->nodes, s->nodes, (size_t)s->node_count * sizeof a->nodes[0]);
	a->instance_count = s->instance_count;
	a->instances = mem_alloc((size_t)s->instance_count * sizeof *a->instances);
	a->has_vipd = s->has_vipd;
	for (i = 0; i < s->instance_count; i++) {
		a->instances[i].setup = s->instances[i];
		snprintf(a->instances[i].resource, sizeof a->instances[i].resource, "group:%s", s->instances[i].group);
		/* What an earlier run of this process asked vipd for may still be in force. */
		a->instances[i].vip_until_ms = now_ms + s->profile->lease_ms;
	}
	lease_voter_init(&a->voter, now_ms, s->profile->lease_ms);
	a->beat_ms = now_ms - s->profile->heartbeat_ms;
	return a;
}

void agent_free(struct agent *a)
{
	if (a == NULL)
		return;
	lease_voter_done(&a->voter);
	free(a->instances);
	free(a);
}

void agent_set_nodes(struct agent *a, const struct agent_node *nodes, int count)
{
	assert(count >= a->node_count && count <= MAX_NODES);
	memcpy(a->nodes, nodes, (size_t)count * sizeof a->nodes[0]);
	a->node_count = count;
}

/* A voter that answers under a set must never again answer under an older one, whatever happens to it: else majorities of sets
 * two changes apart could both be found. */
void agent_learn_voters(struct agent *a, const struct voter_set *set, struct agent_update *u)
{
	if (set != NULL)
		lease_voter_set(&a->voter, set);
	if (a->voter.set.number == a->saved_set)
		return;
	a->saved_set = a->voter.set.number;
	agent_add(u, AGENT_SAVE_VOTERS);
}

void agent_set_voters(struct agent *a, const struct voter_set *set)
{
	lease_voter_set(&a->voter, set);
}

const struct voter_set *agent_voters(const struct agent *a)
{
	return &a->voter.set;
}

bool agent_voters_settled(const struct agent *a, int64_t now_ms)
{
	return lease_is_valid(&a->controller, now_ms) &&
	       lease_is_settled(&a->settling, now_ms, a->voter.set.number, a->profile->lease_ms);
}

/* Vote on what a heartbeat asks. Only members of the set vote; the asker ignores others anyway. */
static void vote(struct agent *a, const struct heartbeat *hb, struct agent_update *u)
{
	size_t i;

	if ((a->voter.set.members & node_bit(a->self)) == 0)
		return;
	for (i = 0; i < hb->ask_count; i++) {
		struct agent_action *x = agent_add(u, AGENT_SEND_REPLY);
		struct lease_reply *r = &x->u.reply;

		x->node = hb->node;
		memset(r, 0, sizeof *r);
		r->voter = a->self;
		r->number = hb->number;
		r->value = hb->asks[i].value;
		str_copy(r->resource, sizeof r->resource, hb->asks[i].resource);
		r->answer = lease_voter_ask(&a->voter, a->now_ms, r->resource, r->value, hb->voters.number, &r->busy_ms);
		r->voters = a->voter.set;
	}
}

static void ask(struct agent *a, struct lease_holder *h)
{
	struct lease_ask *q;

	if (h->value == 0)
		return;
	q = &a->asks[a->heartbeat.ask_count++];
	str_copy(q->resource, sizeof q->resource, h->resource);
	q->value = h->value;
	h->retry_ms = 0;
	lease_round_sent(h, a->now_ms, a->number, &a->voter.set);
}

static void beat(struct agent *a, struct agent_update *u)
{
	struct heartbeat *hb = &a->heartbeat;
	int i;

	a->number++;
	a->beat_ms = a->now_ms;
	a->is_beat_due = false;
	a->sent[a->number % SENT_RING].number = a->number;
	a->sent[a->number % SENT_RING].sent_ms = a->now_ms;
	memset(hb, 0, sizeof *hb);
	hb->node = a->self;
	hb->number = a->number;
	hb->incarnation = a->incarnation;
	hb->voters = a->voter.set;
	hb->is_arbiter = a->nodes[a->self].is_arbiter;
	hb->is_stopping = a->is_stopping;
	hb->generation = a->controller.value;
	hb->asks = a->asks;
	hb->reports = a->reports;
	ask(a, &a->controller);
	for (i = 0; i < a->instance_count; i++) {
		ask(a, &a->instances[i].lease);
		if (a->instances[i].is_dbd_up && a->instances[i].is_report_known)
			instance_report_fill(a, &a->instances[i], &a->reports[hb->report_count++]);
	}
	agent_add(u, AGENT_SEND_HEARTBEAT);
}

const struct heartbeat *agent_heartbeat(const struct agent *a)
{
	return &a->heartbeat;
}

static void take_generation(struct agent *a, uint64_t generation)
{
	if (generation == 0) {
		lease_drop(&a->controller);
		return;
	}
	lease_hold(&a->controller, "controller", generation, a->profile->lease_ms);
	a->is_beat_due = true;
}

static void take_vipd_link(struct agent *a, bool is_up)
{
	int i;

	a->is_vipd_up = is_up;
	a->vip_asked_ms = 0;
	/* A new vipd has revoked what the old one held, and holds nothing until it is asked again; the kernel's lease ends by
	 * itself. */
	for (i = 0; i < a->instance_count; i++)
		a->instances[i].is_vip_released = false;
	if (!is_up)
		a->is_fence_active = false;
}

/* The voters are free again: whoever waits for them asks now, not at the next interval. */
static void ask_again(struct agent *a, const char *resource)
{
	int i;

	if (a->controller.value != 0 && strcmp(resource, "controller") == 0)
		a->is_beat_due = true;
	for (i = 0; i < a->instance_count; i++)
		if (a->instances[i].lease.value != 0 && strcmp(a->instances[i].resource, resource) == 0)
			a->is_beat_due = true;
}

static void take_event(struct agent *a, const struct agent_event *e, struct agent_update *u)
{
	struct instance *in;

	switch (e->type) {
	case AGENT_TICK:
		break;
	case AGENT_HEARTBEAT:
		agent_learn_voters(a, &e->u.heartbeat->voters, u);
		vote(a, e->u.heartbeat, u);
		break;
	case AGENT_LEASE_REPLY:
		keeper_answer(a, e->u.reply, u);
		break;
	case AGENT_RELEASE:
		lease_voter_release(&a->voter, e->u.release.resource, e->u.release.value);
		ask_again(a, e->u.release.resource);
		break;
	case AGENT_ORDER:
		instance_take_order(a, e->u.order, u);
		break;
	case AGENT_DBD:
		instance_take_dbd(a, &a->instances[e->u.dbd.instance], e->u.dbd.msg, u);
		break;
	case AGENT_DBD_UP:
	case AGENT_DBD_DOWN:
		in = &a->instances[e->u.dbd.instance];
		in->is_dbd_up = e->type == AGENT_DBD_UP;
		in->is_report_known = false;
		in->verb = 0;
		in->lease_pushed_ms = 0;
		in->dbd_heard_ms = a->now_ms;
		break;
	case AGENT_VIPD_UP:
	case AGENT_VIPD_DOWN:
		take_vipd_link(a, e->type == AGENT_VIPD_UP);
		break;
	case AGENT_VIP_REPLY:
		keeper_vip_reply(a, e);
		break;
	case AGENT_GENERATION:
		take_generation(a, e->u.generation);
		break;
	case AGENT_STOP:
		a->is_stopping = true;
		a->is_beat_due = true;
		break;
	}
}

static void watch_helpers(struct agent *a, struct agent_update *u)
{
	int i;

	if (a->is_vipd_up && a->vip_asked_ms != 0 && a->now_ms - a->vip_asked_ms > VIPD_PATIENCE_MS) {
		agent_add(u, AGENT_KILL_VIPD);
		a->vip_asked_ms = 0;
	}
	for (i = 0; i < a->instance_count; i++) {
		struct instance *in = &a->instances[i];

		if (in->is_dbd_up && a->now_ms - in->dbd_heard_ms > DBD_PATIENCE_MS) {
			agent_add(u, AGENT_KILL_DBD)->index = i;
			in->dbd_heard_ms = a->now_ms;
		}
	}
}

/* At the interval, when something happened, or when a busy voter becomes free. */
static bool is_beat_time(const struct agent *a)
{
	int i;

	if (a->is_beat_due || a->now_ms - a->beat_ms >= a->profile->heartbeat_ms)
		return true;
	if (a->controller.retry_ms != 0 && a->now_ms >= a->controller.retry_ms)
		return true;
	for (i = 0; i < a->instance_count; i++)
		if (a->instances[i].lease.retry_ms != 0 && a->now_ms >= a->instances[i].lease.retry_ms)
			return true;
	return false;
}

/* After a pause of this process (frozen, swapped out) the helpers' answers wait in its sockets: the silence was its own. */
static void forgive_pause(struct agent *a, int64_t now_ms)
{
	int i;

	if (now_ms - a->now_ms <= 2 * a->profile->heartbeat_ms)
		return;
	if (a->vip_asked_ms != 0)
		a->vip_asked_ms = now_ms;
	for (i = 0; i < a->instance_count; i++)
		a->instances[i].dbd_heard_ms = now_ms;
}

int agent_step(struct agent *a, const struct agent_event *e, struct agent_update *u)
{
	int i;

	u->count = 0;
	forgive_pause(a, e->now_ms);
	a->now_ms = e->now_ms;
	agent_learn_voters(a, NULL, u);
	take_event(a, e, u);
	for (i = 0; i < a->instance_count; i++) {
		instance_drive(a, &a->instances[i], u);
		keeper_work(a, &a->instances[i], u);
	}
	watch_helpers(a, u);
	if (is_beat_time(a))
		beat(a, u);
	return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return b != 0 && b < a ? b : a;
}

int64_t agent_deadline(const struct agent *a)
{
	int64_t when = a->beat_ms + a->profile->heartbeat_ms;
	int i;

	if (a->is_beat_due)
		return a->now_ms;
	when = earlier(when, a->controller.retry_ms);
	for (i = 0; i < a->instance_count; i++) {
		const struct instance *in = &a->instances[i];

		when = earlier(when, in->lease.retry_ms);
		if (in->vip_until_ms > a->now_ms)
			when = earlier(when, in->vip_until_ms);
		if (in->retry_ms > a->now_ms)
			when = earlier(when, in->retry_ms);
	}
	return when;
}

bool agent_lease_is_valid(const struct agent *a, const char *resource, int64_t now_ms)
{
	int i;

	if (strcmp(resource, "controller") == 0)
		return lease_is_valid(&a->controller, now_ms);
	for (i = 0; i < a->instance_count; i++)
		if (strcmp(a->instances[i].resource, resource) == 0)
			return lease_is_valid(&a->instances[i].lease, now_ms);
	return false;
}

bool agent_is_stopped(const struct agent *a)
{
	int i;

	for (i = 0; i < a->instance_count; i++) {
		const struct instance *in = &a->instances[i];

		if (in->is_dbd_up && (!in->is_report_known || in->report.process > DBD_PROC_STOPPED || in->verb != 0))
			return false;
		if (in->lease.value != 0)
			return false;
	}
	return a->is_stopping;
}
