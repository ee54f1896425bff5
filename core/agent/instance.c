/* One instance: what was ordered against what its mha-dbd reports, and the next verb that brings them together. */
#include "core/agent/agent_state.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

bool instance_is_running(const struct instance *in)
{
	return in->report.process == DBD_PROC_RUNNING || in->report.process == DBD_PROC_STARTING ||
	       in->report.process == DBD_PROC_STOPPING;
}

bool instance_is_primary(const struct instance *in)
{
	return in->report.process == DBD_PROC_RUNNING && in->report.role == DBD_ROLE_PRIMARY && in->report.promoted_epoch > 0 &&
	       in->report.promoted_epoch == (in->is_ordered ? in->order.epoch : in->epoch);
}

/* Is the heartbeat that the order answers younger than L? An order that hung somewhere must not act. */
static bool is_recent(const struct agent *a, const struct order *o)
{
	size_t slot = o->answers % SENT_RING;

	return o->answers_incarnation == a->incarnation && a->sent[slot].number == o->answers &&
	       a->now_ms - a->sent[slot].sent_ms <= a->profile->lease_ms;
}

static struct instance *find_instance(struct agent *a, const char *group)
{
	int i;

	for (i = 0; i < a->instance_count; i++)
		if (strcmp(a->instances[i].setup.group, group) == 0)
			return &a->instances[i];
	return NULL;
}

static bool is_acceptable(const struct agent *a, const struct instance *in, const struct order *o)
{
	if (!is_recent(a, o) || o->generation < in->generation || o->epoch < in->epoch)
		return false;
	/* Steps of one group never go back, whichever controller gives them; within a step no order overtakes a later one. */
	if (in->is_ordered && o->generation == in->order.generation && o->answers < in->order.answers)
		return false;
	return !in->is_ordered || o->step >= in->order.step;
}

static const char *role_text(enum order_role r)
{
	static const char *const texts[] = {"hold", "be primary", "be replica", "detach", "stop"};

	return texts[r];
}

void instance_take_order(struct agent *a, const struct order *o, struct agent_update *u)
{
	struct instance *in = find_instance(a, o->group);

	if (in == NULL || !is_acceptable(a, in, o))
		return;
	if (!in->is_ordered || o->step != in->order.step || o->role != in->order.role) {
		agent_log(u, in, "ordered: %s (epoch %llu, step %llu, generation %llu)", role_text(o->role),
		          (unsigned long long)o->epoch, (unsigned long long)o->step, (unsigned long long)o->generation);
		in->error[0] = '\0';
		in->retry_ms = 0;
		in->rejoin = REJOIN_FOLLOW;
		in->not_receiving_since_ms = 0;
		a->is_beat_due = true;
	}
	in->order = *o;
	in->is_ordered = true;
	in->ordered_ms = a->now_ms;
	in->generation = o->generation;
	in->epoch = o->epoch > in->epoch ? o->epoch : in->epoch;
}

/* Changes that the controller should hear of at once. */
static bool is_news(const struct dbd_report *old, const struct dbd_report *new)
{
	return old->process != new->process || old->role != new->role || old->is_detached != new->is_detached ||
	       old->is_accepting != new->is_accepting || old->promoted_epoch != new->promoted_epoch ||
	       old->is_clean != new->is_clean || old->is_receiving != new->is_receiving ||
	       strcmp(old->sync_members, new->sync_members) != 0 || old->standby_count != new->standby_count;
}

static void take_report(struct agent *a, struct instance *in, const struct dbd_report *r)
{
	if (!in->is_report_known || is_news(&in->report, r))
		a->is_beat_due = true;
	in->report = *r;
	in->is_report_known = true;
	in->report_ms = a->now_ms;
	if (r->epoch > in->epoch)
		in->epoch = r->epoch;
	if (r->is_receiving)
		in->rejoin = REJOIN_FOLLOW;
}

/* The next, stronger way back after one that failed. */
static enum rejoin stronger(enum rejoin r)
{
	return r == REJOIN_FOLLOW ? REJOIN_REWIND : REJOIN_REBUILD;
}

static void verb_failed(struct agent *a, struct instance *in, const struct dbd_msg *m)
{
	in->retry_ms = a->now_ms + RETRY_MS;
	in->error_step = in->verb_step;
	str_copy(in->error, sizeof in->error, m->text);
	if (in->verb == DBD_REWIND)
		in->rejoin = REJOIN_REBUILD;
	else if (in->verb == DBD_FOLLOW && in->is_ordered && in->order.is_rejoin)
		in->rejoin = stronger(in->rejoin);
}

static void verb_done(struct agent *a, struct instance *in)
{
	in->error[0] = '\0';
	if (in->verb == DBD_DETACH)
		in->detached_step = in->verb_step;
	else if (in->verb == DBD_CHECKPOINT)
		in->checkpointed_step = in->verb_step;
	else if (in->verb == DBD_CREATE)
		in->created_epoch = in->order.epoch;
	else if (in->verb == DBD_REWIND || in->verb == DBD_REBUILD) {
		in->rejoin = REJOIN_FOLLOW;
		in->rejoined_epoch = in->report.promoted_epoch;
	} else if (in->verb == DBD_SYNC_SET || in->verb == DBD_PROMOTE)
		in->is_sync_settled = true;
	if (in->verb == DBD_FOLLOW || in->verb == DBD_REWIND || in->verb == DBD_REBUILD)
		in->not_receiving_since_ms = a->now_ms;
}

void instance_take_dbd(struct agent *a, struct instance *in, const struct dbd_msg *m, struct agent_update *u)
{
	in->dbd_heard_ms = a->now_ms;
	if (m->type != DBD_REPORT && m->type != DBD_REPLY)
		return;
	take_report(a, in, &m->report);
	if (m->type == DBD_REPORT || in->verb == 0 || m->seq != in->verb_seq)
		return;
	if (m->rc != 0) {
		agent_log(u, in, "failed: %s", m->text);
		verb_failed(a, in, m);
	} else {
		verb_done(a, in);
	}
	in->verb = 0;
	a->is_beat_due = true;
}

static struct dbd_msg *send_verb(struct agent *a, struct instance *in, enum dbd_msg_type type, struct agent_update *u)
{
	struct agent_action *x = agent_add(u, AGENT_SEND_DBD);
	struct dbd_msg *m = &x->u.dbd;
	const struct order *o = &in->order;

	x->index = (int)(in - a->instances);
	memset(m, 0, sizeof *m);
	m->version = DBD_MSG_VERSION;
	m->type = (uint16_t)type;
	m->seq = ++a->seq;
	m->generation = o->generation;
	m->epoch = in->epoch;
	str_copy(m->system_id, sizeof m->system_id, o->system_id);
	if (o->primary != NODE_NONE) {
		str_copy(m->peer_node, sizeof m->peer_node, a->nodes[o->primary].name);
		str_copy(m->peer_host, sizeof m->peer_host, a->nodes[o->primary].host);
		m->peer_port = in->setup.port;
	}
	in->verb = type;
	in->verb_seq = m->seq;
	in->verb_step = o->step;
	return m;
}

static void stop_server(struct agent *a, struct instance *in, enum dbd_stop_mode mode, struct agent_update *u)
{
	bool is_promoting = in->verb == DBD_PROMOTE || in->report.verb == DBD_PROMOTE; /* it may have been started meanwhile */

	if ((!instance_is_running(in) && !is_promoting) ||
	    (in->verb == DBD_STOP && (!in->is_ordered || in->verb_step == in->order.step)))
		return;
	send_verb(a, in, DBD_STOP, u)->mode = (uint16_t)mode;
}

static void drive_sync_set(struct agent *a, struct instance *in, struct agent_update *u)
{
	struct dbd_msg *m;

	if (agent_parse_set(a, in->report.sync_members) == in->order.sync_members &&
	    (in->order.sync_members == 0 || in->is_sync_settled))
		return;
	in->is_sync_settled = false;
	m = send_verb(a, in, DBD_SYNC_SET, u);
	agent_format_set(a, in->order.sync_members, m->sync_members, sizeof m->sync_members);
	m->sync_count = in->order.sync_members != 0 ? 1 : 0;
}

static void promote(struct agent *a, struct instance *in, struct agent_update *u)
{
	bool is_leased = lease_is_valid(&in->lease, a->now_ms) && in->lease.value == in->order.epoch;
	struct dbd_msg *m;

	/* Promise 1: without the lease a server is promoted only behind an active port fence, and only when nobody can
	 * acknowledge for its predecessor any more; the door opens with the lease (keeper.c). */
	if (!is_leased && !(in->order.is_early && a->is_fence_active))
		return;
	m = send_verb(a, in, DBD_PROMOTE, u);
	agent_format_set(a, in->order.sync_members, m->sync_members, sizeof m->sync_members);
	m->sync_count = in->order.sync_members != 0 ? 1 : 0;
	m->deadline_ns = is_leased ? in->lease.until_ms * CLOCK_NS_PER_MS : 0;
	/* The lease's own deadline holds for a leased one, as in every renewal; else it gets the time to come up and wait for
	 * its grants. */
	m->grace_ms = is_leased ? keeper_grace_ms(a, in) : (int32_t)(3 * a->profile->lease_ms);
}

static void drive_primary(struct agent *a, struct instance *in, struct agent_update *u)
{
	if (instance_is_primary(in)) {
		if (in->order.is_checkpoint && in->checkpointed_step != in->order.step)
			send_verb(a, in, DBD_CHECKPOINT, u);
		else
			drive_sync_set(a, in, u);
		return;
	}
	/* A primary of an older epoch does not become one of this epoch as it runs: it starts again as a standby first. */
	if (in->report.process == DBD_PROC_RUNNING && in->report.role == DBD_ROLE_PRIMARY &&
	    in->report.promoted_epoch != in->order.epoch) {
		stop_server(a, in, DBD_STOP_IMMEDIATE, u);
		return;
	}
	if (!in->order.is_bring_up) {
		/* Half brought up under an order that is over, neither ended nor a primary: it ends, and the controller decides
		 * anew. */
		if (in->report.process == DBD_PROC_RUNNING && in->report.role == DBD_ROLE_REPLICA)
			stop_server(a, in, DBD_STOP_FAST, u);
		return;
	}
	if (in->order.is_create && in->created_epoch != in->order.epoch && !instance_is_running(in))
		send_verb(a, in, DBD_CREATE, u);
	else if (in->report.process != DBD_PROC_ABSENT)
		promote(a, in, u);
}

/* Its data was a primary's of an older epoch, so it may hold what nobody else has; unless it was rewound or cloned since, or
 * receives from the new primary, which proves one history. */
static bool needs_rewind(const struct instance *in)
{
	if (in->report.promoted_epoch == 0 || in->report.promoted_epoch >= in->order.epoch ||
	    in->report.promoted_epoch <= in->rejoined_epoch)
		return false;
	return !(in->report.process == DBD_PROC_RUNNING && in->report.is_receiving);
}

/* What proves one history once proves it until the next promotion: a replica whose primary has just stopped for a switchover
 * must not be rewound because its agent does not remember. */
static void note_one_history(struct instance *in, const char *upstream)
{
	if (in->report.process == DBD_PROC_RUNNING && in->report.role == DBD_ROLE_REPLICA && in->report.is_receiving &&
	    upstream[0] != '\0' && strcmp(in->report.upstream, upstream) == 0 && in->report.promoted_epoch < in->order.epoch)
		in->rejoined_epoch = in->report.promoted_epoch;
}

/* The controller has just seen the primary up: only then is a rewind or a clone of use. */
static bool may_rejoin(const struct agent *a, const struct instance *in)
{
	return in->order.is_rejoin && a->now_ms - in->ordered_ms < ORDER_FRESH_MS;
}

static void rejoin(struct agent *a, struct instance *in, enum rejoin way, struct agent_update *u)
{
	if (!may_rejoin(a, in))
		return;
	if (instance_is_running(in)) {
		stop_server(a, in, DBD_STOP_FAST, u);
		return;
	}
	agent_log(u, in, "coming back by %s", way == REJOIN_REWIND ? "rewind" : "a fresh clone");
	send_verb(a, in, way == REJOIN_REWIND ? DBD_REWIND : DBD_REBUILD, u);
}

/* It follows the right node and yet receives nothing for long: histories have parted. */
static bool is_lost(struct agent *a, struct instance *in)
{
	if (in->report.is_receiving || !may_rejoin(a, in) || in->report.process != DBD_PROC_RUNNING) {
		in->not_receiving_since_ms = 0;
		return false;
	}
	if (in->not_receiving_since_ms == 0)
		in->not_receiving_since_ms = a->now_ms;
	return a->now_ms - in->not_receiving_since_ms > NOT_RECEIVING_MS;
}

/* Another system's data is somebody's: it is neither rewound nor replaced by a clone. */
static bool is_foreign(struct instance *in)
{
	if (in->order.system_id[0] == '\0' || in->report.system_id[0] == '\0' ||
	    strcmp(in->order.system_id, in->report.system_id) == 0)
		return false;
	snprintf(in->error, sizeof in->error,
	         "the data directory belongs to system identifier %.39s, the group's is %.39s: move it away, then it is cloned",
	         in->report.system_id, in->order.system_id);
	in->error_step = in->order.step;
	return true;
}

static void drive_replica(struct agent *a, struct instance *in, struct agent_update *u)
{
	const char *upstream = in->order.primary == NODE_NONE ? "" : a->nodes[in->order.primary].name;

	if (in->report.process == DBD_PROC_RUNNING && in->report.role == DBD_ROLE_PRIMARY) {
		stop_server(a, in, DBD_STOP_IMMEDIATE, u);
		return;
	}
	if (in->report.process == DBD_PROC_ABSENT) {
		rejoin(a, in, REJOIN_REBUILD, u);
		return;
	}
	note_one_history(in, upstream);
	if (is_foreign(in))
		return;
	if (in->rejoin != REJOIN_FOLLOW || needs_rewind(in)) {
		rejoin(a, in, in->rejoin == REJOIN_REBUILD ? REJOIN_REBUILD : REJOIN_REWIND, u);
		return;
	}
	if (in->report.process == DBD_PROC_STOPPED || strcmp(in->report.upstream, upstream) != 0) {
		send_verb(a, in, DBD_FOLLOW, u);
		return;
	}
	if (is_lost(a, in)) {
		agent_log(u, in, "follows %s but has received nothing for %d s", upstream, NOT_RECEIVING_MS / 1000);
		in->rejoin = REJOIN_REWIND;
		in->not_receiving_since_ms = 0;
	}
}

static void drive_detach(struct agent *a, struct instance *in, struct agent_update *u)
{
	if (in->report.process != DBD_PROC_RUNNING)
		return;
	if (in->report.role == DBD_ROLE_PRIMARY)
		stop_server(a, in, DBD_STOP_IMMEDIATE, u);
	else if (in->detached_step != in->order.step)
		send_verb(a, in, DBD_DETACH, u);
}

void instance_drive(struct agent *a, struct instance *in, struct agent_update *u)
{
	bool is_stop = in->is_ordered && in->order.role == ORDER_STOP;

	if (!in->is_dbd_up || !in->is_report_known)
		return;
	if (a->is_stopping || is_stop) {
		/* The one verb that may interrupt another. */
		stop_server(a, in, a->is_stopping || in->order.is_fast ? DBD_STOP_FAST : DBD_STOP_IMMEDIATE, u);
		return;
	}
	if (!in->is_ordered || in->verb != 0 || a->now_ms < in->retry_ms)
		return;
	switch (in->order.role) {
	case ORDER_PRIMARY:
		drive_primary(a, in, u);
		break;
	case ORDER_REPLICA:
		drive_replica(a, in, u);
		break;
	case ORDER_DETACH:
		drive_detach(a, in, u);
		break;
	case ORDER_HOLD:
		/* Whoever has a newer epoch's order and runs as an older one's primary was replaced. */
		if (in->report.role == DBD_ROLE_PRIMARY && in->report.promoted_epoch < in->order.epoch)
			stop_server(a, in, DBD_STOP_IMMEDIATE, u);
		break;
	case ORDER_STOP:
		break;
	}
}

static const char *verb_name(enum dbd_msg_type v)
{
	switch (v) {
	case DBD_CREATE:
		return "create";
	case DBD_START:
		return "start";
	case DBD_STOP:
		return "stop";
	case DBD_PROMOTE:
		return "promote";
	case DBD_FOLLOW:
		return "follow";
	case DBD_DETACH:
		return "detach";
	case DBD_SYNC_SET:
		return "sync set";
	case DBD_CHECKPOINT:
		return "checkpoint";
	case DBD_REWIND:
		return "rewind";
	case DBD_REBUILD:
		return "rebuild";
	default:
		return "";
	}
}

static int aged(const struct agent *a, const struct instance *in, int32_t age_ms)
{
	return age_ms < 0 ? -1 : (int)(age_ms + (a->now_ms - in->report_ms));
}

static void fill_standbys(const struct agent *a, const struct dbd_report *d, struct instance_report *r)
{
	int i;

	for (i = 0; i < d->standby_count && i < DBD_MAX_STANDBYS; i++) {
		int node = agent_find_node(a, d->standbys[i].name);

		if (node == NODE_NONE)
			continue;
		r->standbys[r->standby_count].node = node;
		r->standbys[r->standby_count].is_streaming = d->standbys[i].is_streaming != 0;
		r->standbys[r->standby_count].flushed = d->standbys[i].flushed;
		r->standby_count++;
	}
}

/* Serving means more than a lease in memory: address and port are open until its deadline, where vipd keeps them. */
static bool is_serving(const struct agent *a, const struct instance *in)
{
	return lease_is_valid(&in->lease, a->now_ms) && (!a->has_vipd || in->vip_until_ms > a->now_ms);
}

void instance_report_fill(const struct agent *a, const struct instance *in, struct instance_report *r)
{
	const struct dbd_report *d = &in->report;

	memset(r, 0, sizeof *r);
	str_copy(r->group, sizeof r->group, in->setup.group);
	r->process = (enum inst_process)d->process;
	r->role = (enum inst_role)d->role;
	r->is_accepting = d->is_accepting != 0;
	r->is_receiving = d->is_receiving != 0;
	r->is_detached = d->is_detached != 0 && in->is_ordered && in->detached_step == in->order.step;
	r->detach_epoch = in->is_ordered ? in->order.epoch : 0;
	r->is_clean = d->is_clean != 0;
	r->is_leased = is_serving(a, in) || (in->vip_until_ms > a->now_ms && in->vip_epoch != 0);
	r->lease_epoch = in->lease.value != 0 ? in->lease.value : in->vip_epoch;
	r->is_checkpointed = in->is_ordered && in->checkpointed_step == in->order.step;
	r->upstream = d->upstream[0] != '\0' ? agent_find_node(a, d->upstream) : NODE_NONE;
	r->probe_age_ms = aged(a, in, d->probe_age_ms);
	r->received_age_ms = aged(a, in, d->received_age_ms);
	r->timeline = d->timeline;
	r->position = d->position;
	r->epoch = in->epoch;
	r->promoted_epoch = d->promoted_epoch;
	r->step = in->is_ordered ? in->order.step : 0;
	r->generation = in->is_ordered ? in->order.generation : 0;
	r->answers = in->is_ordered ? in->order.answers : 0;
	/* The members show as soon as the setting is read; that every part of the server obeys it is known at the end of the
	 * verb only. */
	r->sync_since = in->is_sync_settled ? d->sync_since : 0;
	r->sync_members = agent_parse_set(a, d->sync_members);
	str_copy(r->verb, sizeof r->verb, verb_name(in->verb));
	str_copy(r->position_text, sizeof r->position_text, d->position_text);
	str_copy(r->system_id, sizeof r->system_id, d->system_id);
	if (in->error[0] != '\0' && in->is_ordered && in->error_step == in->order.step)
		str_copy(r->error, sizeof r->error, in->error);
	fill_standbys(a, d, r);
}
