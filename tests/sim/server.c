/* Database servers as far as promises depend on them: what each one's files hold, who streams from whom, and what clients were
 * told is committed. A timeline is made by every promotion; content is a position on one and everything before it, so "has this
 * commit" is exact. */
#include "tests/sim/world.h"

#include <string.h>

#define RECEIVER_TIMEOUT (3 * SECOND) /* a stream that is silent for so long is given up by both ends */

/* Replication messages carry numbers only, and live in a ring: nothing waits longer than the ring lasts. */
struct wal {
	uint64_t session, run; /* of the stream, and of the receiver's process (WAL) or the sender's (acknowledgement) */
	int from, tl;
	uint64_t pos;
};
#define WAL_RING 65536
static struct wal wals[WAL_RING];
static uint64_t wal_count;

bool content_has(const struct world *w, const struct content *c, int tl, uint64_t pos)
{
	uint64_t limit = c->pos;

	for (int t = c->tl; t >= 0; t = w->timelines[t].parent) {
		if (t == tl)
			return pos <= limit;
		limit = w->timelines[t].fork < limit ? w->timelines[t].fork : limit;
	}
	return false;
}

static void note_acked(struct world *w, int node, int group, uint64_t pos)
{
	struct server *s = &w->hosts[node].servers[group];
	struct timeline *t = &w->timelines[s->has.tl];

	if (pos <= t->acked || pos <= t->fork)
		return;
	t->acked = pos;
	w->acks++;
	check_ack(w, node, group, s->has.tl, pos);
}

/* What the sync rule lets go now. A client learns of it only through an open port. */
void server_settle_acks(struct world *w, int node, int group)
{
	struct server *s = &w->hosts[node].servers[group];
	node_set members = s->sync | (s->is_settling ? s->sync_old : 0);
	bool is_free = s->sync == 0 || (s->is_settling && s->sync_old == 0) || (w->broken & BROKEN_SYNC) != 0;
	uint64_t pos = 0;

	if (!s->is_writable || s->frozen_until > w->q.now_us || !port_is_open(w, node, group))
		return;
	for (int i = 0; i < w->node_count; i++)
		if ((members & node_bit(i)) != 0 && s->standby[i].flushed > pos)
			pos = s->standby[i].flushed;
	if (is_free || pos > s->has.pos)
		pos = s->has.pos;
	if (pos > 0)
		note_acked(w, node, group, pos);
}

static struct wal *wal_new(void)
{
	return &wals[wal_count++ % WAL_RING];
}

static int64_t wire_delay(struct world *w)
{
	return rng_one_in(&w->rng, 50) ? rng_long_tail(&w->rng, 2 * MS, 300 * MS) : rng_range(&w->rng, 100, 2000);
}

static void on_acknowledgement(void *world, const struct sim_event *e)
{
	struct world *w = world;
	const struct wal *m = e->p;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (s->run != m->run || !s->is_primary || !s->standby[m->from].is_streaming ||
	    s->standby[m->from].session != m->session)
		return;
	if (put_back(w, e, s->frozen_until))
		return;
	s->standby[m->from].heard_us = w->q.now_us;
	if (m->pos > s->standby[m->from].flushed)
		s->standby[m->from].flushed = m->pos;
	server_settle_acks(w, e->a, e->b);
}

static void on_wal(void *world, const struct sim_event *e)
{
	struct world *w = world;
	const struct wal *m = e->p;
	struct server *s = &w->hosts[e->a].servers[e->b];
	struct wal *ack;

	if (s->run != m->run || !s->is_connected || s->session != m->session)
		return;
	if (put_back(w, e, s->frozen_until))
		return;
	s->received_us = local_us(w, e->a);
	if (m->tl == s->has.tl && m->pos <= s->has.pos)
		;
	else if (content_has(w, &(struct content){m->tl, m->pos}, s->has.tl, s->has.pos))
		s->has = (struct content){m->tl, m->pos};
	if (net_is_cut(w, e->a, m->from))
		return;
	ack = wal_new();
	*ack = (struct wal){.session = m->session, .run = s->upstream_run, .from = e->a, .pos = s->has.pos};
	sim_post(&w->q, w->q.now_us + wire_delay(w),
	         (struct sim_event){.fn = on_acknowledgement, .a = m->from, .b = e->b, .p = ack});
}

static void send_wal(struct world *w, int node, int group)
{
	struct server *s = &w->hosts[node].servers[group];

	for (int i = 0; i < w->node_count; i++) {
		struct server *r = &w->hosts[i].servers[group];
		struct wal *m;

		if (!s->standby[i].is_streaming)
			continue;
		/* It went away: noticed at once when its end of the connection says so, else after the timeout. */
		if ((!net_is_cut(w, node, i) && (r->session != s->standby[i].session || !r->is_connected)) ||
		    w->q.now_us - s->standby[i].heard_us > RECEIVER_TIMEOUT) {
			s->standby[i].is_streaming = false;
			continue;
		}
		if (net_is_cut(w, node, i))
			continue; /* TCP sends it again: the next message carries everything */
		m = wal_new();
		*m = (struct wal){.session = s->standby[i].session,
		                  .run = r->run,
		                  .from = node,
		                  .tl = s->has.tl,
		                  .pos = s->has.pos};
		sim_post(&w->q, w->q.now_us + wire_delay(w), (struct sim_event){.fn = on_wal, .a = i, .b = group, .p = m});
	}
}

static void try_connect(struct world *w, int node, int group)
{
	struct server *s = &w->hosts[node].servers[group], *up;

	if (s->upstream == NODE_NONE || s->upstream == node || net_is_cut(w, node, s->upstream) ||
	    net_is_cut(w, s->upstream, node))
		return;
	up = &w->hosts[s->upstream].servers[group];
	if (up->run == 0 || !up->is_primary || up->phase != DBD_PROC_RUNNING || up->frozen_until > w->q.now_us)
		return;
	/* Histories that have parted do not connect. */
	if (!content_has(w, &up->has, s->has.tl, s->has.pos))
		return;
	s->is_connected = true;
	s->session++;
	s->upstream_run = up->run;
	s->received_us = local_us(w, node);
	up->standby[node].is_streaming = true;
	up->standby[node].session = s->session;
	up->standby[node].flushed = s->has.pos;
	up->standby[node].heard_us = w->q.now_us;
}

static void work_replica(struct world *w, int node, int group)
{
	struct server *s = &w->hosts[node].servers[group];
	struct server *up = s->upstream == NODE_NONE ? NULL : &w->hosts[s->upstream].servers[group];

	if (s->is_connected && up != NULL &&
	    ((up->run != s->upstream_run && !net_is_cut(w, s->upstream, node)) ||
	     local_us(w, node) - s->received_us > RECEIVER_TIMEOUT))
		server_disconnect(w, node, group);
	if (!s->is_connected && s->phase == DBD_PROC_RUNNING)
		try_connect(w, node, group);
}

/* The heartbeat of a server: clients write, the stream flows, a replica looks for its upstream. */
void server_pump(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct server *s = &w->hosts[e->a].servers[e->b];

	if (s->run != e->u || put_back(w, e, s->frozen_until))
		return;
	if (s->is_primary) {
		if (s->is_writable && port_is_open(w, e->a, e->b) && s->phase == DBD_PROC_RUNNING) {
			check_served(w, e->a, e->b);
			s->has.pos += (uint64_t)rng_range(&w->rng, 1, 1000);
		}
		send_wal(w, e->a, e->b);
		server_settle_acks(w, e->a, e->b);
	} else {
		work_replica(w, e->a, e->b);
	}
	sim_post(&w->q,
	         w->q.now_us + (s->is_primary ? rng_range(&w->rng, 20 * MS, 80 * MS) : rng_range(&w->rng, 100 * MS, 300 * MS)),
	         *e);
}

void server_disconnect(struct world *w, int node, int group)
{
	struct server *s = &w->hosts[node].servers[group];

	s->is_connected = false;
	s->session++; /* what is still on its way to the old stream is not taken */
}

void server_start(struct world *w, int node, int group, int upstream)
{
	struct server *s = &w->hosts[node].servers[group];

	s->run = ++w->last_run;
	s->frozen_until = 0;
	s->phase = DBD_PROC_STARTING;
	s->is_primary = s->is_writable = s->is_clean = s->is_detached = false;
	s->upstream = upstream;
	s->received_us = 0;
	s->sync = s->sync_old = 0;
	s->sync_since = 0;
	s->is_settling = false;
	s->served_tl = -1;
	s->order_epoch = 0;
	memset(s->standby, 0, sizeof s->standby);
	server_disconnect(w, node, group);
	sim_post(&w->q, w->q.now_us + 10 * MS, (struct sim_event){.fn = server_pump, .a = node, .b = group, .u = s->run});
	if ((w->broken & BROKEN_RESTART) != 0 && w->hosts[node].guards[group].promoted_epoch > 0)
		server_promoted(w, node, group, 0);
}

void server_end(struct world *w, int node, int group, bool is_clean)
{
	struct server *s = &w->hosts[node].servers[group];
	bool is_ordered = s->phase == DBD_PROC_STOPPING;

	server_disconnect(w, node, group);
	s->run = 0;
	s->frozen_until = 0;
	s->phase = DBD_PROC_STOPPED;
	s->is_primary = s->is_writable = s->is_detached = false;
	s->is_clean = is_clean;
	w->dirty = 1;
	guard_server_ended(w, node, group, is_ordered);
}

void server_promoted(struct world *w, int node, int group, node_set sync)
{
	struct server *s = &w->hosts[node].servers[group];

	if (w->timeline_count == SIM_TIMELINES) {
		violate(w, "more than %d promotions in one run", SIM_TIMELINES);
		return;
	}
	server_disconnect(w, node, group);
	w->timelines[w->timeline_count] = (struct timeline){.parent = s->has.tl,
	                                                    .group = group,
	                                                    .fork = s->has.pos,
	                                                    .number = w->timelines[s->has.tl].number + 1,
	                                                    .acked = 0};
	s->has.tl = w->timeline_count++;
	s->is_primary = s->is_writable = true;
	s->is_detached = false;
	s->upstream = NODE_NONE;
	s->sync = sync;
	s->sync_old = 0;
	s->is_settling = false;
	memset(s->standby, 0, sizeof s->standby);
	s->sync_since = s->has.pos;
	w->promotions++;
	w->dirty = 1;
	LOG(w, node, "the server of g%d becomes a primary at %llu on timeline %d", group + 1, (unsigned long long)s->has.pos,
	    s->has.tl);
}

void server_follow(struct world *w, int node, int group, int upstream)
{
	struct server *s = &w->hosts[node].servers[group];

	server_disconnect(w, node, group);
	s->upstream = upstream;
	s->is_detached = false;
}
