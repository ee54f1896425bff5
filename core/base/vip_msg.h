/* What the control process and mha-vipd say to each other: one struct vip_msg per SOCK_SEQPACKET packet, nothing else.
 * control sends requests (seq > 0) and vipd answers each with VIP_REPLY of the same seq; vipd sends VIP_EVENT (seq 0) unasked.
 */
#ifndef BASE_VIP_MSG_H
#define BASE_VIP_MSG_H

#include <stdint.h>

#define VIP_MSG_VERSION 2
#define VIP_MSG_ADDRS   16
#define VIP_MSG_PORTS   4

enum vip_msg_type {
	VIP_LEASE =
	        1, /* hold `addrs` and `ports` for `owner` under `epoch` until `deadline_ns`; acquires or renews, idempotent */
	VIP_RELEASE, /* give everything of `owner` up now (epoch checked like a lease's); idempotent */
	VIP_PROBE,   /* does another machine answer for addrs[0]? reply: flags VIP_F_CONFLICT and mac */
	VIP_STATUS,  /* reply: what is held for `owner` */
	VIP_REPLY,
	VIP_EVENT,
	/* addrs: the cluster's data nodes as the roster has them (owner, ports, epoch and deadline are not looked at). From now
	   on the closed database ports let pass: the `peer` lines of vip.allow, and those of addrs that lie inside one of its
	   `peer-net` lines. The list replaces the one before; addr_count 0 leaves the `peer` lines. Those that fit are in force
	   even when the reply is ERR_REFUSED, whose text names the first one that vip.allow does not cover. Idempotent and
	   cheap. vipd keeps nothing of it: send it at every connect (before any lease) and whenever the roster changes. */
	VIP_PEERS
};

enum vip_msg_flags {
	VIP_F_HELD = 1,         /* the owner's lease is in force here */
	VIP_F_FENCE_ACTIVE = 2, /* the nft rules are loaded: the port and the VIP close at the deadline whatever we do */
	VIP_F_CONFLICT = 4      /* somebody else answers for the address; mac says who */
};

/* IPv4 as ::ffff:a.b.c.d. */
struct vip_addr {
	uint8_t ip[16];
};

struct vip_msg {
	uint16_t version; /* VIP_MSG_VERSION */
	uint16_t type;    /* enum vip_msg_type */
	uint32_t seq;
	int32_t rc;          /* in a reply: enum err_code */
	uint32_t flags;      /* in a reply or event: enum vip_msg_flags */
	uint64_t epoch;      /* lower than one seen before for this owner: ERR_REFUSED */
	int64_t deadline_ns; /* CLOCK_BOOTTIME */
	char owner[72];      /* "group:main", "leader" */
	uint16_t addr_count;
	uint16_t port_count;
	uint16_t ports[VIP_MSG_PORTS]; /* database ports of this host that open under this lease */
	uint8_t mac[6];
	uint8_t pad[6];
	struct vip_addr addrs[VIP_MSG_ADDRS]; /* interface and prefix come from vip.allow */
	char text[256];                       /* in a reply or event: the reason, for people */
};

#endif
