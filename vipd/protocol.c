#include "vipd/protocol.h"

#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include <unistd.h>

#define OBJ "control"
/* Messages per round: a busy peer must not keep the loop from its timers. */
#define MAX_READS 32

static_assert(sizeof(struct vip_msg) == 640, "struct vip_msg has no hidden padding");

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

void protocol_put_address(struct vip_addr *to, struct in_addr from)
{
	memcpy(to->ip, mapped_prefix, sizeof mapped_prefix);
	memcpy(to->ip + sizeof mapped_prefix, &from, sizeof from);
}

bool protocol_get_address(const struct vip_addr *from, struct in_addr *ret)
{
	if (memcmp(from->ip, mapped_prefix, sizeof mapped_prefix) != 0)
		return false;
	memcpy(ret, from->ip + sizeof mapped_prefix, sizeof *ret);
	return true;
}

static int check_addresses(const struct vip_msg *m, const struct allow *a, struct vip_set *what, struct err *e)
{
	char text[INET6_ADDRSTRLEN];
	struct in_addr addr;
	unsigned i;
	int index;

	for (i = 0; i < m->addr_count; i++) {
		index = protocol_get_address(&m->addrs[i], &addr) ? allow_find_vip(a, addr) : -1;
		if (index < 0 && protocol_get_address(&m->addrs[i], &addr))
			inet_ntop(AF_INET, &addr, text, sizeof text);
		else if (index < 0)
			inet_ntop(AF_INET6, m->addrs[i].ip, text, sizeof text);
		if (index < 0)
			return err_set(e, ERR_REFUSED,
			               "address %s is not listed in %s: add the line \"vip %s/32 dev INTERFACE\"", text,
			               a->path, text);
		what->vips |= UINT32_C(1) << index;
	}
	return ERR_OK;
}

static int check_ports(const struct vip_msg *m, const struct allow *a, struct vip_set *what, struct err *e)
{
	unsigned i;
	int index;

	for (i = 0; i < m->port_count; i++) {
		index = allow_find_port(a, m->ports[i]);
		if (index < 0)
			return err_set(e, ERR_REFUSED, "port %u is not listed in %s: add the line \"port %u\"", m->ports[i],
			               a->path, m->ports[i]);
		what->ports |= UINT32_C(1) << index;
	}
	return ERR_OK;
}

static int check_owner(const struct vip_msg *m, struct err *e)
{
	size_t len = strnlen(m->owner, sizeof m->owner), i;

	if (len == 0 || len == sizeof m->owner)
		return err_set(e, ERR_INVAL, "the owner must have 1 to %zu characters", sizeof m->owner - 1);
	for (i = 0; i < len; i++)
		if (m->owner[i] <= ' ' || m->owner[i] > '~')
			return err_set(e, ERR_INVAL, "the owner has a character that cannot be printed at position %zu", i);
	return ERR_OK;
}

int protocol_check(const struct vip_msg *m, const struct allow *a, struct vip_set *ret_what, struct err *e)
{
	struct vip_set what = {0, 0};
	int rc;

	if (m->version != VIP_MSG_VERSION)
		return err_set(e, ERR_PROTOCOL,
		               "message version %u; this mha-vipd speaks %u: install the same release of both programs",
		               m->version, VIP_MSG_VERSION);
	if ((m->type < VIP_LEASE || m->type > VIP_STATUS) && m->type != VIP_PEERS)
		return err_set(e, ERR_PROTOCOL, "message type %u is no request", m->type);
	if (m->addr_count > VIP_MSG_ADDRS || m->port_count > VIP_MSG_PORTS)
		return err_set(e, ERR_PROTOCOL, "%u addresses and %u ports; the most are %d and %d", m->addr_count,
		               m->port_count, VIP_MSG_ADDRS, VIP_MSG_PORTS);
	if (m->type == VIP_PROBE && m->addr_count != 1)
		return err_set(e, ERR_INVAL, "a probe asks for one address, not %u", m->addr_count);
	if (m->type == VIP_PEERS) { /* its addresses are no vips; allow_name_peers judges them */
		*ret_what = what;
		return ERR_OK;
	}
	rc = m->type == VIP_PROBE ? ERR_OK : check_owner(m, e);
	if (rc == ERR_OK)
		rc = check_addresses(m, a, &what, e);
	if (rc == ERR_OK)
		rc = check_ports(m, a, &what, e);
	if (rc == ERR_OK)
		*ret_what = what;
	return rc;
}

static void hang_up(struct protocol *p)
{
	if (p->peer.fd < 0)
		return;
	loop_remove_io(p->loop, &p->peer);
	close(p->peer.fd);
	p->peer.fd = -1;
}

static void send_message(struct protocol *p, struct vip_msg *m, enum vip_msg_type type)
{
	struct err e = ERR_INIT;

	m->version = VIP_MSG_VERSION;
	m->type = (uint16_t)type;
	if (p->peer.fd < 0)
		return;
	/* A peer that does not read loses this message; its leases run on to their deadlines. */
	if (seq_send(p->peer.fd, m, sizeof *m, &e) != ERR_OK)
		log_warn(OBJ, "a message was lost: %s", e.text);
}

void protocol_answer(struct protocol *p, uint64_t tag, struct vip_msg *reply)
{
	reply->seq = (uint32_t)tag;
	if (tag >> 32 == p->peer_number)
		send_message(p, reply, VIP_REPLY);
}

void protocol_event(struct protocol *p, struct vip_msg *event)
{
	event->seq = 0;
	send_message(p, event, VIP_EVENT);
}

/* What is asked for stands in the reply too, so that one log line of either side is enough to read. */
static void begin_reply(const struct vip_msg *m, struct vip_msg *reply)
{
	*reply = *m;
	reply->owner[sizeof reply->owner - 1] = '\0';
	reply->rc = ERR_OK;
	reply->flags = 0;
	reply->text[0] = '\0';
	memset(reply->mac, 0, sizeof reply->mac);
	memset(reply->pad, 0, sizeof reply->pad);
}

static void handle(struct protocol *p, const struct vip_msg *m)
{
	uint64_t tag = (uint64_t)p->peer_number << 32 | m->seq;
	struct vip_set what = {0, 0};
	struct err e = ERR_INIT;
	struct vip_msg reply;
	int rc;

	begin_reply(m, &reply);
	rc = protocol_check(m, p->allow, &what, &e);
	if (rc != ERR_OK) {
		log_warn(OBJ, "request refused: %s", e.text);
		reply.rc = rc;
		str_copy(reply.text, sizeof reply.text, e.text);
	} else if (!p->ops->request(p->ctx, m, &what, tag, &reply)) {
		return;
	}
	send_message(p, &reply, VIP_REPLY);
}

/* A peer that sends packets of another size was built from other sources: it is told so, and its connection ends, so that it
 * cannot fill the log. Leases run on to their deadlines. */
static void refuse_packet(struct protocol *p, const struct err *why)
{
	struct vip_msg reply = {.rc = ERR_PROTOCOL};

	log_warn(OBJ, "connection closed: %s", why->text);
	str_copy(reply.text, sizeof reply.text, why->text);
	send_message(p, &reply, VIP_REPLY);
	hang_up(p);
}

static void peer_cb(struct loop_io *io)
{
	struct protocol *p = io->ctx;
	struct err e = ERR_INIT;
	struct vip_msg m;
	int i, rc;

	for (i = 0; i < MAX_READS && p->peer.fd >= 0; i++) {
		rc = seq_recv(p->peer.fd, &m, sizeof m, &e);
		if (rc == ERR_TIMEOUT)
			return;
		if (rc == ERR_PROTOCOL) {
			refuse_packet(p, &e);
			return;
		}
		if (rc != ERR_OK) {
			log_info(OBJ, "disconnected: %s", e.text);
			hang_up(p);
			return;
		}
		handle(p, &m);
	}
}

static void listener_cb(struct loop_io *io)
{
	struct protocol *p = io->ctx;
	struct err e = ERR_INIT;
	struct seq_peer who;
	int fd = -1;

	if (seq_accept(io->fd, &fd, &who, &e) != ERR_OK) {
		log_warn(OBJ, "%s", e.text);
		return;
	}
	if (fd < 0)
		return;
	if (who.uid != 0 && who.uid != geteuid()) {
		log_warn(OBJ, "connection of uid %u (pid %d) refused: only root and uid %u may command", (unsigned)who.uid,
		         (int)who.pid, (unsigned)geteuid());
		close(fd);
		return;
	}
	if (p->peer.fd >= 0)
		log_info(OBJ, "a newer connection replaces the older one");
	hang_up(p);
	p->peer.fd = fd;
	p->peer_number++;
	if (loop_add_io(p->loop, &p->peer, &e) != ERR_OK) {
		log_error(OBJ, "%s", e.text);
		close(fd);
		p->peer.fd = -1;
		return;
	}
	log_info(OBJ, "connected: pid %d", (int)who.pid);
}

int protocol_open(struct protocol *p, const char *path, struct loop *loop, struct err *e)
{
	int rc;

	p->loop = loop;
	p->peer = (struct loop_io){.fd = -1, .cb = peer_cb, .ctx = p};
	p->listener = (struct loop_io){.fd = -1, .cb = listener_cb, .ctx = p};
	rc = seq_listen(path, &p->listener.fd, e);
	return rc == ERR_OK ? loop_add_io(loop, &p->listener, e) : rc;
}

void protocol_close(struct protocol *p)
{
	hang_up(p);
	if (p->listener.fd >= 0)
		close(p->listener.fd);
	p->listener.fd = -1;
}
