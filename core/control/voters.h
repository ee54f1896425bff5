/* Which node should vote: the next single change of the voter set. Pure. Whoever carries it out changes Raft and the numbered
 * set together and starts the next change only when the last one has settled (lease_is_settled in quorum_lease.h).
 *
 * The rules, first match wins:
 *   1. A leaving voter stops voting; a node that can take its place is added first. The last voter never leaves.
 *   2. Up to five voters, an odd number; further members are standbys. A single voter gets company only when two can be added,
 *      since two voters bear no loss.
 *   3. A voter that has been silent for gone_ms is gone for good: a standby takes its place. Without a standby nothing changes.
 *   4. Too many voters (a place was taken over, a node has left): the one that is missed least stops voting. Two voters stay
 * two: one alone would keep the only copy of an acknowledged write.
 *   5. Failure domains: a standby of a domain without a voter takes the place of one of two voters of one domain.
 * An arbiter comes first in every choice: voting is all it is for. */
#ifndef CONTROL_VOTERS_H
#define CONTROL_VOTERS_H

#include "core/control/names.h"

#include <stdbool.h>
#include <stdint.h>

#define VOTERS_MAX             5
#define VOTERS_GONE_DEFAULT_MS (10 * 60 * 1000)

struct voters_node {
	bool is_member; /* Raft has taken it in, as voter or standby */
	bool is_voter;
	bool is_arbiter;
	bool is_leaving;   /* its removal was asked */
	bool is_ready;     /* heard just now, and up for longer than L: it can grant leases at once */
	int64_t silent_ms; /* since it was heard last */
	int domain;        /* nodes with one number share a failure domain; negative: a domain of its own */
};

struct voters_policy {
	int64_t gone_ms; /* 0: a silent voter is never replaced */
};

enum voters_change { VOTERS_KEEP, VOTERS_ADD, VOTERS_REMOVE };

struct voters_step {
	enum voters_change change;
	int node;                   /* NODE_NONE for VOTERS_KEEP */
	char reason[NAME_SIZE * 3]; /* what operators read, without the node's name; "" for VOTERS_KEEP */
};

/* nodes[count], indexed like every node of this process; leader is the node that would carry it out (it goes last). */
void voters_next(const struct voters_node *nodes, int count, int leader, const struct voters_policy *policy,
                 struct voters_step *ret);

#endif
