#include "core/control/voters.h"

#include <stdio.h>
#include <string.h>

struct tally {
	const struct voters_node *nodes;
	int count, leader;
	int64_t gone_ms;
	int members;    /* not leaving */
	int voters;     /* all */
	int lasting;    /* voters that neither leave nor are gone */
	int leaving;    /* voters that leave */
	int candidates; /* could vote at once */
	int intended;   /* how many should vote */
};

static bool is_gone(const struct tally *t, int i)
{
	return t->gone_ms > 0 && t->nodes[i].silent_ms >= t->gone_ms;
}

static bool is_lasting(const struct tally *t, int i)
{
	const struct voters_node *n = &t->nodes[i];

	return n->is_member && n->is_voter && !n->is_leaving && !is_gone(t, i);
}

static bool is_candidate(const struct tally *t, int i)
{
	const struct voters_node *n = &t->nodes[i];

	return n->is_member && !n->is_voter && !n->is_leaving && n->is_ready;
}

static void take_stock(struct tally *t)
{
	int i;

	for (i = 0; i < t->count; i++) {
		const struct voters_node *n = &t->nodes[i];

		if (!n->is_member)
			continue;
		t->members += !n->is_leaving;
		t->voters += n->is_voter;
		t->leaving += n->is_voter && n->is_leaving;
		t->lasting += is_lasting(t, i);
		t->candidates += is_candidate(t, i);
	}
	t->intended = t->members < VOTERS_MAX ? t->members : VOTERS_MAX;
	t->intended -= t->intended % 2 == 0 && t->intended > 0 ? 1 : 0;
}

/* Lasting voters of the domain of node i, itself not counted. */
static int domain_voters(const struct tally *t, int i)
{
	int n = 0, k;

	for (k = 0; k < t->count; k++)
		if (k != i && is_lasting(t, k) && t->nodes[k].domain >= 0 && t->nodes[k].domain == t->nodes[i].domain)
			n++;
	return n;
}

/* The candidate that helps most: an arbiter, then one of a domain with the fewest voters, then the lowest place. */
static int best_candidate(const struct tally *t)
{
	int best = NODE_NONE, i;

	for (i = 0; i < t->count; i++) {
		if (!is_candidate(t, i))
			continue;
		if (best == NODE_NONE || (t->nodes[i].is_arbiter && !t->nodes[best].is_arbiter) ||
		    (t->nodes[i].is_arbiter == t->nodes[best].is_arbiter && domain_voters(t, i) < domain_voters(t, best)))
			best = i;
	}
	return best;
}

/* How much a voter is worth keeping; the lowest goes. */
static int worth(const struct tally *t, int i)
{
	const struct voters_node *n = &t->nodes[i];

	if (n->is_leaving)
		return 0;
	if (is_gone(t, i))
		return 1;
	return 2 + (i == t->leader) * 8 + n->is_arbiter * 4 + (domain_voters(t, i) == 0) * 2 + n->is_ready;
}

static int least_voter(const struct tally *t)
{
	int least = NODE_NONE, i;

	for (i = 0; i < t->count; i++)
		if (t->nodes[i].is_member && t->nodes[i].is_voter && (least == NODE_NONE || worth(t, i) <= worth(t, least)))
			least = i;
	return least;
}

static void set_step(struct voters_step *ret, enum voters_change change, int node, const char *reason)
{
	ret->change = change;
	ret->node = node;
	snprintf(ret->reason, sizeof ret->reason, "%s", reason);
}

static int find_leaving(const struct tally *t)
{
	int found = NODE_NONE, i;

	/* The leader last: it has the others' removals to carry out. */
	for (i = 0; i < t->count; i++)
		if (t->nodes[i].is_member && t->nodes[i].is_voter && t->nodes[i].is_leaving &&
		    (found == NODE_NONE || found == t->leader))
			found = i;
	return found;
}

/* Two voters of one domain while a candidate's domain has none. */
static bool would_spread(const struct tally *t, int candidate)
{
	int i;

	if (candidate == NODE_NONE || domain_voters(t, candidate) > 0)
		return false;
	for (i = 0; i < t->count; i++)
		if (is_lasting(t, i) && i != t->leader && domain_voters(t, i) > 0)
			return true;
	return false;
}

void voters_next(const struct voters_node *nodes, int count, int leader, const struct voters_policy *policy,
                 struct voters_step *ret)
{
	struct tally t = {.nodes = nodes, .count = count, .leader = leader, .gone_ms = policy->gone_ms};
	int candidate;

	set_step(ret, VOTERS_KEEP, NODE_NONE, "");
	take_stock(&t);
	candidate = best_candidate(&t);
	if (t.leaving > 0) {
		if (candidate != NODE_NONE && t.lasting < t.intended)
			set_step(ret, VOTERS_ADD, candidate, "votes in the place of a node that leaves");
		else if (t.lasting > 0)
			set_step(ret, VOTERS_REMOVE, find_leaving(&t), "leaves the cluster and votes no more");
	} else if (candidate != NODE_NONE && t.voters < t.intended && (t.voters % 2 == 0 || t.candidates >= 2)) {
		set_step(ret, VOTERS_ADD, candidate, "votes: the cluster has grown");
	} else if (candidate != NODE_NONE && t.lasting < t.intended && t.lasting < t.voters && t.voters <= t.intended) {
		set_step(ret, VOTERS_ADD, candidate, "votes in the place of a node that is gone for good");
	} else if (t.voters > t.intended && t.intended >= 3) {
		set_step(ret, VOTERS_REMOVE, least_voter(&t), "votes no more: another node has taken its place");
	} else if (t.voters == t.intended && t.lasting == t.voters && would_spread(&t, candidate)) {
		set_step(ret, VOTERS_ADD, candidate, "votes: its failure domain has no voter yet");
	}
}
