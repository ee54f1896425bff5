/* A simulated cluster: hosts whose control process is the real core/agent and core/control, around a store, database servers,
 * guards, vipds, a network and clients that are models. Everything happens in events; a run is a function of its seed. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "core/agent/agent.h"
#include "tests/sim/engine.h"

#define SIM_NODES     5
#define SIM_GROUPS    2
#define SIM_EPOCHS    512
#define SIM_TIMELINES 1024
#define SIM_MSGS      4096

/* Safety measures that a self-test takes away, to see that an invariant notices. Bits of world.broken. */
enum broken {
	BROKEN_GUARD = 1,      /* the guard does not stop a primary at its deadline (only matters without port fence) */
	BROKEN_PORT = 2,       /* vipd's port and addresses never close by themselves */
	BROKEN_GENERATION = 4, /* the store lets every controller decide */
	BROKEN_UNSAFE = 8,     /* replicas say that they have detached before they have */
	BROKEN_SYNC = 16,      /* servers acknowledge without waiting for a standby */
	BROKEN_RESTART = 32,   /* a crashed primary comes back as a primary by itself */
	BROKEN_TWO = 128,      /* two voters change at once */
	BROKEN_SETTLE = 256,   /* the next change of the voters does not wait for the last one to settle */
	BROKEN_STARTING = 64   /* a restarted voter's clock is told wrong: it grants at once */
};

enum msg_type { MSG_HEARTBEAT, MSG_REPLY, MSG_RELEASE, MSG_ORDER, MSG_DBD, MSG_VIP, MSG_COMMIT };

struct vip_request {
	bool is_release;
	uint64_t epoch;
	int64_t deadline_ms;
	uint32_t seq;
};

struct msg {
	struct msg *next;
	int refs;
	enum msg_type type;
	union {
		struct {
			struct heartbeat hb;
			struct lease_ask asks[SIM_GROUPS + 1];
			struct instance_report reports[SIM_GROUPS];
		} beat;
		struct lease_reply reply;
		struct {
			char resource[LEASE_RESOURCE_SIZE];
			uint64_t value;
		} release;
		struct order order;
		struct dbd_msg dbd;
		struct vip_request vip;
		struct commit commit;
	} u;
};

/* A process of a host. Frozen: its events wait. */
struct proc {
	bool is_up;
	uint64_t run; /* of this run of the process, never 0 while up */
	int64_t frozen_until;
};

/* What a server's files hold: position `pos` of timeline `tl` and everything before. Survives crashes. */
struct content {
	int tl; /* index into world.timelines, -1: no data directory */
	uint64_t pos;
};

struct server {
	uint64_t run; /* 0: no process */
	int64_t frozen_until;
	enum dbd_process phase;
	bool is_primary;
	bool is_writable;     /* its sessions can commit */
	uint64_t order_epoch; /* of the order to be primary, 0: none since the start */
	bool is_clean, is_detached, is_broken;
	struct content has;
	int upstream;     /* node, NODE_NONE */
	uint64_t session; /* of the replication stream it receives, grows */
	bool is_connected;
	uint64_t upstream_run;
	int64_t received_us; /* last message from the upstream, 0: none */
	/* as primary */
	node_set sync,
	        sync_old; /* sync_old: members that may still release a commit until the settings have reached every part */
	uint64_t sync_since;
	bool is_settling;
	int served_tl; /* timeline on which clients have reached it, -1: none */
	struct {
		bool is_streaming;
		uint64_t session;
		uint64_t flushed;
		int64_t heard_us;
	} standby[SIM_NODES];
};

struct guard {
	struct proc proc;
	uint64_t control_run; /* the control process that is connected, 0: none */
	uint64_t seen_epoch, disk_epoch, promoted_epoch;
	int64_t expires_us; /* local clock */
	bool may_write;
	bool is_fenced; /* a fence is under way */
	uint16_t verb;
	uint32_t verb_seq;
	uint64_t verb_token; /* of the verb's end event */
	struct dbd_msg order;
	bool was_writable;
	struct dbd_report report;
	int64_t probed_us, received_us; /* local clock, 0: never */
	char last_error[64];
	uint64_t timer_token;
};

struct host {
	char name[16];
	struct drift clock;
	bool is_up, is_arbiter;
	int64_t frozen_until; /* the whole host; its processes have the same then */
	uint64_t boot;
	struct proc control;
	struct agent *agent;
	struct voter_set disk_voters; /* the newest it knew, survives */
	struct agent_update update;
	struct ctl *ctl;
	uint64_t generation;
	struct last {
		struct msg *beat; /* newest heartbeat of each node */
		int64_t at_ms;
	} last[SIM_NODES];
	bool is_changing; /* the voter set, in a transaction */
	bool is_winning;  /* its generation is being committed */
	bool is_stopping;
	int64_t stop_by_us;
	struct wake {
		int64_t at_us; /* of the tick that counts */
		uint64_t token;
	} agent_wake, ctl_wake;
	int64_t stall_us;        /* the next step's effects leave so much later */
	bool is_leader;          /* its store believes that it leads */
	int64_t control_seen_us; /* when its store heard its control process last */
	int64_t stored_until_ms; /* controller lease as the store has it, local clock */
	struct proc vipd;
	uint64_t vip_seen[SIM_GROUPS];
	int64_t vip_until_us[SIM_GROUPS]; /* kernel: open until, local clock; 0: closed */
	struct guard guards[SIM_GROUPS];
	struct server servers[SIM_GROUPS];
};

struct timeline {
	int parent, group;
	uint64_t fork;
	int number;     /* as PostgreSQL numbers them: parent's plus one */
	uint64_t acked; /* newest position on it that a client was told is committed */
};

struct store {
	int leader; /* NODE_NONE */
	uint64_t term;
	int64_t bad_since, patience;
	uint64_t generation, next_op;
	struct group_record rec[SIM_GROUPS];
	int owner[SIM_GROUPS][SIM_EPOCHS]; /* who was named for an epoch */
};

struct world {
	struct sim_queue q;
	struct rng rng;
	struct trace trace;
	uint64_t seed;
	unsigned broken;
	const struct profile *profile;
	int node_count, group_count;
	bool has_vipd, is_calm; /* is_calm: no more faults */
	bool is_slow_disk;
	struct voter_set voters; /* as committed */
	node_set leaving;        /* asked to vote no more */
	uint64_t last_run;
	struct host hosts[SIM_NODES];
	int cut[SIM_NODES][SIM_NODES]; /* reasons why a is not heard by b */
	int64_t arrival[SIM_NODES][SIM_NODES];
	struct store store;
	struct timeline timelines[SIM_TIMELINES];
	int timeline_count;
	int newest_tl[SIM_GROUPS]; /* of the primary that clients reached last, -1: none */
	struct msg *free_msgs;
	int msg_count;    /* in use */
	struct msg *msgs; /* owned, SIM_MSGS */
	struct update update;
	char violation[256];
	/* statistics over all runs */
	uint64_t events, failovers, switchovers, promotions, faults, acks, commits, lost_commits, set_changes;
	uint64_t dirty; /* something that an invariant looks at may have changed */
};

/* net.c: messages between control processes, and their buffers */
struct msg *msg_new(struct world *w, enum msg_type type);
void msg_drop(struct world *w, struct msg *m);
void msg_reset(struct world *w);
bool net_is_cut(const struct world *w, int from, int to);
void net_send(struct world *w, int from, int to, struct msg *m, int64_t stall_us);

/* node.c: hosts and control processes */
void host_boot(struct world *w, int node);
void host_crash(struct world *w, int node);
void control_start(struct world *w, int node);
void control_crash(struct world *w, int node);
void control_deliver(struct world *w, int node, struct agent_event *e);
void control_message(void *world, const struct sim_event *e);
void control_begin_stop(struct world *w, int node);
/* Events of the store for the control process. */
void control_leads(struct world *w, int node, uint64_t generation, const struct group_record *rec);
void control_hands_over(struct world *w, int node);
void control_deposed(struct world *w, int node);
void control_ctl_event(struct world *w, int node, struct event *e);
static inline int64_t local_ms(const struct world *w, int node)
{
	return drift_local_ms(&w->hosts[node].clock, w->q.now_us);
}
static inline int64_t local_us(const struct world *w, int node)
{
	return drift_local_us(&w->hosts[node].clock, w->q.now_us);
}
/* A frozen process' event waits; true when it was put back. */
bool put_back(struct world *w, const struct sim_event *e, int64_t frozen_until);

/* raft.c: who leads the store, and what it has committed */
void raft_start(struct world *w);
void raft_commit(struct world *w, int node, const struct commit *c);
void raft_change_voters(struct world *w, int node, const struct voter_set *next);
void raft_win_generation(struct world *w, int node);
void raft_transfer(struct world *w, int from, int to);
void raft_node_died(struct world *w, int node);

/* members.c */
void members_start(struct world *w);
void members_tick(struct world *w, int node);

/* guard.c: mha-dbd */
void guard_start(struct world *w, int node, int group);
void guard_crash(struct world *w, int node, int group);
void guard_connect(struct world *w, int node, int group);
void guard_request(struct world *w, int node, int group, const struct dbd_msg *m, int64_t stall_us);
void guard_server_ended(struct world *w, int node, int group, bool is_ordered);
void guard_report(struct world *w, int node, int group);
void guard_verb_done(struct world *w, int node, int group, int rc, const char *text);

/* verbs.c: what the driver does */
bool verb_begin(struct world *w, int node, int group, const struct dbd_msg *m);

/* server.c: database servers, replication, clients */
void server_start(struct world *w, int node, int group, int upstream);
void server_end(struct world *w, int node, int group, bool is_clean);
void server_promoted(struct world *w, int node, int group, node_set sync);
void server_follow(struct world *w, int node, int group, int upstream);
void server_disconnect(struct world *w, int node, int group);
void server_settle_acks(struct world *w, int node, int group);
bool content_has(const struct world *w, const struct content *c, int tl, uint64_t pos);
void server_pump(void *world, const struct sim_event *e);

/* vip.c: mha-vipd and the kernel's leases */
void vip_start(struct world *w, int node);
void vip_crash(struct world *w, int node);
void vip_connect(struct world *w, int node);
void vip_request(struct world *w, int node, int group, const struct vip_request *r, int64_t stall_us);
bool vip_is_open(const struct world *w, int node, int group);
/* Clients can reach the server's port on this host now. */
bool port_is_open(const struct world *w, int node, int group);

/* faults.c */
void faults_start(struct world *w);
void faults_heal(struct world *w);
void commands_start(struct world *w);

/* check.c: the invariants */
void violate(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_instant(struct world *w);
void check_ack(struct world *w, int node, int group, int tl, uint64_t pos);
void check_promoted(struct world *w, int node, int group, uint64_t epoch);
void check_served(struct world *w, int node, int group);
void check_live(struct world *w);

/* world.c */
void world_run(struct world *w, uint64_t seed, int64_t length_us);
void world_done(struct world *w);

#define LOG(w, node, ...) trace_line(&(w)->trace, (w)->hosts[node].name, __VA_ARGS__)

#endif
