/* Gratuitous ARP: tells the network which MAC has an address. Network gear differs in whether it learns from requests or
 * replies, so both are sent: three pairs at once, more after 0.1, 0.5, 1.1 and 5 s, then one pair every 15 s. */
#ifndef VIPD_ANNOUNCE_H
#define VIPD_ANNOUNCE_H

#include "vipd/loop.h"
#include "vipd/netlink.h"

#define ARP_PACKET_SIZE 28

struct announce_slot {
	struct announce *owner;
	unsigned vip;
	unsigned step; /* of the schedule */
	bool is_on;
	int64_t last_burst_ns;
	struct loop_timer timer;
};

struct announce {
	int fd; /* kept open: closing a packet socket takes 15 ms */
	const struct allow *allow;
	const struct netlink *net;
	/* Asked right before each packet: packets of this kind pass by the firewall, so a lapsed lease must be seen here. */
	bool (*is_ours)(void *ctx, unsigned vip);
	void *ctx;
	struct announce_slot slots[ALLOW_MAX_VIPS];
};

/* allow, net and loop are borrowed; a->is_ours and a->ctx are to be set by the caller. */
int announce_open(struct announce *a, const struct allow *allow, const struct netlink *net, struct loop *loop,
                  struct err *e) MUST_USE;
void announce_close(struct announce *a);

/* Begin the schedule for an address, or begin it again when it runs. */
void announce_start(struct announce *a, unsigned vip);
void announce_stop(struct announce *a, unsigned vip);

/* Begin again what runs, because of a conflict or a link that came back; at most every 100 ms (false: it was too soon). */
bool announce_again(struct announce *a, unsigned vip);

/* One ARP probe: who has this address? (sender address 0, which changes nobody's cache) */
int announce_probe(struct announce *a, unsigned vip, struct err *e) MUST_USE;

enum arp_kind { ARP_ANNOUNCE_REQUEST, ARP_ANNOUNCE_REPLY, ARP_PROBE };

/* The ARP packet without its Ethernet header. */
void announce_build(enum arp_kind kind, const uint8_t mac[6], struct in_addr addr, uint8_t out[ARP_PACKET_SIZE]);

#endif
