/* The control process' parts and who calls whom: events come in through control_main.c, the pure cores decide, effects.c
 * carries out. */
#ifndef RUN_CONTROL_H
#define RUN_CONTROL_H

#include "core/agent/agent.h"
#include "core/base/config.h"
#include "core/base/roster.h"
#include "core/base/str.h"
#include "core/base/vip_msg.h"
#include "core/control/control.h"
#include "core/run/child_sock.h"
#include "core/run/codec.h"
#include "core/run/link.h"
#include "core/run/store_session.h"
#include "core/run/store_watch.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* What the local store node says about itself (its node.json, then SHOW mha.node). */
struct member {
	bool is_member;
	char uuid[48];
	char raft_id[24];
	char raft_address[64];
	const struct profile *profile;
};

enum leadership {
	LEADERSHIP_NONE,
	LEADERSHIP_WINNING, /* the generation is being committed */
	LEADERSHIP_ACTIVE   /* this process is the controller */
};

struct control;

/* One instance's mha-dbd. */
struct dbd_client {
	struct control *owner;
	int index;
	struct child_sock *sock;
};

/* The last heartbeat of each node, as it came, so that a new controller starts with what this node has heard. */
struct last_heartbeat {
	char *json; /* owned */
	int64_t at_ms;
	uint64_t generation;
	uint64_t incarnation;
	int64_t incarnation_since_ms;
	struct hb_extra extra;
};

/* The store's schema: what this build of mha-stored knows, what the store has (upgrade.c). 0: not known yet. */
struct schema_state {
	uint64_t known, store;
	int64_t looked_ms;
	bool is_busy, is_wait_said;
};

/* Policies; 0: the default. A node knows them from when it last was the controller. */
struct disk_limits {
	uint64_t percent, mb, leader_mb;
};

/* Room where this node's store lies (disk.c). */
struct disk_state {
	struct disk_limits limits;
	uint64_t free_mb, percent;
	int64_t looked_ms, moved_ms;
	node_set alarmed; /* nodes about which an event was written, by this controller */
	bool is_said;
};

#define MAX_WAITING_REQUESTS 64
#define MAX_LEADER_VIPS      4
struct waiting_request {
	uint64_t id; /* 0: free */
	struct http_request *http;
	int64_t since_ms;
};

struct self_frame {
	struct self_frame *next;
	char *json;
};

struct control {
	struct config *config; /* nodes are merged into it as the cluster grows; everything else stays */
	uv_loop_t *loop;
	int self;
	struct member member;
	struct link_hub *hub;
	struct store_session *store;
	struct store_watch store_watch;
	struct child_sock *vipd;
	struct dbd_client *dbds;
	struct agent *agent; /* NULL until this node is a member */
	bool is_set_saved;   /* the agent's voter set is on disk: without that this node does not vote */
	struct agent_update agent_update;
	struct ctl *ctl; /* NULL unless LEADERSHIP_ACTIVE */
	struct update ctl_update;
	struct frame frame; /* decoding space */
	struct last_heartbeat last[MAX_NODES];
	struct self_frame *self_head, **self_tail;
	bool is_delivering;

	enum leadership leadership;
	uint64_t generation;
	char leader_id[24]; /* raft id, "" or "0": unknown */
	char leader_address[64];
	bool is_leader; /* of Raft, by the last notification */
	uint64_t leader_change;
	int64_t retry_ms;        /* no attempt to win before */
	struct win_job *winning; /* the attempt whose answer counts, while LEADERSHIP_WINNING */
	int64_t sign_ms;         /* when the store last got a sign of life */
	int64_t quorum_ms;       /* last commit or generation that succeeded */

	struct roster roster; /* as last taken; number 0: none yet */
	int64_t relink_ms;    /* when the links are brought in line with it; 0: they are */
	char *revoked;        /* serials of revoked certificates, a JSON list; owned */
	struct schema_state schema;
	struct disk_state disk;
	struct backups *backups;
	struct membership *membership;
	struct trust *trust;
	int leader_vip_count;
	char leader_vips[MAX_LEADER_VIPS][48];
	uint32_t vip_seq; /* of leader VIP requests: the high half of the number space */

	struct waiting_request waiting[MAX_WAITING_REQUESTS];
	uint64_t last_request;
	struct forwards *forwards;

	uv_timer_t timer; /* agent, controller, housekeeping */
	uv_signal_t sigterm, sigint;
	bool is_stopping;
	int64_t stop_ms;
	int exit_code;
	int64_t start_ms;
	bool is_alone_said;
	node_set refused_by;      /* peers that refuse us, or that we refuse as members of another cluster */
	int64_t refused_ms;       /* since when there is one */
	node_set members_met;     /* peers whose hello named our cluster's uuid */
	bool has_accepted_member; /* a member of the cluster has linked with us */
};

/* control_main.c */
void control_arm(struct control *c);            /* set the timer to the earliest deadline */
void control_exit(struct control *c, int code); /* at once */
void control_stop(struct control *c, int code); /* in order: fenced, leases released, then exit with code */
void control_fill_address(struct vip_addr *a, const char *text);
bool control_load_member(struct control *c, struct err *e); /* read node.json; starts the agent when this node is a member */
void control_set_hello(struct control *c);
bool control_save_voters(struct control *c); /* the agent's voter set, synced; false: not done, logged */

/* effects.c: feed the pure cores and carry out what they say */
void effects_agent(struct control *c, const struct agent_event *e);
void effects_controller(struct control *c, const struct event *e);
void effects_send(struct control *c, int node, char *json); /* json is taken */
void effects_frame(struct control *c, const char *peer, const char *json, size_t len);
void effects_leader_vips(struct control *c, uint64_t generation, int64_t deadline_ms);
void effects_fresh_heartbeat(struct control *c); /* of a node that is not a member yet */

/* peers.c: handlers of the links */
bool peers_hello(void *arg, const char *peer, const char *json, char *reason, size_t size);
void peers_up(void *arg, const char *peer);
void peers_down(void *arg, const char *peer, const char *reason);
void peers_refused(void *arg, const char *peer, const char *reason);
bool peers_is_outcast(const struct control *c, int64_t now_ms);

/* leadership.c */
void leadership_notified(struct control *c, const char *payload);
void leadership_lost(struct control *c, const char *why);
void leadership_tick(struct control *c);
/* Revoke what hangs on the controller lease, then release it, then hand Raft leadership to node. */
void leadership_transfer(struct control *c, int node, const char *why);

/* persist.c */
void persist_commit(struct control *c, const struct commit *commit);
/* SQL that reads everything a controller starts from, as one JSON value. Borrowed, static. */
const char *persist_load_sql(void);
uint64_t persist_schema(const char *json); /* the schema's version in what persist_load_sql gave */
int persist_load(struct control *c, const char *json, struct ctl *ctl, struct err *e) MUST_USE;
void persist_quote(struct buf *b, const char *text); /* 'text' as an SQL literal */
/* The statement that lets a transaction fail unless generation still rules. */
void persist_guard(struct buf *b, uint64_t generation);

/* membership.c */
struct membership *membership_new(struct control *c);
void membership_free(struct membership *m);
void membership_begin(struct membership *m, const json_t *all); /* a generation was won: the store's records */
void membership_end(struct membership *m);
void membership_tick(struct membership *m);
/* Why a leaving node has not left yet; "" when nothing keeps it. Borrowed until the next call. */
const char *membership_obstacle(const struct membership *m, int node);
/* A policy was set in the store; names of others are fine. */
#define MEMBERSHIP_GONE_POLICY "replace_after_s"
void membership_policy(struct membership *m, const char *name, const char *value);
bool membership_is_leaving(const struct membership *m, int node);
void membership_joined(struct control *c, const char *uuid, const char *profile); /* a join frame came */

/* nodes.c: who the nodes are */
#define NODES_SQL                                                                                                              \
	"'roster', (SELECT json_object('number', (SELECT number FROM roster_number), 'uuid', (SELECT uuid FROM cluster), "     \
	"'nodes', json_group_array(json_object('name', r.name, 'address', r.address, 'role', r.role, 'failure_domain', "       \
	"r.failure_domain, 'raft_id', coalesce(n.raft_id, ''), 'peer_port', peer_port, 'raft_port', raft_port, 'sql_port', "   \
	"sql_port, 'leaving', leaving_at, 'removed', json(iif(removed_at > 0, 'true', 'false'))))) "                           \
	"FROM roster r LEFT JOIN node n ON n.name = r.name),"                                                                  \
	"'revoked', (SELECT json_group_array(serial) FROM certificate WHERE revoked_at > 0)"
void nodes_start(struct control *c);
void nodes_tick(struct control *c);
void nodes_look(struct control *c);                    /* `mhad join` may have left a roster for a node that runs already */
void nodes_read(struct control *c, const json_t *all); /* the controller's view of the store, with NODES_SQL in it */
bool nodes_frame(struct control *c, const char *peer, const char *json, size_t len); /* false: it is another frame */
void nodes_link_up(struct control *c, const char *peer);
void nodes_fill_agent(const struct control *c, struct agent_node *nodes); /* MAX_NODES places */
void nodes_tell_dbd(struct control *c, int index);
void nodes_tell_vipd(struct control *c);
void nodes_tell_store(struct control *c);
/* The roster or the revocations in the store have changed: read them, keep them, tell everybody. Controller only. */
void roster_refresh(struct control *c);

/* upgrade.c */
void upgrade_connected(struct control *c);                /* the store answers: what does it know? */
void upgrade_loaded(struct control *c, uint64_t version); /* a generation was won over a store of this version */
void upgrade_heard(struct control *c, int node);          /* its heartbeat was kept in c->last */
void upgrade_tick(struct control *c);

/* disk.c */
#define DISK_PERCENT_POLICY "disk_warning_percent"
#define DISK_MB_POLICY      "disk_warning_mb"
#define DISK_LEADER_POLICY  "disk_leader_mb"
void disk_tick(struct control *c);
void disk_policy(struct control *c, const char *name, const char *value); /* as membership_policy */

/* backups.c */
struct backups *backups_new(struct control *c);
void backups_free(struct backups *b);
void backups_tick(struct backups *b);
/* Make one now. r (NULL: nobody asked) is answered when it has ended. */
void backups_begin(struct backups *b, const char *to, struct http_request *r);

/* forward.c: requests that only the controller can answer */
struct forwards *forwards_new(void);
void forwards_free(struct forwards *f);
void forward_request(struct control *c, struct http_request *r, int node); /* r is taken: to that node */
/* False when the frame is none of forwarding. */
bool forward_frame(struct control *c, const char *peer, const char *json, size_t len);
void forward_link_down(struct control *c, const char *peer);
void forward_tick(struct control *c, int64_t now_ms);

/* core/api */
void api_request(void *arg, struct http_request *r);
void api_reply(struct control *c, const struct action *a);
void api_fail_waiting(struct control *c, const char *why);

#endif
