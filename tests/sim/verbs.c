/* What the driver does for the guard, with its times: begun here, done by an event that a stop order or the guard's death makes
 * void. */
#include "tests/sim/world.h"

#include <string.h>

static int find_peer(const struct world *w, const char *name)
{
	for (int i = 0; i < w->node_count; i++)
		if (strcmp(w->hosts[i].name, name) == 0)
			return i;
	return NODE_NONE;
}

static node_set parse_set(const struct world *w, const char *names)
{
	node_set s = 0;

	for (int i = 0; i < w->node_count; i++)
		if (strstr(names, w->hosts[i].name) != NULL)
			s |= node_bit(i);
	return s;
}

static void after(struct world *w, int node, int group, int64_t min, int64_t max, sim_cb fn)
{
	const struct guard *gu = &w->hosts[node].guards[group];

	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, min, max),
	         (struct sim_event){.fn = fn,
	                            .a = node,
	                            .b = group,
	                            .u = gu->verb_token,
	                            .p = (void *)(uintptr_t)w->hosts[node].servers[group].run});
}

/* The verb still runs: its guard lives and no stop order came. A frozen guard learns of its end later. */
static bool is_current(struct world *w, const struct sim_event *e)
{
	const struct guard *gu = &w->hosts[e->a].guards[e->b];

	return gu->proc.is_up && gu->verb != 0 && gu->verb_token == e->u && !put_back(w, e, gu->proc.frozen_until);
}

static void done(struct world *w, int node, int group)
{
	guard_verb_done(w, node, group, 0, "");
}

static void fail(struct world *w, int node, int group, const char *why)
{
	guard_verb_done(w, node, group, ERR_IO, why);
}

static void on_create(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (!is_current(w, e))
		return;
	if (s->has.tl < 0) {
		s->has = (struct content){.tl = w->timeline_count, .pos = 100};
		w->timelines[w->timeline_count++] = (struct timeline){.parent = -1, .group = e->b, .number = 1};
	}
	done(w, e->a, e->b);
}

/* The worker has seen the promotion through: only now is it on record. */
static void on_promote_done(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct guard *gu = &h->guards[e->b];
	struct server *s = &h->servers[e->b];

	if (!is_current(w, e) || put_back(w, e, s->frozen_until))
		return;
	if (s->run == 0 || !s->is_primary) {
		fail(w, e->a, e->b, "the server has ended during its promotion");
		return;
	}
	gu->promoted_epoch = gu->order.epoch;
	gu->disk_epoch = gu->order.epoch;
	check_promoted(w, e->a, e->b, gu->order.epoch);
	done(w, e->a, e->b);
}

/* From here on the server becomes primary whatever happens to those who told it. */
static void on_told(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (s->run != (uintptr_t)e->p || s->phase == DBD_PROC_STOPPING)
		return;
	if (put_back(w, e, s->frozen_until))
		return;
	if (!s->is_primary)
		server_promoted(w, e->a, e->b, (node_set)e->u);
}

static void promote_running(struct world *w, int node, int group)
{
	struct guard *gu = &w->hosts[node].guards[group];
	struct server *s = &w->hosts[node].servers[group];
	int64_t told_at = w->q.now_us + rng_range(&w->rng, 25 * MS, 40 * MS);

	if (s->has.tl < 0 || s->is_broken) {
		fail(w, node, group, "there are no usable data");
		return;
	}
	if (s->is_primary && gu->promoted_epoch == gu->order.epoch) {
		after(w, node, group, 2 * MS, 20 * MS, on_promote_done);
		return;
	}
	if (s->is_primary) {
		fail(w, node, group, "it is the primary of another epoch: stop it first");
		return;
	}
	if (!w->is_calm && rng_one_in(&w->rng, 30)) {
		if (!gu->was_writable)
			gu->may_write = false;
		fail(w, node, group, "the server refuses to be promoted");
		return;
	}
	s->order_epoch = gu->order.epoch;
	sim_post(&w->q, told_at,
	         (struct sim_event){.fn = on_told,
	                            .a = node,
	                            .b = group,
	                            .p = (void *)(uintptr_t)s->run,
	                            .u = parse_set(w, gu->order.sync_members)});
	sim_post(&w->q, told_at + rng_long_tail(&w->rng, 5 * MS, 500 * MS),
	         (struct sim_event){.fn = on_promote_done, .a = node, .b = group, .u = gu->verb_token});
}

/* The server accepts connections, whoever still waits for that. */
static void on_ready(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (s->run == e->u && s->phase == DBD_PROC_STARTING && !put_back(w, e, s->frozen_until))
		s->phase = DBD_PROC_RUNNING;
}

static void on_started(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct guard *gu = &h->guards[e->b];

	if (!is_current(w, e))
		return;
	if (h->servers[e->b].phase == DBD_PROC_STARTING) {
		sim_post(&w->q, w->q.now_us + 10 * MS, *e);
		return;
	}
	if (gu->verb == DBD_PROMOTE && h->servers[e->b].run != 0) {
		/* A guard that lost the server in between has taken the licence back with it. */
		gu->may_write = true;
		promote_running(w, e->a, e->b);
	} else if (h->servers[e->b].run == 0) {
		fail(w, e->a, e->b, "the server ended while it started");
	} else {
		done(w, e->a, e->b);
	}
}

static void start(struct world *w, int node, int group, int upstream)
{
	struct server *s = &w->hosts[node].servers[group];

	if (s->has.tl < 0 || s->is_broken) {
		fail(w, node, group, "there are no usable data: rebuild it");
		return;
	}
	server_start(w, node, group, upstream);
	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 50 * MS, 1500 * MS),
	         (struct sim_event){.fn = on_ready, .a = node, .b = group, .u = s->run});
	after(w, node, group, 60 * MS, 70 * MS, on_started);
}

static void on_follow(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct server *s = &h->servers[e->b];

	if (!is_current(w, e) || put_back(w, e, s->frozen_until))
		return;
	if (s->run == 0 || s->is_primary || s->phase != DBD_PROC_RUNNING) {
		fail(w, e->a, e->b, "it is not a running replica");
		return;
	}
	server_follow(w, e->a, e->b, find_peer(w, h->guards[e->b].order.peer_node));
	done(w, e->a, e->b);
}

static void on_detach(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (!is_current(w, e) || put_back(w, e, s->frozen_until))
		return;
	if (s->run == 0 || s->is_primary) {
		fail(w, e->a, e->b, "it is not a running replica");
		return;
	}
	server_follow(w, e->a, e->b, NODE_NONE);
	s->is_detached = true;
	done(w, e->a, e->b);
}

/* Sessions, checkpointer and senders take a new setting over one after another: until then the old one may still count. */
static void on_settled(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (s->run != e->u || put_back(w, e, s->frozen_until))
		return;
	s->is_settling = false;
	server_settle_acks(w, e->a, e->b);
}

/* The driver has seen that they have, and reads the position. */
static void on_sync_settled(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (!is_current(w, e) || put_back(w, e, s->frozen_until))
		return;
	if (s->run == 0 || !s->is_primary) {
		fail(w, e->a, e->b, "it is not a running primary");
		return;
	}
	if (s->is_settling) {
		sim_post(&w->q, w->q.now_us + 20 * MS, *e);
		return;
	}
	s->sync_since = s->has.pos;
	done(w, e->a, e->b);
}

static void set_sync(struct world *w, int node, int group, const struct dbd_msg *m)
{
	struct server *s = &w->hosts[node].servers[group];

	if (s->run == 0 || !s->is_primary) {
		fail(w, node, group, "it is not a running primary");
		return;
	}
	s->sync_old = s->sync;
	s->sync = parse_set(w, m->sync_members);
	s->is_settling = true;
	LOG(w, node, "g%d waits for {%s} now", group + 1, m->sync_members);
	sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 5 * MS, 3 * SECOND),
	         (struct sim_event){.fn = on_settled, .a = node, .b = group, .u = s->run});
	after(w, node, group, 300 * MS, 320 * MS, on_sync_settled);
}

static void on_plain(void *world, const struct sim_event *e)
{
	struct world *w = world;
	const struct server *s = &w->hosts[e->a].servers[e->b];

	if (is_current(w, e) && !put_back(w, e, s->frozen_until))
		done(w, e->a, e->b);
}

/* Rewind and rebuild end as a copy of the peer; one that is interrupted half-way leaves a directory that only a clone repairs.
 */
static void on_copied(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	const struct guard *gu = &h->guards[e->b];
	int peer = find_peer(w, gu->order.peer_node);

	if (!is_current(w, e))
		return;
	if (peer == NODE_NONE || net_is_cut(w, e->a, peer) || net_is_cut(w, peer, e->a) ||
	    !w->hosts[peer].servers[e->b].is_primary || w->hosts[peer].servers[e->b].phase != DBD_PROC_RUNNING ||
	    h->servers[e->b].run != 0) {
		if (gu->verb == DBD_REWIND && rng_one_in(&w->rng, 2))
			h->servers[e->b].is_broken = true;
		fail(w, e->a, e->b, "the peer cannot be copied from");
		return;
	}
	if (gu->verb == DBD_REWIND && h->servers[e->b].is_broken) {
		fail(w, e->a, e->b, "there are no usable data: rebuild it");
		return;
	}
	h->servers[e->b].has = w->hosts[peer].servers[e->b].has;
	h->servers[e->b].is_broken = false;
	h->servers[e->b].is_clean = false;
	done(w, e->a, e->b);
}

static void on_stop_poll(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];
	struct server *s = &h->servers[e->b];
	bool has_all = true;

	if (s->run != (uintptr_t)e->p || s->run == 0 || put_back(w, e, s->frozen_until))
		return;
	for (int i = 0; i < w->node_count; i++)
		has_all = has_all && (!s->is_primary || !s->standby[i].is_streaming || s->standby[i].flushed >= s->has.pos);
	if (has_all || rng_one_in(&w->rng, 100))
		server_end(w, e->a, e->b, true);
	else
		sim_post(&w->q, w->q.now_us + 20 * MS, *e);
}

static void on_stop_now(void *world, const struct sim_event *e)
{
	struct world *w = world;

	if (w->hosts[e->a].servers[e->b].run == (uintptr_t)e->p && e->p != NULL)
		server_end(w, e->a, e->b, false);
}

static void stop(struct world *w, int node, int group, bool is_fast)
{
	struct server *s = &w->hosts[node].servers[group];
	bool is_frozen = s->frozen_until > w->q.now_us;

	if (s->run == 0) {
		after(w, node, group, 1 * MS, 50 * MS, on_plain);
		return;
	}
	s->phase = DBD_PROC_STOPPING;
	if (is_fast) {
		if (!is_frozen)
			s->is_writable = false;
		after(w, node, group, 20 * MS, 300 * MS, on_stop_poll);
		return;
	}
	s->is_writable = false;
	after(w, node, group, is_frozen ? 3 * SECOND : 5 * MS, is_frozen ? 3 * SECOND : 100 * MS, on_stop_now);
}

static void promote(struct world *w, int node, int group)
{
	if (w->hosts[node].servers[group].run == 0)
		start(w, node, group, NODE_NONE);
	else if (w->hosts[node].servers[group].phase == DBD_PROC_STARTING)
		after(w, node, group, 10 * MS, 20 * MS, on_started);
	else
		promote_running(w, node, group);
}

static void follow(struct world *w, int node, int group, const struct dbd_msg *m)
{
	if (w->hosts[node].servers[group].run == 0)
		start(w, node, group, find_peer(w, m->peer_node));
	else if (w->hosts[node].servers[group].phase == DBD_PROC_STARTING)
		after(w, node, group, 10 * MS, 20 * MS, on_started);
	else
		after(w, node, group, 3 * MS, 100 * MS, on_follow);
}

bool verb_begin(struct world *w, int node, int group, const struct dbd_msg *m)
{
	struct server *s = &w->hosts[node].servers[group];

	switch ((enum dbd_msg_type)m->type) {
	case DBD_CREATE:
		after(w, node, group, 100 * MS, 2 * SECOND, on_create);
		break;
	case DBD_START:
	case DBD_FOLLOW:
		follow(w, node, group, m);
		break;
	case DBD_STOP:
		stop(w, node, group, m->mode == DBD_STOP_FAST);
		break;
	case DBD_PROMOTE:
		promote(w, node, group);
		break;
	case DBD_DETACH:
		after(w, node, group, 3 * MS, 200 * MS, on_detach);
		break;
	case DBD_SYNC_SET:
		set_sync(w, node, group, m);
		break;
	case DBD_CHECKPOINT:
		after(w, node, group, 5 * MS, 2 * SECOND, on_plain);
		break;
	case DBD_REWIND:
	case DBD_REBUILD:
		if (s->run != 0)
			fail(w, node, group, "the server runs: stop it first");
		else
			after(w, node, group, 100 * MS, m->type == DBD_REWIND ? 2 * SECOND : 8 * SECOND, on_copied);
		break;
	default:
		fail(w, node, group, "not a verb");
		break;
	}
	return true;
}
