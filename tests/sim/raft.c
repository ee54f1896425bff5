/* The store as the control processes meet it: leaders come and go, a deposed one may believe in itself for a while, commits
 * take time, are atomic, and now and then their outcome stays unknown to the one who asked. What is inside dqlite and raft is
 * not simulated. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

#define WATCH     (50 * MS)
#define IN_FLIGHT 32

/* A transaction on its way: a generation when is_generation, else commit. */
struct flight {
	bool is_used, is_generation, is_set;
	int node;
	uint64_t run, term;
	uint64_t generation;
	struct commit commit;
	struct voter_set set;
	enum commit_outcome outcome;
	uint64_t op_id;
	struct group_record rec[SIM_GROUPS]; /* as read by the transaction of a generation */
};
static struct flight flights[IN_FLIGHT];

static bool is_mutual(const struct world *w, int a, int b)
{
	return !net_is_cut(w, a, b) && !net_is_cut(w, b, a);
}

static bool is_alive(const struct world *w, int node)
{
	/* The store is frozen with its host only; a frozen control process does not disturb it. */
	return w->hosts[node].is_up && w->hosts[node].frozen_until <= w->q.now_us;
}

static bool has_majority(const struct world *w, int node)
{
	int heard = 0;

	if (!is_alive(w, node) || (w->voters.members & node_bit(node)) == 0)
		return false;
	for (int i = 0; i < w->node_count; i++)
		if ((w->voters.members & node_bit(i)) != 0)
			heard += i == node || (is_alive(w, i) && is_mutual(w, node, i));
	return 2 * heard > node_set_count(w->voters.members);
}

static enum commit_outcome apply_set(struct world *w, const struct flight *f)
{
	if (f->generation != w->store.generation || f->set.number != w->voters.number + 1)
		return COMMIT_LOST;
	w->voters = f->set;
	w->set_changes++;
	LOG(w, f->node, "commits voter set %llu: %x", (unsigned long long)f->set.number, f->set.members);
	return COMMIT_DONE;
}

/* What a transaction of the controller checks and writes, atomically. */
static enum commit_outcome apply(struct world *w, const struct flight *f, uint64_t *ret_op)
{
	const struct commit *c = &f->commit;
	struct store *s = &w->store;
	int group = c->record.name[1] - '1';
	struct group_record *rec = &s->rec[group];

	if (f->generation != s->generation && (w->broken & BROKEN_GENERATION) == 0)
		return COMMIT_LOST;
	if (c->old_epoch != rec->epoch && (w->broken & BROKEN_GENERATION) == 0)
		return COMMIT_LOST;
	if (c->record.epoch != rec->epoch) {
		if (c->record.epoch != rec->epoch + 1 && (w->broken & BROKEN_GENERATION) == 0)
			violate(w, "epoch of %s goes from %llu to %llu", rec->name, (unsigned long long)rec->epoch,
			        (unsigned long long)c->record.epoch);
		if (c->record.epoch >= SIM_EPOCHS)
			violate(w, "more than %d epochs in one run", SIM_EPOCHS);
		else if (s->owner[group][c->record.epoch] != NODE_NONE && s->owner[group][c->record.epoch] != c->record.primary)
			violate(w, "epoch %llu of %s was %s's and is now %s's", (unsigned long long)c->record.epoch, rec->name,
			        w->hosts[s->owner[group][c->record.epoch]].name, w->hosts[c->record.primary].name);
		else
			s->owner[group][c->record.epoch] = c->record.primary;
		w->failovers++;
	} else if (c->record.primary != rec->primary) {
		violate(w, "%s changes its primary within epoch %llu", rec->name, (unsigned long long)rec->epoch);
	}
	*rec = c->record;
	if (c->is_op_begin)
		*ret_op = rec->op_id = ++s->next_op;
	if (c->is_op_end && rec->op_id != 0)
		rec->op_id = 0;
	w->commits++;
	if (w->trace.is_on)
		LOG(w, f->node, "commits for %s: rule %d, %s, epoch %llu, step %llu, sync %x -> %s", rec->name, rec->rule,
		    group_state_name(rec->state), (unsigned long long)rec->epoch, (unsigned long long)rec->step, rec->sync_set,
		    c->event_text);
	return COMMIT_DONE;
}

/* The answer reaches the one who asked, if that is still the same: a frozen one finds it in its socket. */
static void on_answer(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct flight *f = &flights[e->a];
	struct host *h = &w->hosts[f->node];
	struct event done = {.type = EVENT_COMMITTED};
	bool is_same = h->is_up && h->control.is_up && h->control.run == f->run;

	if (is_same && put_back(w, e, h->control.frozen_until))
		return;
	f->is_used = false;
	if (!is_same)
		return;
	if (f->is_generation) {
		h->is_winning = false;
		if (f->outcome == COMMIT_DONE)
			control_leads(w, f->node, f->generation, f->rec);
		return;
	}
	if (f->is_set) {
		h->is_changing = false;
		/* Whatever came of it, everything is read again under a new generation. */
		if (h->ctl != NULL && h->generation == f->generation)
			control_deposed(w, f->node);
		return;
	}
	if (f->outcome == COMMIT_LOST)
		w->lost_commits++;
	done.u.committed.commit_id = f->commit.id;
	done.u.committed.outcome = f->outcome;
	done.u.committed.op_id = f->op_id;
	if (h->ctl != NULL && h->generation == f->generation)
		control_ctl_event(w, f->node, &done);
}

static enum commit_outcome win(struct world *w, struct flight *f)
{
	f->generation = ++w->store.generation;
	memcpy(f->rec, w->store.rec, sizeof f->rec);
	LOG(w, f->node, "commits generation %llu", (unsigned long long)f->generation);
	return COMMIT_DONE;
}

/* A transaction's moment has come. */
static void on_flight(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct flight *f = &flights[e->a];

	f->outcome = COMMIT_LOST;
	if ((f->term == w->store.term && f->node == w->store.leader && has_majority(w, f->node)) ||
	    ((w->broken & BROKEN_GENERATION) != 0 && !f->is_generation && !f->is_set)) {
		if (!w->is_calm && rng_one_in(&w->rng, 100))
			f->outcome = COMMIT_FAILED;
		else
			f->outcome = f->is_generation ? win(w, f) : f->is_set ? apply_set(w, f) : apply(w, f, &f->op_id);
		/* It is in, and the one who asked never learns it. */
		if (f->outcome == COMMIT_DONE && !w->is_calm && rng_one_in(&w->rng, 200))
			f->outcome = COMMIT_LOST;
	}
	sim_post(&w->q, w->q.now_us + 100, (struct sim_event){.fn = on_answer, .a = e->a});
}

static void post_flight(struct world *w, const struct flight *f)
{
	int64_t delay = w->is_slow_disk ? rng_long_tail(&w->rng, 20 * MS, 800 * MS) : rng_long_tail(&w->rng, 1 * MS, 30 * MS);

	for (int i = 0; i < IN_FLIGHT; i++) {
		if (flights[i].is_used)
			continue;
		flights[i] = *f;
		flights[i].is_used = true;
		sim_post(&w->q, w->q.now_us + delay, (struct sim_event){.fn = on_flight, .a = i});
		return;
	}
	violate(w, "more than %d transactions in flight", IN_FLIGHT);
}

void raft_commit(struct world *w, int node, const struct commit *c)
{
	struct flight f = {.node = node,
	                   .run = w->hosts[node].control.run,
	                   .term = w->store.term,
	                   .generation = w->hosts[node].generation};

	/* A deposed leader's transaction is never of the present term. */
	if (w->store.leader != node)
		f.term = 0;
	f.commit = *c;
	post_flight(w, &f);
}

void raft_change_voters(struct world *w, int node, const struct voter_set *next)
{
	struct flight f = {.is_set = true,
	                   .node = node,
	                   .run = w->hosts[node].control.run,
	                   .term = w->store.leader == node ? w->store.term : 0,
	                   .generation = w->hosts[node].generation,
	                   .set = *next};

	w->hosts[node].is_changing = true;
	post_flight(w, &f);
}

void raft_win_generation(struct world *w, int node)
{
	struct flight f = {.is_generation = true, .node = node, .run = w->hosts[node].control.run, .term = w->store.term};

	w->hosts[node].is_winning = true;
	post_flight(w, &f);
}

static void on_leads(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];

	if (w->store.leader != e->a || w->store.term != e->u || !h->is_up)
		return;
	if (put_back(w, e, h->control.frozen_until))
		return;
	h->is_leader = true;
}

static void on_deposed(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct host *h = &w->hosts[e->a];

	if (!h->is_up || h->boot != e->u || put_back(w, e, h->control.frozen_until))
		return;
	if (w->store.leader == e->a)
		return; /* elected again meanwhile */
	h->is_leader = false;
	h->stored_until_ms = 0;
	control_deposed(w, e->a);
}

static void elect(struct world *w, int node)
{
	struct store *s = &w->store;
	int old = s->leader;

	/* What the old leader had already sent to others may be committed by the new one, before anything of its own. */
	for (int i = 0; i < IN_FLIGHT; i++) {
		uint64_t op_id = 0;

		if (flights[i].is_used && !flights[i].is_generation && !flights[i].is_set && flights[i].term == s->term &&
		    rng_one_in(&w->rng, 2))
			(void)apply(w, &flights[i], &op_id);
	}
	s->term++;
	s->leader = node;
	s->bad_since = 0;
	w->hosts[node].control_seen_us = w->q.now_us;
	LOG(w, node, "is elected leader of the store, term %llu", (unsigned long long)s->term);
	if (old != NODE_NONE && old != node && w->hosts[old].is_up)
		sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 1 * MS, 15 * MS * (int)w->profile->raft_latency_ms),
		         (struct sim_event){.fn = on_deposed, .a = old, .u = w->hosts[old].boot});
	sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 1 * MS, 10 * MS),
	         (struct sim_event){.fn = on_leads, .a = node, .u = s->term});
}

void raft_node_died(struct world *w, int node)
{
	w->hosts[node].is_leader = false;
	w->hosts[node].stored_until_ms = 0;
	if (w->store.leader == node)
		w->store.leader = NODE_NONE; /* it comes back as a follower */
}

static int pick_leader(struct world *w)
{
	int first = (int)rng_range(&w->rng, 0, w->node_count - 1);

	for (int i = 0; i < w->node_count; i++) {
		int node = (first + i) % w->node_count;

		if (has_majority(w, node))
			return node;
	}
	return NODE_NONE;
}

void raft_transfer(struct world *w, int from, int to)
{
	if (w->store.leader != from || !has_majority(w, from) || !has_majority(w, to) || rng_one_in(&w->rng, 20))
		return;
	elect(w, to);
}

/* The store gives the leadership away when its control process says nothing for as long as a node may be silent. */
static bool is_control_silent(struct world *w, int node)
{
	struct host *h = &w->hosts[node];

	if (h->control.is_up && h->control.frozen_until <= w->q.now_us)
		h->control_seen_us = w->q.now_us;
	return w->q.now_us - h->control_seen_us > w->profile->silence_ms * MS;
}

static void give_away(struct world *w, int from)
{
	int to = (from + 1 + (int)rng_range(&w->rng, 0, w->node_count - 2)) % w->node_count;

	w->hosts[from].control_seen_us = w->q.now_us;
	raft_transfer(w, from, to);
}

/* The leader is missed, an election follows; sometimes one is held without need. An arbiter gives leadership away. */
static void on_watch(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct store *s = &w->store;
	bool is_bad = s->leader == NODE_NONE || !has_majority(w, s->leader) || (!w->is_calm && rng_one_in(&w->rng, 4000));
	int next;

	if (is_bad && s->bad_since == 0) {
		s->bad_since = w->q.now_us;
		s->patience = rng_range(&w->rng, 15, 30) * w->profile->raft_latency_ms * MS;
	} else if (!is_bad && rng_one_in(&w->rng, 3)) {
		s->bad_since = 0;
	}
	if (s->bad_since != 0 && w->q.now_us - s->bad_since >= s->patience && (next = pick_leader(w)) != NODE_NONE)
		elect(w, next);
	for (int i = 0; i < w->node_count; i++) {
		struct host *h = &w->hosts[i];

		if (h->is_leader && h->is_up && h->control.is_up && h->control.frozen_until <= w->q.now_us && !h->is_arbiter &&
		    h->ctl == NULL && !h->is_winning && !h->is_stopping)
			raft_win_generation(w, i);
	}
	for (int i = 0; i < w->node_count; i++)
		members_tick(w, i);
	if (s->leader != NODE_NONE && w->hosts[s->leader].is_arbiter && w->hosts[s->leader].is_leader)
		give_away(w, s->leader);
	else if (s->leader != NODE_NONE && w->hosts[s->leader].is_leader && is_control_silent(w, s->leader))
		give_away(w, s->leader);
	sim_post(&w->q, w->q.now_us + WATCH, *e);
}

void raft_start(struct world *w)
{
	struct store *s = &w->store;

	memset(flights, 0, sizeof flights);
	memset(s, 0, sizeof *s);
	s->leader = NODE_NONE;
	s->term = 1;
	memset(s->owner, 0xff, sizeof s->owner); /* NODE_NONE */
	for (int g = 0; g < w->group_count; g++) {
		struct group_record *r = &s->rec[g];

		snprintf(r->name, sizeof r->name, "g%d", g + 1);
		snprintf(r->engine, sizeof r->engine, "model");
		r->state = STATE_NEW;
		r->primary = g % w->node_count;
		r->target = NODE_NONE;
		r->is_sync = rng_one_in(&w->rng, 4) ? false : true;
		r->is_restart_first = rng_one_in(&w->rng, 2);
		for (int i = 0; i < w->node_count; i++)
			if (!w->hosts[i].is_arbiter)
				r->instances |= node_bit(i);
		r->vip_count = 1;
		snprintf(r->vips[0], sizeof r->vips[0], "10.0.0.%d", g + 1);
	}
	sim_post(&w->q, 0, (struct sim_event){.fn = on_watch});
}
