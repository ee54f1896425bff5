/* The controller's memory; for core/control's own files only. */
#ifndef CONTROL_STATE_H
#define CONTROL_STATE_H

#include "core/control/control.h"

#define STREAMING_FRESH_MS 500  /* a replica that heard its upstream so recently proves that it lives */
#define STUCK_PROBE_MS     3000 /* a running server that answers no probe for so long does not work */
#define UNSERVED_MS        5000 /* a primary that is up but holds no lease for so long serves nobody */
#define SYNC_SETTLE_MS     1000 /* walsenders of the server learn of a smaller synchronous set within this time */
#define COMMIT_RETRY_MS    100
#define TICK_MS            100
#define TRANSFER_PAUSE_MS  5000
#define ORDER_REPEAT_MS    1000

struct view_node {
	struct ctl_node id;
	bool is_heard;
	bool is_stopping;
	int64_t heard_ms;
	uint64_t heartbeat;
	uint64_t incarnation;
};

struct view_instance {
	bool is_known;       /* reported at least once */
	int64_t seen_ms;     /* when; before the first report the start of this leadership */
	int64_t streamed_ms; /* when its primary last reported it streaming */
	int64_t leased_ms;   /* when it last reported the lease of the present epoch */
	struct instance_report r;
};

struct command {
	uint64_t request_id; /* 0: none */
	enum command_kind kind;
	int target;
	bool is_forced;
	bool is_begun; /* its operation was committed */
};

struct group {
	struct group_record rec;  /* as committed */
	struct group_record next; /* as it will be, while is_committing */
	struct commit pending;
	bool is_committing;
	bool is_moved;         /* the pending commit changes the state */
	bool is_commit_queued; /* the pending commit did not fit into the last update */
	int64_t retry_ms;      /* no commit before */
	int64_t since_ms;      /* when rec.state was entered */
	struct command cmd;
	node_set due; /* nodes that get an order */
	int64_t ordered_ms[MAX_NODES];
	node_set sync_wanted; /* what the primary shall be told to wait for */
	node_set sync_told;   /* sync_wanted of the last order */
	uint64_t sync_beat; /* the primary's newest heartbeat when sync_told changed: orders that answer a later one carry it */
	uint64_t sync_incarnation; /* of the primary's agent then, 0: not told yet */
	int64_t sync_seen_ms;      /* since when the server reports sync_wanted as in force; 0: it does not */
	struct view_instance inst[MAX_NODES];
};

struct reply_due {
	uint64_t request_id, op_id;
	enum err_code code;
	char group[NAME_SIZE];
	char text[256];
};
#define MAX_REPLIES 16

struct ctl {
	const struct profile *profile;
	int self;
	uint64_t generation;
	int64_t start_ms, now_ms;
	int64_t transfer_ms; /* when leadership was given away last */
	bool is_lost;        /* a commit was lost: nothing leaves any more */
	uint64_t last_commit;
	int node_count;
	struct view_node nodes[MAX_NODES];
	size_t group_count;
	struct group *groups; /* owned */
	int reply_count;
	struct reply_due replies[MAX_REPLIES];
};

/* The instance's node was heard with a report recently enough to decide on it. */
bool view_is_fresh(const struct ctl *c, const struct group *g, int node);
/* The node as such was heard recently and does not stop. */
bool view_is_online(const struct ctl *c, int node);
/* Take a heartbeat: node ages, reports, streaming times. Marks orders due. */
void view_heartbeat(struct ctl *c, const struct heartbeat *hb);
const char *view_node_name(const struct ctl *c, int node); /* "nobody" for NODE_NONE */
/* "n2,n3" or "nobody"; buf of size bytes. Returns buf. */
char *view_set_names(const struct ctl *c, node_set s, char *buf, size_t size);

/* Work a group until nothing moves: find the rule that holds, make its commit. */
void fsm_run(struct ctl *c, struct group *g);
/* The outcome of the group's pending commit. */
void fsm_committed(struct ctl *c, struct group *g, enum commit_outcome outcome, uint64_t op_id);
/* Take an operator's command (or queue the reply that refuses it). */
void fsm_command(struct ctl *c, struct group *g, const struct command *cmd);
void fsm_reply(struct ctl *c, const struct reply_due *r);

/* What node's instance shall be now, by the committed record. */
void order_make(const struct ctl *c, const struct group *g, int node, struct order *ret);

#endif
