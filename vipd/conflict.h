/* Who else answers for one of our addresses: a watch on ARP packets whose sender address is a VIP and whose MAC is not ours
 * (filtered in the kernel), and probes that ask actively. */
#ifndef VIPD_CONFLICT_H
#define VIPD_CONFLICT_H

#include "vipd/announce.h"

#define CONFLICT_MAX_PROBES 8

/* mac is NULL when nobody answered. */
typedef void (*conflict_probe_cb)(void *ctx, uint64_t tag, unsigned vip, const uint8_t *mac);

struct conflict_probe {
	struct conflict *owner;
	bool is_running;
	unsigned vip;
	unsigned sent;
	uint64_t tag;
	struct loop_timer timer;
};

struct conflict_port {
	struct conflict *owner;
	const struct netlink_link *link;
	struct loop_io io;
};

struct conflict {
	const struct allow *allow;
	struct announce *announce;
	/* A foreign MAC claims the address; called for each such packet. */
	void (*seen)(void *ctx, unsigned vip, const uint8_t mac[6]);
	conflict_probe_cb probed;
	void *ctx;
	struct conflict_port ports[ALLOW_MAX_VIPS];
	unsigned port_count;
	struct conflict_probe probes[CONFLICT_MAX_PROBES];
};

/* allow, announce (and its net) are borrowed; seen, probed and ctx are to be set by the caller. */
int conflict_open(struct conflict *c, struct announce *announce, struct loop *loop, struct err *e) MUST_USE;
void conflict_close(struct conflict *c);

/* The interface has another index or MAC now. */
int conflict_rebind(struct conflict *c, const struct netlink_link *link, struct err *e) MUST_USE;

/* Ask three times, 50 ms apart; probed() is called once with the tag, at the first answer or 50 ms after the last question. */
int conflict_probe(struct conflict *c, unsigned vip, uint64_t tag, struct err *e) MUST_USE;

#endif
