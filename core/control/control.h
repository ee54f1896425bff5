/* The controller: decides for every group. Time comes in with the event, effects go out as a list of actions plus "persist this
 * first". No clock, socket, file, log or random number inside. One instance per leadership: ctl_new at a won generation,
 * ctl_free when deposed. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "core/base/err.h"
#include "core/control/names.h"
#include "core/control/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl;

enum group_state {
	STATE_NEW, /* no primary was ever made */
	STATE_CREATING,
	STATE_STEADY,
	STATE_RESTARTING, /* the primary is restarted in place, same epoch */
	STATE_FENCING,    /* failover: the old primary is fenced, positions are collected */
	STATE_PROMOTING,  /* the new epoch is committed, its primary comes up */
	STATE_CHECKPOINT, /* switchover: checkpoint on the old primary */
	STATE_STOPPING,   /* switchover: the old primary stops writes, the target gets everything */
	STATE_COUNT
};
const char *group_state_name(enum group_state s);
/* STATE_COUNT when there is no such name. */
enum group_state group_state_parse(const char *name);

enum op_kind { OP_NONE, OP_CREATE, OP_RESTART, OP_FAILOVER, OP_SWITCHOVER };
const char *op_kind_name(enum op_kind k);

/* What the store keeps of a group: read at the start of a generation, written by every decision. */
struct group_record {
	char name[NAME_SIZE];
	char engine[16];
	enum group_state state;
	uint64_t epoch;
	uint64_t step;         /* grows with every decision; orders and reports name it */
	int primary;           /* NODE_NONE: none */
	int target;            /* switchover: the next primary */
	node_set sync_set;     /* the most advanced of ALL of these standbys holds every acknowledged commit; empty: unknown */
	bool is_sync;          /* durability: sync */
	bool is_restart_first; /* on_failure: restart */
	bool is_paused;
	bool is_early; /* the new primary may be promoted before it holds the lease: nobody can acknowledge for the old one */
	enum op_kind op;
	uint64_t op_id; /* given by the store; 0: none */
	char system_id[NAME_SIZE];
	int vip_count;
	char vips[MAX_VIPS][48];
	node_set instances; /* nodes that have one */
	int rule;           /* number of the rule that fired last */
	char reason[256];   /* what operators read; "" in the healthy state */
};

struct ctl_node {
	char name[NAME_SIZE];
	bool is_arbiter;
	bool is_maintenance;
};

/* Timing of a profile, ms. */
struct profile {
	const char *name;
	int64_t lease_ms; /* L */
	int64_t heartbeat_ms;
	int64_t silence_ms; /* a node is silent when nothing was heard for so long */
	unsigned raft_latency_ms;
};
/* NULL when there is no such name ("fast", "default", "relaxed"). Static. */
const struct profile *profile_find(const char *name);

/* nodes and groups are copied; self: index of this node. now_ms: start of this leadership. */
struct ctl *ctl_new(const struct profile *p, int self, uint64_t generation, int64_t now_ms);
void ctl_free(struct ctl *c);
/* Before the first step, in index order / any order. */
void ctl_add_node(struct ctl *c, const struct ctl_node *n);
void ctl_add_group(struct ctl *c, const struct group_record *g);

/* What this node had heard before it became controller; before the first step. Nothing is decided on it yet: a view that is
 * half there would look like trouble. */
void ctl_heard(struct ctl *c, const struct heartbeat *hb, int64_t at_ms);

enum event_type {
	EVENT_TICK,
	EVENT_HEARTBEAT, /* from any node, this one included */
	EVENT_NODE_DOWN, /* the link broke or the node said goodbye: silence counts from now at the latest */
	EVENT_COMMITTED, /* the outcome of an update's commit */
	EVENT_COMMAND
};

enum commit_outcome {
	COMMIT_DONE,
	COMMIT_FAILED, /* definitely not applied, still leader: try again */
	COMMIT_LOST    /* unknown, or another generation rules: this controller must not go on (free it) */
};

enum command_kind { COMMAND_SWITCHOVER, COMMAND_FAILOVER, COMMAND_PAUSE, COMMAND_RESUME };

struct event {
	enum event_type type;
	int64_t now_ms;
	union {
		const struct heartbeat *heartbeat; /* borrowed for the call */
		int node;
		struct {
			uint64_t commit_id;
			enum commit_outcome outcome;
			uint64_t op_id; /* of the operation that the commit began, 0 none */
		} committed;
		struct {
			uint64_t request_id; /* answered by exactly one ACTION_REPLY */
			enum command_kind kind;
			char group[NAME_SIZE];
			int target; /* NODE_NONE: any */
			bool is_forced;
		} command;
	} u;
};

enum action_type {
	ACTION_ORDER,   /* send `order` to `node` */
	ACTION_REPLY,   /* answer command `request_id` with code and text */
	ACTION_TRANSFER /* give Raft leadership to `node` (the primary's node) */
};

struct action {
	enum action_type type;
	int node;
	const char *group; /* borrowed: name of the group it is about */
	struct order order;
	uint64_t request_id;
	uint64_t op_id;
	enum err_code code;
	char text[256];
};

/* "Persist this first": one transaction that checks the generation, writes the group's row and one event row, and opens or
 * closes its operation row. Nothing that follows from it leaves the controller before EVENT_COMMITTED says COMMIT_DONE. */
struct commit {
	uint64_t id;
	struct group_record record; /* as it will be */
	uint64_t old_epoch;         /* the row must still have it */
	bool is_op_begin, is_op_end;
	bool is_op_failed;
	bool is_event; /* write an event row: rule, severity, text = record.reason or event_text */
	int severity;  /* 0 info, 1 warning, 2 critical */
	char event_text[256];
};

#define UPDATE_MAX_ACTIONS 64
#define UPDATE_MAX_COMMITS 8 /* of different groups */
struct update {
	size_t commit_count, action_count;
	struct commit commits[UPDATE_MAX_COMMITS];
	struct action actions[UPDATE_MAX_ACTIONS];
};

/* Work one event; *u is overwritten. When a list is full the rest follows on the next step (ctl_deadline is then at once).
 * Never fails: 0. */
int ctl_step(struct ctl *c, const struct event *e, struct update *u);

/* When to call again with EVENT_TICK at the latest, ms. */
int64_t ctl_deadline(const struct ctl *c);

/* For status pages. Borrowed until the next step; NULL beyond the end / when nothing was heard. */
const struct group_record *ctl_group(const struct ctl *c, size_t i);
const struct group_record *ctl_find_group(const struct ctl *c, const char *name);
const struct instance_report *ctl_instance(const struct ctl *c, size_t group, int node);
/* Age of the newest heartbeat in ms, -1 when none was heard. */
int64_t ctl_heartbeat_age(const struct ctl *c, int node, int64_t now_ms);
bool ctl_is_online(const struct ctl *c, int node, int64_t now_ms);

#endif
