/* For membership.c (what to change next) and membership_job.c (carrying one change out) only. */
#ifndef RUN_MEMBERSHIP_H
#define RUN_MEMBERSHIP_H

#include "core/run/control.h"

/* JOB_ALIGN: a controller died between Raft's change and its record: Raft follows the record. */
enum job_kind { JOB_TAKE_IN, JOB_VOTE, JOB_UNVOTE, JOB_DISMISS, JOB_MOVE, JOB_ALIGN };

/* One change in the making. */
struct job {
	enum job_kind kind;
	int node;
	char reason[NAME_SIZE * 3];
	char address[64]; /* JOB_MOVE: the new raft address */
};

struct member_node {
	bool is_member, is_leaving, is_removed;
	char raft_id[24], raft_address[64];
};

struct membership {
	struct control *c;
	bool is_active, is_busy;
	int64_t aligned_ms; /* when Raft was last seen to agree with the records, as far as nodes are online; 0: not yet */
	int64_t ticked_ms, retry_ms;
	int64_t begun_ms;
	int64_t gone_ms; /* policy */
	struct voter_set voters;
	struct member_node nodes[MAX_NODES];
	node_set refused; /* said once */
	struct job job;
	char waits_for[160]; /* why a leaving node has not left yet; said once */
};

/* Begin a change; is_busy until its record is committed (then everything is read again) or a step of it has failed. */
void membership_start(struct membership *m, enum job_kind kind, int node, const char *reason);
/* Another voter set may follow the one that this controller read (agent_voters_settled). */
bool membership_may_change(const struct membership *m, int64_t now_ms);
/* Heard just now, and up for so long that it can grant leases. */
bool membership_is_ready(const struct membership *m, int node, int64_t now_ms);
/* The outcome of a transaction of this folder's: everything is read again. arg: struct membership. */
void membership_committed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate,
                          const char *message);

#define MEMBERSHIP_CHANGE_MS 10000

#endif
