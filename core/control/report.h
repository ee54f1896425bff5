/* What nodes tell each other: heartbeats (with reports of their instances) and orders. Plain data; the run layer turns it to
 * JSON and back. */
#ifndef CONTROL_REPORT_H
#define CONTROL_REPORT_H

#include "core/control/names.h"
#include "core/control/quorum_lease.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inst_process { PROC_ABSENT, PROC_STOPPED, PROC_STARTING, PROC_RUNNING, PROC_STOPPING };
enum inst_role { ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_REPLICA };

/* A standby as its primary sees it. */
struct standby_report {
	int node; /* index */
	bool is_streaming;
	uint64_t flushed;
};

/* One instance as its node sees it now. */
struct instance_report {
	char group[NAME_SIZE];
	enum inst_process process;
	enum inst_role role;
	bool is_accepting; /* the last probe succeeded */
	bool is_receiving;
	bool is_detached;     /* receives from nobody, and the position is final, under detach_epoch */
	bool is_clean;        /* stopped by a clean shutdown */
	bool is_leased;       /* its node holds the group's lease for `lease_epoch` */
	bool is_checkpointed; /* the checkpoint of step `step` is done */
	int upstream;         /* node it is set to receive from, or NODE_NONE */
	int probe_age_ms;     /* -1: never */
	int received_age_ms;  /* -1: never */
	uint32_t timeline;
	uint64_t position;
	uint64_t epoch;          /* highest seen */
	uint64_t promoted_epoch; /* of the last completed promotion */
	uint64_t lease_epoch;
	uint64_t detach_epoch; /* epoch of the order under which it detached */
	uint64_t step;         /* of the last order it took */
	uint64_t generation;   /* same */
	uint64_t answers;      /* same: the heartbeat of its node that the order answered */
	uint64_t sync_since;
	node_set sync_members; /* as in force in the server */
	int standby_count;
	struct standby_report standbys[MAX_NODES];
	char verb[16]; /* in progress, "" none */
	char position_text[64];
	char system_id[NAME_SIZE];
	char error[192]; /* "" none */
};

/* One lease request of a heartbeat. */
struct lease_ask {
	char resource[LEASE_RESOURCE_SIZE];
	uint64_t value;
};

/* Sent to every node each heartbeat interval, and at once when something happened. */
struct heartbeat {
	int node;                /* sender */
	uint64_t number;         /* grows by one for each heartbeat of this run of the process */
	uint64_t incarnation;    /* random, of this run of the process */
	struct voter_set voters; /* newest known */
	bool is_arbiter;
	bool is_stopping;    /* an orderly stop: do not count on this node */
	uint64_t generation; /* of the controller this node is, 0: it is not one */
	size_t ask_count, report_count;
	struct lease_ask *asks; /* borrowed or owned by whoever made the heartbeat */
	struct instance_report *reports;
};

/* The answer to one ask, sent back to the asker only. */
struct lease_reply {
	int voter;       /* sender */
	uint64_t number; /* of the heartbeat */
	char resource[LEASE_RESOURCE_SIZE];
	uint64_t value;
	enum lease_answer answer;
	int64_t busy_ms;
	struct voter_set voters;
};

enum order_role {
	ORDER_HOLD,    /* change nothing (paused, or nothing known) */
	ORDER_PRIMARY, /* be the primary of `epoch`: create if told, start, promote, hold the lease, serve the VIPs */
	ORDER_REPLICA, /* follow `primary` */
	ORDER_DETACH,  /* receive from nobody, report the final position; a server that is not running stays so */
	ORDER_STOP     /* stop the server, then give up the lease: is_fast says how */
};

/* What a node's instance shall be. The same order may come many times: it is a state, not a step. */
struct order {
	char group[NAME_SIZE];
	uint64_t generation; /* of the controller that gives it */
	uint64_t epoch;
	uint64_t answers; /* number of the receiver's heartbeat that it answers */
	uint64_t answers_incarnation;
	uint64_t step; /* of the group's state machine; reports name it */
	enum order_role role;
	bool is_bring_up;   /* PRIMARY: start and promote it if it is not up; else only keep it, a server that has ended stays
	                       down */
	bool is_rejoin;     /* REPLICA: the primary is up: rewind or rebuild if that is what it takes */
	bool is_create;     /* PRIMARY: the first primary: create or adopt the data directory if needed */
	bool is_early;      /* PRIMARY: promote before the lease is held (nobody can acknowledge for the old one any more) */
	bool is_checkpoint; /* PRIMARY: run a checkpoint for this step (switchover) */
	bool is_fast;       /* STOP: clean shutdown; else immediate */
	bool is_sync;       /* a synchronous group: the guard may wait one more L behind an active port fence */
	int primary;        /* REPLICA: node to follow; NODE_NONE: start without upstream */
	node_set sync_members;     /* PRIMARY: the standbys commits wait for */
	char system_id[NAME_SIZE]; /* "" while the group has none */
	int vip_count;
	char vips[MAX_VIPS][48]; /* addresses that go with the primary */
};

#endif
