#include "vipd/cut.h"

#include "vipd/nlsock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define BUF_SIZE 32768
/* Enough for some 100000 sockets; the loop must come back in the end. */
#define MAX_READS 1024
/* Everything that is or may become an exchange with a client; listeners stay. */
#define STATES                                                                                                                 \
	(1U << TCP_ESTABLISHED | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSE_WAIT |       \
	 1U << TCP_LAST_ACK | 1U << TCP_CLOSING)

struct job {
	struct cut *cut;
	const struct allow *allow;
	const struct vip_set *what;
	unsigned count;
	int error;
};

int cut_open(struct cut *c, struct err *e)
{
	int rc;

	memset(c, 0, sizeof *c);
	rc = nlsock_open(NETLINK_SOCK_DIAG, 0, &c->list, e);
	if (rc == ERR_OK)
		rc = nlsock_open(NETLINK_SOCK_DIAG, 0, &c->destroy, e);
	if (rc != ERR_OK)
		cut_close(c);
	return rc;
}

void cut_close(struct cut *c)
{
	nlsock_close(&c->list);
	nlsock_close(&c->destroy);
}

/* IPv4, also as ::ffff:a.b.c.d in a socket that speaks both. */
static bool read_ipv4(uint8_t family, const uint32_t addr[4], struct in_addr *ret)
{
	if (family == AF_INET) {
		ret->s_addr = addr[0];
		return true;
	}
	ret->s_addr = addr[3];
	return addr[0] == 0 && addr[1] == 0 && addr[2] == htonl(0xffff);
}

static bool is_wanted(const struct job *j, const struct inet_diag_msg *m)
{
	struct in_addr local, remote;
	bool is_ipv4 = read_ipv4(m->idiag_family, m->id.idiag_src, &local);
	int i = is_ipv4 ? allow_find_vip(j->allow, local) : -1;

	if (i >= 0 && (j->what->vips >> i & 1) != 0)
		return true;
	i = allow_find_port(j->allow, ntohs(m->id.idiag_sport));
	if (i < 0 || (j->what->ports >> i & 1) == 0)
		return false;
	/* The fence lets peers and the host itself pass: replication and local administration go on. */
	if (!is_ipv4)
		return !IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)m->id.idiag_src);
	if (!read_ipv4(m->idiag_family, m->id.idiag_dst, &remote))
		return true;
	return ntohl(local.s_addr) >> 24 != 127 && local.s_addr != remote.s_addr && !allow_is_peer(j->allow, remote);
}

/* 0 or an errno value. */
static int destroy_socket(struct cut *c, const struct inet_diag_msg *m)
{
	char buf[1024];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(h, sizeof *req);
	ssize_t len;

	h->nlmsg_type = SOCK_DESTROY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++c->seq;
	req->sdiag_family = m->idiag_family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = STATES;
	req->id = m->id;
	if (mnl_socket_sendto(c->destroy, h, h->nlmsg_len) < 0)
		return errno;
	len = mnl_socket_recvfrom(c->destroy, buf, sizeof buf);
	if (len < 0)
		return errno;
	return mnl_cb_run(buf, (size_t)len, c->seq, mnl_socket_get_portid(c->destroy), NULL, NULL) < 0 ? errno : 0;
}

static int hear(const struct nlmsghdr *h, void *ctx)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
	struct job *j = ctx;
	int error;

	if (mnl_nlmsg_get_payload_len(h) < sizeof *m || !is_wanted(j, m))
		return MNL_CB_OK;
	error = destroy_socket(j->cut, m);
	if (error == 0)
		j->count++;
	else if (error != ENOENT && j->error == 0) /* ENOENT: it has ended by itself */
		j->error = error;
	return MNL_CB_OK;
}

static int cut_family(struct job *j, uint8_t family)
{
	static char buf[BUF_SIZE];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(h, sizeof *req);
	int i, more = MNL_CB_OK;
	uint32_t seq = ++j->cut->seq;

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = seq;
	req->sdiag_family = family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = STATES;
	if (mnl_socket_sendto(j->cut->list, h, h->nlmsg_len) < 0)
		return errno;
	for (i = 0; more > MNL_CB_STOP && i < MAX_READS; i++) {
		ssize_t len = mnl_socket_recvfrom(j->cut->list, buf, sizeof buf);

		if (len < 0)
			return errno;
		more = mnl_cb_run(buf, (size_t)len, seq, mnl_socket_get_portid(j->cut->list), hear, j);
		if (more < 0)
			return errno;
	}
	return 0;
}

int cut_clients(struct cut *c, const struct allow *a, const struct vip_set *what, unsigned *ret_count, struct err *e)
{
	struct job j = {.cut = c, .allow = a, .what = what};
	int error = cut_family(&j, AF_INET);

	if (error == 0)
		error = cut_family(&j, AF_INET6);
	if (error == 0)
		error = j.error;
	*ret_count = j.count;
	if (error == EOPNOTSUPP)
		return err_set(e, ERR_IO, "this kernel cannot reset connections (CONFIG_INET_DIAG_DESTROY is off)");
	if (error != 0)
		return err_sys(e, error, "resetting connections");
	return ERR_OK;
}
