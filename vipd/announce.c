#include "vipd/announce.h"

#include "core/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_AT_ONCE  3
#define REPEAT_MS      15000
#define BURST_SPACE_MS 100

/* Pauses after the first three pairs; then REPEAT_MS for ever. Together: 0.1, 0.5, 1.1 and 5 s. */
static const int pauses_ms[] = {100, 400, 600, 3900};
#define PAUSES (sizeof pauses_ms / sizeof pauses_ms[0])

void announce_build(enum arp_kind kind, const uint8_t mac[6], struct in_addr addr, uint8_t out[ARP_PACKET_SIZE])
{
	static const uint8_t head[] = {0, ARPHRD_ETHER, ETH_P_IP >> 8, ETH_P_IP & 0xff, 6, 4, 0};

	memset(out, 0, ARP_PACKET_SIZE);
	memcpy(out, head, sizeof head);
	out[7] = kind == ARP_ANNOUNCE_REPLY ? ARPOP_REPLY : ARPOP_REQUEST;
	memcpy(out + 8, mac, 6);
	if (kind != ARP_PROBE)
		memcpy(out + 14, &addr, 4);
	if (kind == ARP_ANNOUNCE_REPLY)
		memcpy(out + 18, mac, 6);
	memcpy(out + 24, &addr, 4);
}

static int send_arp(struct announce *a, unsigned vip, enum arp_kind kind, struct err *e)
{
	const struct allow_vip *v = &a->allow->vips[vip];
	const struct netlink_link *link = netlink_find(a->net, v->dev);
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_halen = 6};
	uint8_t packet[ARP_PACKET_SIZE];

	if (link == NULL || link->index == 0 || !link->is_ethernet)
		return err_set(e, ERR_NOTFOUND, "%s: there is no Ethernet interface %s on this host", v->text, v->dev);
	to.sll_ifindex = link->index;
	memset(to.sll_addr, 0xff, 6);
	announce_build(kind, link->mac, v->addr, packet);
	if (sendto(a->fd, packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) < 0)
		return err_sys(e, errno, "%s: ARP on %s", v->text, v->dev);
	return ERR_OK;
}

int announce_probe(struct announce *a, unsigned vip, struct err *e)
{
	return send_arp(a, vip, ARP_PROBE, e);
}

static void send_pairs(struct announce *a, unsigned vip, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		/* A packet that is lost (link down, queue full) is made up for by the schedule. */
		if (!a->is_ours(a->ctx, vip) || send_arp(a, vip, ARP_ANNOUNCE_REQUEST, NULL) != ERR_OK ||
		    send_arp(a, vip, ARP_ANNOUNCE_REPLY, NULL) != ERR_OK)
			return;
	}
}

static void schedule_next(struct announce_slot *s)
{
	int pause_ms = s->step < PAUSES ? pauses_ms[s->step] : REPEAT_MS;

	s->step++;
	loop_set_timer(&s->timer, clock_now_ns() + pause_ms * CLOCK_NS_PER_MS);
}

static void timer_cb(struct loop_timer *t)
{
	struct announce_slot *s = t->ctx;

	send_pairs(s->owner, s->vip, 1);
	schedule_next(s);
}

int announce_open(struct announce *a, const struct allow *allow, const struct netlink *net, struct loop *loop, struct err *e)
{
	unsigned i;

	memset(a, 0, sizeof *a);
	a->allow = allow;
	a->net = net;
	/* Protocol 0: this socket sends only; it never has to be emptied. */
	a->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return err_sys(e, errno, "packet socket");
	for (i = 0; i < allow->vip_count; i++) {
		a->slots[i].owner = a;
		a->slots[i].vip = i;
		a->slots[i].timer.cb = timer_cb;
		a->slots[i].timer.ctx = &a->slots[i];
		loop_add_timer(loop, &a->slots[i].timer);
	}
	return ERR_OK;
}

void announce_close(struct announce *a)
{
	close(a->fd);
}

void announce_start(struct announce *a, unsigned vip)
{
	struct announce_slot *s = &a->slots[vip];

	s->is_on = true;
	s->step = 0;
	s->last_burst_ns = clock_now_ns();
	send_pairs(a, vip, PAIRS_AT_ONCE);
	schedule_next(s);
}

void announce_stop(struct announce *a, unsigned vip)
{
	a->slots[vip].is_on = false;
	loop_clear_timer(&a->slots[vip].timer);
}

bool announce_again(struct announce *a, unsigned vip)
{
	struct announce_slot *s = &a->slots[vip];

	if (!s->is_on || clock_now_ns() - s->last_burst_ns < BURST_SPACE_MS * CLOCK_NS_PER_MS)
		return false;
	announce_start(a, vip);
	return true;
}
