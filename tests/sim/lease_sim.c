/* The quorum lease alone, while the set of voters changes one by one between one and five, under everything a network and an
 * operating system can do to it: clocks off by 1% either way, loss, delays to 1.5 s, restarts, freezes, one-way cuts, releases,
 * and many simultaneous would-be holders. Checked at every instant at which a lease can begin: by true time no second holder of
 * the resource is valid. */
#include "core/control/quorum_lease.h"
#include "tests/sim/engine.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 5
#define BEAT      (200 * MS)
#define RUN_TIME  (60 * SECOND)
#define SETS_MAX  4096

enum { RES_CONTROLLER, RES_GROUP, RES_COUNT };
static const char *const res_names[RES_COUNT] = {"controller", "group:main"};

struct node {
	struct drift clock;
	bool is_up;
	int64_t frozen_until;
	uint64_t incarnation;
	uint64_t round;
	struct voter_set disk; /* newest set it knew, survives */
	uint64_t disk_epoch;   /* of the group, for which it was made primary last; survives */
	struct lease_settling settling;
	struct lease_voter voter;
	struct lease_holder holders[RES_COUNT];
	int64_t heard[NODES_MAX];
	uint64_t generation; /* 0: no controller */
};

struct world {
	struct sim_queue q;
	struct rng rng;
	struct trace trace;
	int64_t term_ms;
	int count;
	bool has_changes;
	struct voter_set sets[SETS_MAX]; /* as committed; index = number */
	uint64_t set_number;             /* of the last one */
	int64_t set_us;                  /* when it was committed */
	struct node nodes[NODES_MAX];
	bool is_cut[NODES_MAX][NODES_MAX];
	int64_t last_arrival[NODES_MAX][NODES_MAX];
	uint64_t newest_generation, epoch;
	int primary;
	uint64_t held_checks, checks, changes;
	bool is_violated;
};

enum msg_type { MSG_ASK, MSG_GRANT, MSG_REFUSE, MSG_RELEASE, MSG_HEARD, MSG_ASSIGN };

/* Packed into an event: a = sender * 16 + receiver, b = set number, type and resource, u = value, p = round. */
static const char *name(int node)
{
	return (const char *[NODES_MAX]){"n1", "n2", "n3", "n4", "n5"}[node];
}

static void on_message(void *world, const struct sim_event *e);

static void send_msg(struct world *w, int from, int to, enum msg_type type, int res, uint64_t value, uint64_t round)
{
	static const int64_t slow[] = {5, 30, 300, 1500};
	struct sim_event e = {.fn = on_message,
	                      .a = from * 16 + to,
	                      .b = (int)w->nodes[from].voter.set.number * 256 + (int)type * 16 + res,
	                      .u = value,
	                      .p = (void *)(uintptr_t)round};
	int64_t delay = rng_range(&w->rng, 100, 2000), at;

	if (from != to && (w->is_cut[from][to] || rng_one_in(&w->rng, 50)))
		return;
	if (rng_one_in(&w->rng, 12))
		delay = slow[rng_range(&w->rng, 0, 3)] * MS;
	at = w->q.now_us + (from == to ? 0 : delay);
	/* One stream per pair: nothing overtakes. */
	if (at < w->last_arrival[from][to])
		at = w->last_arrival[from][to];
	w->last_arrival[from][to] = at;
	sim_post(&w->q, at, e);
}

static void check(struct world *w)
{
	for (int res = 0; res < RES_COUNT; res++) {
		int first = -1;

		w->checks++;
		for (int i = 0; i < w->count; i++) {
			struct node *n = &w->nodes[i];

			if (!n->is_up || !lease_is_valid(&n->holders[res], drift_local_ms(&n->clock, w->q.now_us)))
				continue;
			if (first >= 0) {
				trace_line(&w->trace, "INVARIANT", "two valid holders of %s: %s with %llu and %s with %llu",
				           res_names[res], name(first), (unsigned long long)w->nodes[first].holders[res].value,
				           name(i), (unsigned long long)n->holders[res].value);
				w->is_violated = true;
			}
			first = i;
			w->held_checks++;
		}
	}
}

/* Every message says which set its sender knows; a newer one is kept before anything is answered. */
static void learn_set(struct world *w, struct node *n, uint64_t number)
{
	if (lease_voter_set(&n->voter, &w->sets[number]))
		n->disk = w->sets[number];
}

static void answer(struct world *w, int from, int to, int res, const struct sim_event *e)
{
	struct node *n = &w->nodes[to];
	uint64_t round = (uintptr_t)e->p, number = (uint64_t)e->b / 256;
	int64_t now_ms = drift_local_ms(&n->clock, w->q.now_us);

	if ((n->voter.set.members & node_bit(to)) == 0)
		return;
	if (lease_voter_ask(&n->voter, now_ms, res_names[res], e->u, number, NULL) != LEASE_GRANTED) {
		send_msg(w, to, from, MSG_REFUSE, res, e->u, round);
		return;
	}
	trace_line(&w->trace, name(to), "grants %s value %llu to %s, round %llu of set %llu", res_names[res],
	           (unsigned long long)e->u, name(from), (unsigned long long)round, (unsigned long long)number);
	send_msg(w, to, from, MSG_GRANT, res, e->u, round);
}

static void take_grant(struct world *w, int from, int to, int res, const struct sim_event *e)
{
	struct node *n = &w->nodes[to];
	uint64_t round = (uintptr_t)e->p;
	int64_t now_ms = drift_local_ms(&n->clock, w->q.now_us);

	if (!lease_answered(&n->holders[res], from, e->u, round, &n->voter.set))
		return;
	if (res == RES_CONTROLLER)
		lease_settling_note(&n->settling, now_ms, n->voter.set.number);
	trace_line(&w->trace, name(to), "majority for round %llu -> holds %s value %llu for %lld ms", (unsigned long long)round,
	           res_names[res], (unsigned long long)e->u, (long long)(n->holders[res].until_ms - now_ms));
}

static void on_message(void *world, const struct sim_event *e)
{
	struct world *w = world;
	int from = e->a / 16, to = e->a % 16, res = e->b % 16;
	struct node *n = &w->nodes[to];
	int64_t now_ms = drift_local_ms(&n->clock, w->q.now_us);

	if (!n->is_up)
		return;
	if (n->frozen_until > w->q.now_us) {
		sim_post(&w->q, n->frozen_until, *e);
		return;
	}
	learn_set(w, n, (uint64_t)e->b / 256);
	switch ((enum msg_type)(e->b / 16 % 16)) {
	case MSG_ASK:
		answer(w, from, to, res, e);
		break;
	case MSG_GRANT:
		take_grant(w, from, to, res, e);
		break;
	case MSG_RELEASE:
		lease_voter_release(&n->voter, res_names[res], e->u);
		break;
	case MSG_REFUSE: /* only its set number says something */
		break;
	case MSG_HEARD:
		n->heard[from] = now_ms;
		break;
	case MSG_ASSIGN:
		n->disk_epoch = e->u > n->disk_epoch ? e->u : n->disk_epoch;
		lease_hold(&n->holders[RES_GROUP], res_names[RES_GROUP], e->u, w->term_ms);
		break;
	}
}

/* The store commits only where a majority of the present set hears the leader and is heard. */
static bool can_commit(const struct world *w, int self)
{
	node_set members = w->sets[w->set_number].members, heard = 0;

	for (int i = 0; i < w->count; i++)
		if (w->nodes[i].is_up && !w->is_cut[self][i] && !w->is_cut[i][self])
			heard |= node_bit(i);
	return 2 * node_set_count(members & heard) > node_set_count(members);
}

static bool may_change(const struct world *w, const struct node *n)
{
#if defined(LEASE_BREAK_SET_WAIT)
	(void)n;
	(void)w;
	return true;
#elif defined(LEASE_BREAK_SET_PROOF) /* as DESIGN had it first: time alone */
	(void)n;
	return w->q.now_us - w->set_us > (w->term_ms + 500) * MS;
#else
	int64_t now_ms = drift_local_ms(&n->clock, w->q.now_us);

	return lease_is_valid(&n->holders[RES_CONTROLLER], now_ms) &&
	       lease_is_settled(&n->settling, now_ms, w->set_number, w->term_ms);
#endif
}

static node_set change_one(struct world *w, node_set members)
{
	int i = (int)rng_range(&w->rng, 0, w->count - 1);

	/* The last voter stays, and a dead one is not added. */
	if (members == node_bit(i) || ((members & node_bit(i)) == 0 && !w->nodes[i].is_up))
		return members;
	return members ^ node_bit(i);
}

static void change_set(struct world *w, struct node *n, int self)
{
	node_set members = w->sets[w->set_number].members, next;

	if (!w->has_changes || w->set_number + 1 == SETS_MAX || !rng_one_in(&w->rng, 4) || !can_commit(w, self) ||
	    !may_change(w, n))
		return;
	next = change_one(w, members);
#ifdef LEASE_BREAK_SET_TWO
	next = change_one(w, next);
#endif
	if (next == members)
		return;
	w->set_us = w->q.now_us;
	w->changes++;
	w->sets[++w->set_number] = (struct voter_set){w->set_number, next};
	trace_line(&w->trace, name(self), "commits set %llu: %x -> %x", (unsigned long long)w->set_number, members, next);
	/* Now and then the outcome stays unknown to it, or it says so late. */
	if (!rng_one_in(&w->rng, 10))
		learn_set(w, n, w->set_number);
}

/* Only the newest generation can commit; it moves the group away from a silent primary, and sometimes from a healthy one. */
static void control(struct world *w, struct node *n, int self)
{
	int64_t now_ms = drift_local_ms(&n->clock, w->q.now_us);
	int next = (int)rng_range(&w->rng, 0, w->count - 1);

	if (n->generation != w->newest_generation)
		return;
	if ((now_ms - n->heard[w->primary] > 500 || rng_one_in(&w->rng, 300)) && next != w->primary &&
	    now_ms - n->heard[next] < 400) {
		w->primary = next;
		w->epoch++;
		trace_line(&w->trace, name(self), "commits epoch %llu for %s", (unsigned long long)w->epoch, name(next));
	}
	send_msg(w, self, w->primary, MSG_ASSIGN, RES_GROUP, w->epoch, 0);
	change_set(w, n, self);
}

static void release(struct world *w, struct node *n, int self, int res)
{
	uint64_t value = n->holders[res].value;

	trace_line(&w->trace, name(self), "releases %s value %llu", res_names[res], (unsigned long long)value);
	lease_drop(&n->holders[res]);
	for (int i = 0; i < w->count; i++)
		send_msg(w, self, i, MSG_RELEASE, res, value, 0);
}

static void on_beat(void *world, const struct sim_event *e)
{
	struct world *w = world;
	struct node *n = &w->nodes[e->a];

	if (!n->is_up || n->incarnation != e->u)
		return;
	if (n->frozen_until > w->q.now_us) {
		sim_post(&w->q, n->frozen_until, *e);
		return;
	}
	n->round++;
	for (int res = 0; res < RES_COUNT; res++) {
		struct lease_holder *h = &n->holders[res];

		if (h->value == 0)
			continue;
		if (rng_one_in(&w->rng, 200)) {
			release(w, n, e->a, res);
			continue;
		}
		lease_round_sent(h, drift_local_ms(&n->clock, w->q.now_us), n->round, &n->voter.set);
		for (int i = 0; i < w->count; i++)
			send_msg(w, e->a, i, MSG_ASK, res, h->value, n->round);
	}
	for (int i = 0; i < w->count; i++)
		send_msg(w, e->a, i, MSG_HEARD, 0, 0, 0);
	if (n->generation != 0)
		control(w, n, e->a);
	sim_post(&w->q, w->q.now_us + BEAT, *e);
}

static void start_node(struct world *w, int i)
{
	struct node *n = &w->nodes[i];
	int64_t now_ms = drift_local_ms(&n->clock, w->q.now_us);

	n->is_up = true;
	n->incarnation++;
	/* Rounds of two runs of a process never carry the same number. */
	n->round = n->incarnation << 32;
	n->generation = 0;
	memset(n->holders, 0, sizeof n->holders);
	memset(n->heard, 0, sizeof n->heard);
	lease_voter_done(&n->voter);
	lease_voter_init(&n->voter, now_ms, w->term_ms);
	/* A host that is no voter any more may come back empty. */
	if ((w->sets[w->set_number].members & node_bit(i)) == 0 && rng_one_in(&w->rng, 2))
		n->disk = (struct voter_set){0}, n->disk_epoch = 0;
#ifdef LEASE_BREAK_SET_DISK
	n->disk = w->sets[1];
#endif
	lease_voter_set(&n->voter, &n->disk);
	memset(&n->settling, 0, sizeof n->settling);
	/* The server ran on without its control process: it asks for the lease of the epoch on its disk. */
	if (rng_one_in(&w->rng, 2))
		lease_hold(&n->holders[RES_GROUP], res_names[RES_GROUP], n->disk_epoch, w->term_ms);
	sim_post(&w->q, w->q.now_us, (struct sim_event){.fn = on_beat, .a = i, .u = n->incarnation});
}

static void on_return(void *world, const struct sim_event *e)
{
	struct world *w = world;

	trace_line(&w->trace, name(e->a), "is back");
	start_node(w, e->a);
}

static void on_elect(void *world, const struct sim_event *e)
{
	static const int64_t pauses[] = {30, 300, 1500, 6000, 15000};
	struct world *w = world;
	int i = (int)rng_range(&w->rng, 0, w->count - 1);
	struct node *n = &w->nodes[i];

	if (n->is_up && n->frozen_until <= w->q.now_us) {
		n->generation = ++w->newest_generation;
		/* It read the set in the transaction that committed the generation. */
		learn_set(w, n, w->set_number);
		for (int other = 0; other < w->count; other++)
			n->heard[other] = drift_local_ms(&n->clock, w->q.now_us);
		lease_hold(&n->holders[RES_CONTROLLER], res_names[RES_CONTROLLER], n->generation, w->term_ms);
	}
	sim_post(&w->q, w->q.now_us + pauses[rng_range(&w->rng, 0, 4)] * MS, *e);
}

static void on_heal(void *world, const struct sim_event *e)
{
	struct world *w = world;

	(void)e;
	memset(w->is_cut, 0, sizeof w->is_cut);
}

static void crash(struct world *w, int i, int64_t length_us)
{
	struct node *n = &w->nodes[i];

	if (!n->is_up)
		return;
	trace_line(&w->trace, name(i), "crashes");
	n->is_up = false;
	sim_post(&w->q, w->q.now_us + length_us, (struct sim_event){.fn = on_return, .a = i});
}

static void split(struct world *w, node_set apart)
{
	for (int i = 0; i < w->count; i++)
		for (int other = 0; other < w->count; other++)
			w->is_cut[i][other] = ((apart >> i) & 1) != ((apart >> other) & 1);
	trace_line(&w->trace, "world", "%x is cut off from the others", apart);
}

static void on_fault(void *world, const struct sim_event *e)
{
	static const int64_t downs[] = {5, 50, 300, 2000};
	struct world *w = world;
	int i = (int)rng_range(&w->rng, 0, w->count - 1), other = (int)rng_range(&w->rng, 0, w->count - 1);
	struct node *n = &w->nodes[i];

	switch (rng_range(&w->rng, 0, 5)) {
	case 0:
		crash(w, i, downs[rng_range(&w->rng, 0, 3)] * MS);
		break;
	case 1:
		if (n->frozen_until > w->q.now_us)
			break;
		n->frozen_until = w->q.now_us + rng_long_tail(&w->rng, 50 * MS, 3 * SECOND);
		trace_line(&w->trace, name(i), "is frozen for %lld ms", (long long)((n->frozen_until - w->q.now_us) / MS));
		break;
	case 2:
		w->is_cut[i][other] = true;
		trace_line(&w->trace, name(i), "is not heard by %s", name(other));
		sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 200 * MS, 4 * SECOND), (struct sim_event){.fn = on_heal});
		break;
	case 3:
		for (other = 0; other < w->count; other++)
			if (rng_one_in(&w->rng, 2))
				crash(w, other, downs[rng_range(&w->rng, 0, 3)] * MS);
		break;
	case 4:
		split(w, (node_set)rng_range(&w->rng, 1, (1 << w->count) - 2));
		sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 500 * MS, 20 * SECOND), (struct sim_event){.fn = on_heal});
		break;
	default:
		split(w, node_bit(i));
		sim_post(&w->q, w->q.now_us + rng_long_tail(&w->rng, 200 * MS, 4 * SECOND), (struct sim_event){.fn = on_heal});
	}
	sim_post(&w->q, w->q.now_us + rng_range(&w->rng, 100 * MS, 3 * SECOND), *e);
}

static void run(struct world *w, uint64_t seed)
{
	static const int64_t terms[] = {800, 1500, 4000};
	struct sim_event e;

	sim_queue_reset(&w->q);
	w->rng.state = seed;
	w->is_violated = false;
	w->has_changes = !rng_one_in(&w->rng, 4);
	w->count = w->has_changes || rng_one_in(&w->rng, 3) ? 5 : 3;
	w->term_ms = terms[rng_range(&w->rng, 0, 2)];
	w->set_number = 1;
	w->set_us = 0;
	w->sets[1] = (struct voter_set){1, (node_set)(1u << w->count) - 1};
	if (w->has_changes && rng_one_in(&w->rng, 2))
		w->sets[1].members = rng_one_in(&w->rng, 2) ? 7 : 1;
	w->newest_generation = 0;
	w->epoch = 1;
	w->primary = 0;
	memset(w->is_cut, 0, sizeof w->is_cut);
	memset(w->last_arrival, 0, sizeof w->last_arrival);
	for (int i = 0; i < w->count; i++) {
		w->nodes[i].clock = drift_random(&w->rng);
		w->nodes[i].frozen_until = 0;
		w->nodes[i].incarnation = w->nodes[i].disk_epoch = 0;
		w->nodes[i].disk = (w->sets[1].members & node_bit(i)) != 0 ? w->sets[1] : (struct voter_set){0};
		start_node(w, i);
	}
	sim_post(&w->q, SECOND, (struct sim_event){.fn = on_elect});
	sim_post(&w->q, 2 * SECOND, (struct sim_event){.fn = on_fault});
	while (!w->is_violated && sim_next(&w->q, RUN_TIME, &e)) {
		w->trace.now_us = w->q.now_us;
		e.fn(w, &e);
		check(w);
	}
}

int main(int argc, char **argv)
{
	static struct world w;
	uint64_t seed = sim_default_seed(), runs = 500;
	bool is_broken = false;
	double start = sim_wall_seconds();
	int c;

	while ((c = getopt(argc, argv, "r:s:bt")) != -1) {
		if (c == 'r')
			runs = strtoull(optarg, NULL, 10);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'b')
			is_broken = true;
		else if (c == 't')
			w.trace.is_on = w.trace.is_all = true;
		else
			return 2;
	}
	printf("lease: %llu runs of a minute from seed %llu\n", (unsigned long long)runs, (unsigned long long)seed);
	for (uint64_t i = 0; i < runs; i++) {
		run(&w, seed + i);
		if (!w.is_violated)
			continue;
		printf("violation in seed %llu after %llu runs, %.1f s; replay: %s -s %llu -r 1 -t\n",
		       (unsigned long long)(seed + i), (unsigned long long)(i + 1), sim_wall_seconds() - start, argv[0],
		       (unsigned long long)(seed + i));
		w.trace.is_on = true;
		run(&w, seed + i);
		trace_print(&w.trace);
		return is_broken ? 0 : 1;
	}
	printf("no violation; %.1f s, %.1f%% of the checks saw a holder, %llu changes of the voter set\n",
	       sim_wall_seconds() - start, 100.0 * (double)w.held_checks / (double)w.checks, (unsigned long long)w.changes);
	for (int i = 0; i < NODES_MAX; i++)
		lease_voter_done(&w.nodes[i].voter);
	sim_queue_done(&w.q);
	trace_done(&w.trace);
	return is_broken ? 1 : 0;
}
