/* This node's side, pure like the controller: time and events in, effects out. It votes on leases, holds leases for the roles
 * this node was given, drives its instances to what was ordered, and says in each heartbeat what it sees. The run layer carries
 * messages and owns the sockets; the simulator runs the same code. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "core/base/dbd_msg.h"
#include "core/control/control.h"
#include "core/control/quorum_lease.h"
#include "core/control/report.h"

struct agent;

#define AGENT_MAX_INSTANCES 64

struct agent_node {
	char name[NAME_SIZE];
	char host[64]; /* numeric address */
	bool is_arbiter;
};

struct agent_instance {
	char group[NAME_SIZE];
	uint16_t port;
};

struct agent_setup {
	const struct profile *profile;
	int self;
	int node_count;
	const struct agent_node *nodes; /* copied */
	int instance_count;
	const struct agent_instance *instances; /* copied */
	uint64_t incarnation;                   /* random */
	bool has_vipd;                          /* VIP support is on */
};

struct agent *agent_new(const struct agent_setup *s, int64_t now_ms);
void agent_free(struct agent *a);

enum agent_event_type {
	AGENT_TICK,
	AGENT_HEARTBEAT, /* from any node, this one included (the run layer delivers it) */
	AGENT_LEASE_REPLY,
	AGENT_RELEASE, /* another node gives up a lease: this voter forgets its grant */
	AGENT_ORDER,
	AGENT_DBD,    /* a reply or report of the instance's mha-dbd */
	AGENT_DBD_UP, /* connected (it may have been restarted) */
	AGENT_DBD_DOWN,
	AGENT_VIPD_UP, /* the run layer asks it for its status at once and delivers that as AGENT_VIP_REPLY */
	AGENT_VIPD_DOWN,
	AGENT_VIP_REPLY,
	AGENT_GENERATION, /* this node's controller won a generation: hold the controller lease; 0: it is no controller any
	                     more. The grants are not released here: only the run layer knows when the store serves no more
	                     reads under them. */
	AGENT_STOP        /* orderly stop of this node: stop servers, release leases; agent_is_stopped() tells when */
};

struct agent_event {
	enum agent_event_type type;
	int64_t now_ms;
	union {
		const struct heartbeat *heartbeat;
		const struct lease_reply *reply;
		struct {
			char resource[LEASE_RESOURCE_SIZE];
			uint64_t value;
		} release;
		const struct order *order;
		struct {
			int instance;
			const struct dbd_msg *msg;
		} dbd;
		struct {
			uint32_t seq;
			int rc;
			uint32_t flags;
			const char *owner;
			uint64_t epoch;
		} vip; /* flags: enum vip_msg_flags */
		uint64_t generation;
	} u;
};

enum agent_action_type {
	AGENT_SEND_HEARTBEAT, /* to every node, this one included: agent_heartbeat() */
	AGENT_SAVE_VOTERS,  /* agent_voters() is new: keep it on disk before the replies that follow are sent, else do not send
	                       them */
	AGENT_SEND_REPLY,   /* lease_reply to `node` */
	AGENT_SEND_RELEASE, /* resource and value to every node, this one included */
	AGENT_SEND_DBD,     /* dbd_msg to instance `index` (version and type filled) */
	AGENT_SEND_VIP_LEASE, /* owner, epoch, deadline_ms, addresses, ports */
	AGENT_SEND_VIP_RELEASE,
	AGENT_STORE_LEASE, /* controller lease: value = generation, deadline_ms */
	AGENT_KILL_VIPD,   /* it does not answer: the parent will start a new one */
	AGENT_KILL_DBD,    /* same for the guard of instance `index` */
	AGENT_LOG          /* text about group, for the log */
};

struct agent_action {
	enum agent_action_type type;
	int node;  /* SEND_REPLY */
	int index; /* SEND_DBD, KILL_DBD */
	uint64_t value;
	int64_t deadline_ms;                /* CLOCK_BOOTTIME, valid until: the receiver gets exactly this deadline */
	uint32_t seq;                       /* VIP requests: answered by AGENT_VIP_REPLY */
	char resource[LEASE_RESOURCE_SIZE]; /* or VIP owner */
	union {
		struct lease_reply reply;
		struct dbd_msg dbd;
		struct {
			int addr_count, port_count;
			char addrs[MAX_VIPS][48];
			uint16_t ports[4];
		} vip;
		char text[256];
	} u;
};

/* A growing list, reused between steps; agent_update_done frees it. Zero-initialised is empty. */
struct agent_update {
	size_t count, cap;
	struct agent_action *actions;
};
void agent_update_done(struct agent_update *u);

int agent_step(struct agent *a, const struct agent_event *e, struct agent_update *u);
int64_t agent_deadline(const struct agent *a);

/* The heartbeat that an AGENT_SEND_HEARTBEAT of the last step means. Borrowed until the next step. */
const struct heartbeat *agent_heartbeat(const struct agent *a);

/* The cluster has grown, or an address has changed: nodes[count], in the places known so far, new ones at the end. */
void agent_set_nodes(struct agent *a, const struct agent_node *nodes, int count);

/* The newest voter set this node knows; the run layer sets it from the store and keeps it on disk (AGENT_SAVE_VOTERS). */
void agent_set_voters(struct agent *a, const struct voter_set *set);
const struct voter_set *agent_voters(const struct agent *a);
/* This node's controller may let another set follow the present one, see lease_is_settled. */
bool agent_voters_settled(const struct agent *a, int64_t now_ms);

bool agent_lease_is_valid(const struct agent *a, const char *resource, int64_t now_ms);
bool agent_is_stopped(const struct agent *a);

#endif
