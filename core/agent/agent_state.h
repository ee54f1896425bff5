/* The agent's memory; for core/agent's own files only. */
#ifndef AGENT_AGENT_STATE_H
#define AGENT_AGENT_STATE_H

#include "core/agent/agent.h"

#define SENT_RING        64   /* heartbeats whose sending time is remembered */
#define RETRY_MS         1000 /* after a verb failed */
#define NOT_RECEIVING_MS 8000 /* a replica that follows a living primary and receives nothing for so long is diverged */
#define ORDER_FRESH_MS   3000 /* an older order says nothing about how the primary is now */
#define VIPD_PATIENCE_MS 400  /* an unanswered request */
#define DBD_PATIENCE_MS  2000 /* silence of a guard that reports five times a second */

/* How a replica that cannot just follow is brought back; each step is tried when the one before did not do. */
enum rejoin { REJOIN_FOLLOW, REJOIN_REWIND, REJOIN_REBUILD };

struct instance {
	struct agent_instance setup;
	char resource[LEASE_RESOURCE_SIZE];
	struct lease_holder lease;

	bool is_dbd_up;
	bool is_report_known;
	int64_t dbd_heard_ms;
	int64_t report_ms;
	struct dbd_report report;

	bool is_ordered;
	struct order order;
	int64_t ordered_ms;  /* when the order came last; it is repeated every second */
	uint64_t generation; /* highest seen */
	uint64_t epoch;      /* highest seen, the instance's own record included */

	enum dbd_msg_type verb; /* in progress, 0: none */
	uint32_t verb_seq;
	uint64_t verb_step; /* of the order that asked for it */
	int64_t retry_ms;   /* no verb before */
	char error[192];
	uint64_t error_step;

	uint64_t detached_step; /* DETACH was answered for this step */
	uint64_t checkpointed_step;
	uint64_t created_epoch; /* CREATE was answered for this epoch */
	bool is_sync_settled;   /* the verb that set the server's sync members has ended well: sync_since is theirs */
	enum rejoin rejoin;
	uint64_t rejoined_epoch;        /* the primary's past up to this epoch was undone by a rewind or a clone */
	int64_t not_receiving_since_ms; /* 0: receives, or need not */

	int64_t lease_pushed_ms; /* deadline the guard was told last */
	int64_t vip_until_ms;    /* vipd may hold addresses or the port until then; 0: released and confirmed */
	uint64_t vip_epoch;
	bool is_vip_released; /* asked for, not confirmed yet */
};

struct agent {
	const struct profile *profile;
	int self;
	int64_t now_ms;
	uint64_t incarnation;
	int node_count;
	struct agent_node nodes[MAX_NODES];
	int instance_count;
	struct instance *instances; /* owned */

	struct lease_voter voter;
	struct lease_holder controller;
	struct lease_settling settling;
	uint64_t saved_set; /* number of the set that the run layer was told to keep last */

	uint64_t number;  /* of the last heartbeat */
	int64_t beat_ms;  /* when it was sent */
	bool is_beat_due; /* something happened: do not wait for the interval */
	struct {
		uint64_t number;
		int64_t sent_ms;
	} sent[SENT_RING];
	struct heartbeat heartbeat;
	struct lease_ask asks[AGENT_MAX_INSTANCES + 1];
	struct instance_report reports[AGENT_MAX_INSTANCES];

	bool has_vipd, is_vipd_up, is_fence_active;
	uint32_t seq;         /* last used, dbd and vipd */
	int64_t vip_asked_ms; /* the oldest unanswered request to vipd, 0: none */
	uint32_t vip_asked_seq;

	bool is_stopping;
};

struct agent_action *agent_add(struct agent_update *u, enum agent_action_type type);
void agent_log(struct agent_update *u, const struct instance *in, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
node_set agent_parse_set(const struct agent *a, const char *names);
void agent_format_set(const struct agent *a, node_set s, char *buf, size_t size);
int agent_find_node(const struct agent *a, const char *name);

/* The server is the primary of the epoch that was ordered. */
bool instance_is_primary(const struct instance *in);
bool instance_is_running(const struct instance *in);
/* Next verb, if one is due. */
void instance_drive(struct agent *a, struct instance *in, struct agent_update *u);
void instance_take_order(struct agent *a, const struct order *o, struct agent_update *u);
void instance_take_dbd(struct agent *a, struct instance *in, const struct dbd_msg *m, struct agent_update *u);
void instance_report_fill(const struct agent *a, const struct instance *in, struct instance_report *r);

/* Want or drop leases as orders and servers say; push deadlines on; release. */
void keeper_work(struct agent *a, struct instance *in, struct agent_update *u);
/* How much longer than its lease the guard lets this server run. */
int32_t keeper_grace_ms(const struct agent *a, const struct instance *in);
void keeper_answer(struct agent *a, const struct lease_reply *r, struct agent_update *u);
void keeper_vip_reply(struct agent *a, const struct agent_event *e);

/* Another node knows this set; NULL: the run layer has set one. */
void agent_learn_voters(struct agent *a, const struct voter_set *set, struct agent_update *u);

#endif
