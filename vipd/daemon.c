#include "vipd/daemon.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "vipd/announce.h"
#include "vipd/conflict.h"
#include "vipd/cut.h"
#include "vipd/lease.h"
#include "vipd/nft.h"
#include "vipd/peers.h"
#include "vipd/protocol.h"
#include "vipd/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define OBJ             "vipd"
#define ADDRESS_TICK_MS 1000
#define CONFLICT_SAY_MS 1000

static struct {
	struct allow allow;
	struct loop loop;
	struct netlink net;
	struct nft nft;
	struct cut cut;
	struct announce announce;
	struct conflict conflict;
	struct lease_table leases;
	struct protocol protocol;
	struct loop_io net_io, nft_io, signal_io;
	struct loop_timer deadline, tick;
	int64_t conflict_said_ns[ALLOW_MAX_VIPS];
} d;

/* --- saying it: the log and the control process hear the same words --- */

static uint32_t flags_of(const struct lease *l)
{
	uint32_t flags = 0;

	if (l != NULL && l->is_held && l->deadline_ns > clock_now_ns())
		flags |= VIP_F_HELD;
	if (nft_is_active(&d.nft))
		flags |= VIP_F_FENCE_ACTIVE;
	return flags;
}

static void tell(const struct lease *l, int vip, uint32_t more_flags, const uint8_t *mac, const char *text)
{
	struct vip_msg m = {0};

	log_warn(l != NULL ? l->owner : OBJ, "%s", text);
	m.flags = flags_of(l) | more_flags;
	if (l != NULL) {
		m.epoch = l->epoch;
		m.deadline_ns = l->deadline_ns;
		str_copy(m.owner, sizeof m.owner, l->owner);
	}
	if (vip >= 0) {
		m.addr_count = 1;
		protocol_put_address(&m.addrs[0], d.allow.vips[vip].addr);
	}
	if (mac != NULL)
		memcpy(m.mac, mac, sizeof m.mac);
	str_copy(m.text, sizeof m.text, text);
	protocol_event(&d.protocol, &m);
}

/* --- what a lease does to the kernel (struct lease_ops) --- */

static int64_t op_now_ns(void *ctx)
{
	(void)ctx;
	return clock_now_ns();
}

static int op_fence_open(void *ctx, const struct vip_set *what, int64_t deadline_ns, struct err *e)
{
	(void)ctx;
	return nft_open_lease(&d.nft, what, deadline_ns, e);
}

static int op_fence_close(void *ctx, const struct vip_set *what, struct err *e)
{
	(void)ctx;
	return nft_close_lease(&d.nft, what, e);
}

static int op_address_set(void *ctx, unsigned vip, struct err *e)
{
	(void)ctx;
	return netlink_set_address(&d.net, &d.allow.vips[vip], e);
}

static int op_address_remove(void *ctx, unsigned vip, struct err *e)
{
	(void)ctx;
	return netlink_remove_address(&d.net, &d.allow.vips[vip], NULL, e);
}

static void op_cut_clients(void *ctx, const struct vip_set *what)
{
	struct err e = ERR_INIT;
	unsigned count = 0;

	(void)ctx;
	if (cut_clients(&d.cut, &d.allow, what, &count, &e) != ERR_OK)
		log_warn(OBJ, "%s", e.text);
	if (count > 0)
		log_info(OBJ, "%u client connections reset", count);
}

static void op_announce(void *ctx, unsigned vip, bool is_on)
{
	(void)ctx;
	if (is_on)
		announce_start(&d.announce, vip);
	else
		announce_stop(&d.announce, vip);
}

static void op_complain(void *ctx, const char *owner, const struct err *e)
{
	(void)ctx;
	tell(lease_find(&d.leases, owner), -1, 0, NULL, e->text);
}

static void op_lapsed(void *ctx, const struct lease *l)
{
	char text[256];

	(void)ctx;
	snprintf(text, sizeof text,
	         "the lease of epoch %" PRIu64 " was not renewed and ended at its deadline: everything of it is closed",
	         l->epoch);
	tell(l, -1, 0, NULL, text);
}

static const struct lease_ops lease_ops = {
        .now_ns = op_now_ns,
        .fence_open = op_fence_open,
        .fence_close = op_fence_close,
        .address_set = op_address_set,
        .address_remove = op_address_remove,
        .cut_clients = op_cut_clients,
        .announce = op_announce,
        .complain = op_complain,
        .lapsed = op_lapsed,
};

static bool is_ours(void *ctx, unsigned vip)
{
	(void)ctx;
	return lease_of_vip(&d.leases, vip) != NULL;
}

/* --- what comes in --- */

/* To be called at the end of every callback that may have changed a lease or the fence. */
static void settle(void)
{
	int64_t next = lease_next_deadline(&d.leases);

	if (next > 0)
		loop_set_timer(&d.deadline, next);
	else
		loop_clear_timer(&d.deadline);
	if (d.nft.is_lost)
		loop_stop(&d.loop);
}

static void fill_reply(struct vip_msg *reply, const char *owner, int rc, const struct err *e)
{
	const struct lease *l = lease_find(&d.leases, owner);

	reply->rc = rc;
	reply->flags = flags_of(l);
	if (rc != ERR_OK)
		str_copy(reply->text, sizeof reply->text, e->text);
	if (l != NULL) {
		reply->epoch = l->epoch;
		reply->deadline_ns = l->deadline_ns;
	}
}

static void take(const struct vip_msg *m, const struct vip_set *what, struct vip_msg *reply)
{
	struct lease_request r = {.owner = m->owner, .epoch = m->epoch, .deadline_ns = m->deadline_ns, .what = *what};
	const struct lease *l = lease_find(&d.leases, m->owner);
	bool was_held = l != NULL && l->is_held && l->deadline_ns > clock_now_ns();
	struct err e = ERR_INIT;
	char text[200];
	int rc = lease_take(&d.leases, &r, &e);

	if (rc != ERR_OK)
		log_warn(m->owner, "lease of epoch %" PRIu64 " not taken: %s", m->epoch, e.text);
	else if (!was_held)
		log_info(m->owner, "lease of epoch %" PRIu64 " taken for %" PRId64 " ms: %s", m->epoch,
		         (m->deadline_ns - clock_now_ns()) / CLOCK_NS_PER_MS,
		         allow_describe(&d.allow, what, text, sizeof text));
	fill_reply(reply, m->owner, rc, &e);
}

static void release(const struct vip_msg *m, struct vip_msg *reply)
{
	const struct lease *l = lease_find(&d.leases, m->owner);
	bool was_held = l != NULL && l->is_held;
	struct err e = ERR_INIT;
	int rc = lease_release(&d.leases, m->owner, m->epoch, &e);

	if (rc != ERR_OK)
		log_warn(m->owner, "not released: %s", e.text);
	else if (was_held)
		log_info(m->owner, "lease of epoch %" PRIu64 " released", m->epoch);
	fill_reply(reply, m->owner, rc, &e);
}

static void report(const struct vip_msg *m, struct vip_msg *reply)
{
	const struct lease *l = lease_find(&d.leases, m->owner);
	unsigned i;

	reply->epoch = 0;
	reply->deadline_ns = 0;
	reply->addr_count = reply->port_count = 0;
	for (i = 0; l != NULL && i < d.allow.vip_count && reply->addr_count < VIP_MSG_ADDRS; i++)
		if ((l->what.vips >> i & 1) != 0)
			protocol_put_address(&reply->addrs[reply->addr_count++], d.allow.vips[i].addr);
	for (i = 0; l != NULL && i < d.allow.port_count && reply->port_count < VIP_MSG_PORTS; i++)
		if ((l->what.ports >> i & 1) != 0)
			reply->ports[reply->port_count++] = d.allow.ports[i];
	fill_reply(reply, m->owner, ERR_OK, NULL);
}

static void name_peers(const struct vip_msg *m, struct vip_msg *reply)
{
	struct err e = ERR_INIT;

	reply->rc = peers_take(&d.allow, &d.nft, m, &e);
	reply->flags = flags_of(NULL);
	str_copy(reply->text, sizeof reply->text, e.text);
}

static bool handle_request(void *ctx, const struct vip_msg *m, const struct vip_set *what, uint64_t tag, struct vip_msg *reply)
{
	struct err e = ERR_INIT;

	(void)ctx;
	switch (m->type) {
	case VIP_LEASE:
		take(m, what, reply);
		break;
	case VIP_RELEASE:
		release(m, reply);
		break;
	case VIP_PEERS:
		name_peers(m, reply);
		break;
	case VIP_STATUS:
		lease_expire(&d.leases);
		report(m, reply);
		break;
	default: /* VIP_PROBE */
		reply->rc = conflict_probe(&d.conflict, (unsigned)__builtin_ctz(what->vips), tag, &e);
		str_copy(reply->text, sizeof reply->text, e.text);
		return reply->rc != ERR_OK;
	}
	settle();
	return true;
}

static const struct protocol_ops protocol_ops = {.request = handle_request};

static void probed(void *ctx, uint64_t tag, unsigned vip, const uint8_t *mac)
{
	struct vip_msg reply = {.addr_count = 1};

	(void)ctx;
	protocol_put_address(&reply.addrs[0], d.allow.vips[vip].addr);
	reply.flags = flags_of(lease_of_vip(&d.leases, vip));
	if (mac != NULL) {
		reply.flags |= VIP_F_CONFLICT;
		memcpy(reply.mac, mac, sizeof reply.mac);
		snprintf(reply.text, sizeof reply.text, "%02x:%02x:%02x:%02x:%02x:%02x answers for %s", mac[0], mac[1], mac[2],
		         mac[3], mac[4], mac[5], d.allow.vips[vip].text);
	}
	protocol_answer(&d.protocol, tag, &reply);
}

/* Somebody else claims the address. While our lease holds we are right and say so; without one we are the wrong one and keep
 * silent. */
static void conflict_seen(void *ctx, unsigned vip, const uint8_t mac[6])
{
	const struct lease *l = lease_of_vip(&d.leases, vip);
	int64_t now = clock_now_ns();
	char text[200];

	(void)ctx;
	if (l == NULL)
		return;
	announce_again(&d.announce, vip);
	if (d.conflict_said_ns[vip] != 0 && now - d.conflict_said_ns[vip] < CONFLICT_SAY_MS * CLOCK_NS_PER_MS)
		return;
	d.conflict_said_ns[vip] = now;
	snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x claims %s, which is held here: announced again", mac[0],
	         mac[1], mac[2], mac[3], mac[4], mac[5], d.allow.vips[vip].text);
	tell(l, (int)vip, VIP_F_CONFLICT, mac, text);
}

static void link_changed(void *ctx, const struct netlink_link *link, const struct netlink_link *was)
{
	bool is_other = link->index != was->index || memcmp(link->mac, was->mac, sizeof link->mac) != 0;
	struct err e = ERR_INIT;
	unsigned i;

	(void)ctx;
	if (is_other && conflict_rebind(&d.conflict, link, &e) != ERR_OK)
		log_warn(link->name, "%s", e.text);
	if (!link->is_running || (was->is_running && !is_other))
		return;
	log_info(link->name, "the link is up");
	for (i = 0; i < d.allow.vip_count; i++)
		if (strcmp(d.allow.vips[i].dev, link->name) == 0)
			announce_again(&d.announce, i);
}

static void address_removed(void *ctx, const struct netlink_link *link, struct in_addr addr)
{
	int vip = allow_find_vip(&d.allow, addr);
	const struct lease *l = vip >= 0 ? lease_of_vip(&d.leases, (unsigned)vip) : NULL;
	struct err e = ERR_INIT;
	char text[700];

	(void)ctx;
	if (l == NULL || strcmp(d.allow.vips[vip].dev, link->name) != 0)
		return;
	if (op_address_set(NULL, (unsigned)vip, &e) == ERR_OK)
		snprintf(text, sizeof text, "%s was removed from %s by somebody else: added again", d.allow.vips[vip].text,
		         link->name);
	else
		snprintf(text, sizeof text, "%s was removed from %s and cannot be added again: %s", d.allow.vips[vip].text,
		         link->name, e.text);
	announce_again(&d.announce, (unsigned)vip);
	tell(l, vip, 0, NULL, text);
}

static void net_overrun(void *ctx)
{
	(void)ctx;
	lease_refresh_addresses(&d.leases);
}

static const struct netlink_events net_events = {
        .link_changed = link_changed,
        .address_removed = address_removed,
        .overrun = net_overrun,
};

static void deadline_cb(struct loop_timer *t)
{
	(void)t;
	lease_expire(&d.leases);
	settle();
}

static void tick_cb(struct loop_timer *t)
{
	lease_refresh_addresses(&d.leases);
	loop_set_timer(t, clock_now_ns() + ADDRESS_TICK_MS * CLOCK_NS_PER_MS);
	settle();
}

static void net_cb(struct loop_io *io)
{
	(void)io;
	netlink_read(&d.net);
	settle();
}

static void nft_cb(struct loop_io *io)
{
	(void)io;
	nft_read(&d.nft);
	settle();
}

static void signal_cb(struct loop_io *io)
{
	struct signalfd_siginfo info;

	if (read(io->fd, &info, sizeof info) == (ssize_t)sizeof info)
		loop_stop(&d.loop);
}

/* --- start and end --- */

static void open_fence(const char *table)
{
	struct err e = ERR_INIT;

	if (nft_open(&d.nft, &d.allow, table, &e) != ERR_OK)
		log_error(OBJ,
		          "the firewall cannot fence: %s. Without it a frozen host keeps an address up to %d s after its last "
		          "renewal "
		          "and database ports stay open",
		          e.text, NETLINK_ADDRESS_LIFETIME_S + 1);
}

/* An earlier mha-vipd may have been killed while it held something. The fence has closed it already. */
static int remove_leftovers(struct err *e)
{
	struct vip_set all = allow_all(&d.allow);
	bool was_there;
	unsigned i;
	int rc;

	op_cut_clients(NULL, &all);
	for (i = 0; i < d.allow.vip_count; i++) {
		rc = netlink_remove_address(&d.net, &d.allow.vips[i], &was_there, e);
		if (rc != ERR_OK)
			return rc;
		if (was_there)
			log_warn(OBJ, "left-over address %s removed from %s", d.allow.vips[i].text, d.allow.vips[i].dev);
	}
	return ERR_OK;
}

static int open_signals(struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	d.signal_io = (struct loop_io){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .cb = signal_cb};
	if (d.signal_io.fd < 0)
		return err_sys(e, errno, "signalfd");
	return loop_add_io(&d.loop, &d.signal_io, e);
}

static int open_network(struct err *e)
{
	int rc = cut_open(&d.cut, e);

	if (rc == ERR_OK)
		rc = netlink_open(&d.net, &d.allow, e);
	if (rc == ERR_OK)
		rc = remove_leftovers(e);
	if (rc == ERR_OK)
		rc = announce_open(&d.announce, &d.allow, &d.net, &d.loop, e);
	if (rc == ERR_OK)
		rc = conflict_open(&d.conflict, &d.announce, &d.loop, e);
	if (rc != ERR_OK)
		return rc;
	d.announce.is_ours = is_ours;
	d.conflict.seen = conflict_seen;
	d.conflict.probed = probed;
	d.net.events = &net_events;
	d.net_io = (struct loop_io){.fd = netlink_fd(&d.net), .cb = net_cb};
	rc = loop_add_io(&d.loop, &d.net_io, e);
	if (rc != ERR_OK || !nft_is_active(&d.nft))
		return rc;
	d.nft_io = (struct loop_io){.fd = nft_fd(&d.nft), .cb = nft_cb};
	return loop_add_io(&d.loop, &d.nft_io, e);
}

int daemon_start(const struct daemon_options *o, struct err *e)
{
	int rc = allow_load(o->allow_path, &d.allow, e);

	if (rc == ERR_OK)
		rc = sandbox_check_capabilities(e);
	if (rc == ERR_OK)
		rc = loop_init(&d.loop, e);
	if (rc != ERR_OK)
		return rc;
	lease_init(&d.leases, &d.allow, &lease_ops, NULL);
	/* First of all timers: what has lapsed is closed before anything else happens. */
	d.deadline.cb = deadline_cb;
	loop_add_timer(&d.loop, &d.deadline);
	d.tick.cb = tick_cb;
	loop_add_timer(&d.loop, &d.tick);
	loop_set_timer(&d.tick, clock_now_ns());
	d.protocol = (struct protocol){.allow = &d.allow, .ops = &protocol_ops};
	peers_start(&d.allow, o->peers, o->peer_count);
	open_fence(o->table);
	rc = open_network(e);
	if (rc == ERR_OK)
		rc = open_signals(e);
	if (rc == ERR_OK)
		rc = protocol_open(&d.protocol, o->socket_path, &d.loop, e);
	if (rc == ERR_OK)
		rc = sandbox_enter(e);
	if (rc != ERR_OK)
		return rc;
	log_info(OBJ, "sandbox: %s", sandbox_describe());
	log_info(OBJ, "ready: %u addresses, %u ports, %u peers; the fence is %s", d.allow.vip_count, d.allow.port_count,
	         d.allow.peer_count + d.allow.named_count, nft_is_active(&d.nft) ? "active" : "missing");
	return ERR_OK;
}

int daemon_run(struct err *e)
{
	int rc = loop_run(&d.loop, e);

	if (rc == ERR_OK && d.nft.is_lost) {
		rc = err_set(e, ERR_IO,
		             "somebody removed the firewall rules of tables %s: everything is given up; the next start loads "
		             "them "
		             "again",
		             d.nft.name);
		tell(NULL, -1, 0, NULL, e->text);
	}
	lease_drop_all(&d.leases);
	return rc;
}

void daemon_stop(void)
{
	protocol_close(&d.protocol);
	conflict_close(&d.conflict);
	announce_close(&d.announce);
	netlink_close(&d.net);
	nft_close(&d.nft);
	cut_close(&d.cut);
	loop_done(&d.loop);
}
