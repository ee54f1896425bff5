#include "vipd/conflict.h"

#include "core/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBES        3
#define PROBE_WAIT_MS 50
/* Packets per round: a flood of ARP must not keep the loop from its timers. */
#define MAX_READS 64

#define OFF_SENDER_MAC  8
#define OFF_SENDER_ADDR 14

#define ACCEPT BPF_STMT(BPF_RET | BPF_K, 0xffff)
#define IGNORE BPF_STMT(BPF_RET | BPF_K, 0)

/* "sender address is a VIP of this interface, and the sender's MAC is not ours" as a socket filter. Returns its length. */
static unsigned short build_filter(const struct allow *a, const struct netlink_link *link, struct sock_filter *f)
{
	uint32_t mac_high =
	        (uint32_t)link->mac[0] << 24 | (uint32_t)link->mac[1] << 16 | (uint32_t)link->mac[2] << 8 | link->mac[3];
	uint32_t mac_low = (uint32_t)link->mac[4] << 8 | link->mac[5];
	unsigned short n = 0;
	unsigned i;

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OFF_SENDER_ADDR);
	for (i = 0; i < a->vip_count; i++) {
		if (strcmp(a->vips[i].dev, link->name) != 0)
			continue;
		/* Equal: on to the JA, which leaves the list; else over it to the next comparison. */
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(a->vips[i].addr.s_addr), 0, 1);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0);
	}
	f[n++] = (struct sock_filter)IGNORE;
	/* Every JA above jumps here, over the rest of the list. */
	for (i = 1; i < n; i++)
		if (f[i].code == (BPF_JMP | BPF_JA))
			f[i].k = n - i - 1;
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OFF_SENDER_MAC);
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mac_high, 0, 3);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS, OFF_SENDER_MAC + 4);
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mac_low, 0, 1);
	f[n++] = (struct sock_filter)IGNORE;
	f[n++] = (struct sock_filter)ACCEPT;
	return n;
}

static int bind_port(struct conflict_port *p, struct err *e)
{
	struct sock_filter code[2 * ALLOW_MAX_VIPS + 10];
	struct sock_fprog program = {.filter = code};
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP)};

	program.len = build_filter(p->owner->allow, p->link, code);
	at.sll_ifindex = p->link->index;
	if (setsockopt(p->io.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
		return err_sys(e, errno, "ARP watch on %s", p->link->name);
	/* Without the interface the socket hears nothing until conflict_rebind. */
	if (p->link->index != 0 && bind(p->io.fd, (struct sockaddr *)&at, sizeof at) != 0)
		return err_sys(e, errno, "ARP watch on %s", p->link->name);
	return ERR_OK;
}

int conflict_rebind(struct conflict *c, const struct netlink_link *link, struct err *e)
{
	unsigned i;

	for (i = 0; i < c->port_count; i++)
		if (c->ports[i].link == link)
			return bind_port(&c->ports[i], e);
	return ERR_OK;
}

static void end_probe(struct conflict_probe *p, const uint8_t *mac)
{
	p->is_running = false;
	loop_clear_timer(&p->timer);
	p->owner->probed(p->owner->ctx, p->tag, p->vip, mac);
}

static void hear(struct conflict_port *p, const uint8_t *packet)
{
	struct conflict *c = p->owner;
	struct in_addr addr;
	unsigned i;
	int vip;

	memcpy(&addr, packet + OFF_SENDER_ADDR, sizeof addr);
	vip = allow_find_vip(c->allow, addr);
	if (vip < 0 || memcmp(packet + OFF_SENDER_MAC, p->link->mac, 6) == 0)
		return;
	for (i = 0; i < CONFLICT_MAX_PROBES; i++)
		if (c->probes[i].is_running && c->probes[i].vip == (unsigned)vip)
			end_probe(&c->probes[i], packet + OFF_SENDER_MAC);
	c->seen(c->ctx, (unsigned)vip, packet + OFF_SENDER_MAC);
}

static void port_cb(struct loop_io *io)
{
	uint8_t packet[64];
	int i;

	for (i = 0; i < MAX_READS; i++) {
		ssize_t n = recv(io->fd, packet, sizeof packet, MSG_DONTWAIT);

		/* ENETDOWN: the interface went down; anything else: nothing more waits. */
		if (n < 0 && errno != ENETDOWN)
			return;
		if (n >= ARP_PACKET_SIZE)
			hear(io->ctx, packet);
	}
}

static void probe_cb(struct loop_timer *t)
{
	struct conflict_probe *p = t->ctx;

	if (p->sent == PROBES) {
		end_probe(p, NULL);
		return;
	}
	/* A question that could not be sent counts as asked: the first one could (see conflict_probe). */
	if (announce_probe(p->owner->announce, p->vip, NULL) == ERR_OK || p->sent > 0)
		p->sent++;
	loop_set_timer(t, clock_now_ns() + PROBE_WAIT_MS * CLOCK_NS_PER_MS);
}

int conflict_probe(struct conflict *c, unsigned vip, uint64_t tag, struct err *e)
{
	struct conflict_probe *p = NULL;
	unsigned i;
	int rc;

	for (i = 0; i < CONFLICT_MAX_PROBES && p == NULL; i++)
		if (!c->probes[i].is_running)
			p = &c->probes[i];
	if (p == NULL)
		return err_set(e, ERR_REFUSED, "%d probes are running already; wait for their replies", CONFLICT_MAX_PROBES);
	rc = announce_probe(c->announce, vip, e);
	if (rc != ERR_OK)
		return rc;
	p->is_running = true;
	p->vip = vip;
	p->tag = tag;
	p->sent = 1;
	loop_set_timer(&p->timer, clock_now_ns() + PROBE_WAIT_MS * CLOCK_NS_PER_MS);
	return ERR_OK;
}

static int open_port(struct conflict *c, const struct netlink_link *link, struct loop *loop, struct err *e)
{
	struct conflict_port *p = &c->ports[c->port_count];
	int rc;

	/* Protocol 0 until the filter is in place: nothing unfiltered is ever received. */
	p->io.fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->io.fd < 0)
		return err_sys(e, errno, "packet socket");
	c->port_count++;
	p->owner = c;
	p->link = link;
	p->io.cb = port_cb;
	p->io.ctx = p;
	rc = bind_port(p, e);
	return rc == ERR_OK ? loop_add_io(loop, &p->io, e) : rc;
}

int conflict_open(struct conflict *c, struct announce *announce, struct loop *loop, struct err *e)
{
	unsigned i;
	int rc = ERR_OK;

	memset(c, 0, sizeof *c);
	c->allow = announce->allow;
	c->announce = announce;
	for (i = 0; i < CONFLICT_MAX_PROBES; i++) {
		c->probes[i].owner = c;
		c->probes[i].timer.cb = probe_cb;
		c->probes[i].timer.ctx = &c->probes[i];
		loop_add_timer(loop, &c->probes[i].timer);
	}
	for (i = 0; i < announce->net->link_count && rc == ERR_OK; i++)
		rc = open_port(c, &announce->net->links[i], loop, e);
	if (rc != ERR_OK)
		conflict_close(c);
	return rc;
}

void conflict_close(struct conflict *c)
{
	unsigned i;

	for (i = 0; i < c->port_count; i++)
		close(c->ports[i].io.fd);
	c->port_count = 0;
}
