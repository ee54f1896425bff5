#include "vipd/nft.h"

#include "core/base/clock.h"
#include "core/base/spawn.h"
#include "vipd/nlsock.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NFT_RUN_MS 10000
#define READ_SIZE  16384
#define MAX_READS  64
/* 32 vips in two tables and 32 ports, three messages of at most 128 bytes each. */
#define BATCH_SIZE 65536
#define NO_TIMEOUT INT64_C(0)
#define CLOSE_NOW  INT64_C(0)

/* --- the nft program --- */

static const char *find_program(void)
{
	static const char *const paths[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"};
	unsigned i;

	for (i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

static int wait_for_end(const struct spawned *child, int *ret_status, struct err *e)
{
	struct pollfd p = {.fd = child->pidfd, .events = POLLIN};
	int64_t end = clock_now_ms() + NFT_RUN_MS, left;

	do {
		left = end - clock_now_ms();
		if (left > 0 && poll(&p, 1, (int)left) > 0)
			break;
	} while (left > 0);
	if (left <= 0)
		kill(child->pid, SIGKILL);
	close(child->pidfd);
	if (waitpid(child->pid, ret_status, 0) != child->pid)
		return err_sys(e, errno, "nft");
	if (left <= 0)
		return err_set(e, ERR_TIMEOUT, "nft did not end within %d s", NFT_RUN_MS / 1000);
	return ERR_OK;
}

static int read_complaint(int fd, const char *program, int status, struct err *e)
{
	char how[48], text[300];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return err_set(e, ERR_IO, "%s: %s: %s", program, spawn_describe_status(status, how), text);
}

static int run_program(const char *program, int script_fd, int output_fd, struct err *e)
{
	const char *const argv[] = {program, "-f", "/proc/self/fd/3", NULL};
	struct spawn_opts o = SPAWN_INIT;
	struct spawned child;
	int rc, status = 0;

	o.argv = argv;
	o.keep_fds[0] = script_fd;
	o.keep_fd_count = 1;
	o.ambient_caps = UINT64_C(1) << CAP_NET_ADMIN;
	o.stdout_fd = o.stderr_fd = output_fd;
	rc = spawn_start(&o, &child, e);
	if (rc == ERR_OK)
		rc = wait_for_end(&child, &status, e);
	if (rc == ERR_OK && status != 0)
		rc = read_complaint(output_fd, program, status, e);
	return rc;
}

/* Hands the script over in memory: no file that anybody else could change between our writing and nft's reading. */
static int run_script(const struct buf *script, struct err *e)
{
	const char *program = find_program();
	int script_fd, output_fd, rc;

	if (program == NULL)
		return err_set(e, ERR_NOTFOUND, "the program nft is not installed (Debian package nftables)");
	script_fd = memfd_create("ruleset", MFD_CLOEXEC);
	output_fd = memfd_create("output", MFD_CLOEXEC);
	if (script_fd < 0 || output_fd < 0 || write(script_fd, script->data, script->len) != (ssize_t)script->len)
		rc = err_sys(e, errno, "ruleset");
	else
		rc = run_program(program, script_fd, output_fd, e);
	if (script_fd >= 0)
		close(script_fd);
	if (output_fd >= 0)
		close(output_fd);
	return rc;
}

/* --- transactions over nfnetlink --- */

struct batch {
	char data[BATCH_SIZE];
	char *end;
	uint32_t seq;          /* of the next message */
	struct nlmsghdr *last; /* the newest change of an element */
};

static struct nlmsghdr *put_message(struct batch *b, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(b->end);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = b->seq++;
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	if (type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END)
		g->res_id = htons(NFNL_SUBSYS_NFTABLES);
	return h;
}

static void end_message(struct batch *b, const struct nlmsghdr *h)
{
	b->end += MNL_ALIGN(h->nlmsg_len);
}

struct element {
	uint8_t family;
	const char *table;
	uint8_t key[4];
	uint16_t key_len;
};

static struct nlmsghdr *put_change(struct batch *b, bool is_add, uint8_t family, const char *table, const char *set)
{
	uint16_t type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (is_add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM));
	struct nlmsghdr *h = put_message(b, type, is_add ? NLM_F_CREATE : 0, family);

	b->last = h;
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
	return h;
}

static void put_element(struct batch *b, bool is_add, const struct element *el, int64_t timeout_ms)
{
	struct nlmsghdr *h = put_change(b, is_add, el->family, el->table, "lease");
	struct nlattr *list, *item, *key;

	list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
	item = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
	mnl_attr_put(h, NFTA_DATA_VALUE, el->key_len, el->key);
	mnl_attr_nest_end(h, key);
	if (timeout_ms != NO_TIMEOUT)
		mnl_attr_put_u64(h, NFTA_SET_ELEM_TIMEOUT, htobe64((uint64_t)timeout_ms));
	mnl_attr_nest_end(h, item);
	mnl_attr_nest_end(h, list);
	end_message(b, h);
}

/* A plain add does not refresh an element's timeout, and a plain delete fails when it has expired. Add, delete, add in one
 * transaction does both, and no packet sees what is in between. */
static void put_lease(struct batch *b, const struct element *el, int64_t timeout_ms)
{
	put_element(b, true, el, NO_TIMEOUT);
	put_element(b, false, el, NO_TIMEOUT);
	if (timeout_ms != NO_TIMEOUT)
		put_element(b, true, el, timeout_ms);
}

static void put_vip(struct batch *b, const struct nft *n, struct in_addr addr, int64_t timeout_ms)
{
	struct element el = {.family = NFPROTO_INET, .table = n->name, .key_len = 4};

	memcpy(el.key, &addr, 4);
	put_lease(b, &el, timeout_ms);
	el.family = NFPROTO_ARP;
	put_lease(b, &el, timeout_ms);
}

static void put_port(struct batch *b, const struct nft *n, uint16_t port, int64_t timeout_ms)
{
	char db[RULESET_NAME_SIZE + 4];
	struct element el = {.family = NFPROTO_INET, .table = db, .key_len = 2};
	uint16_t key = htons(port);

	snprintf(db, sizeof db, "%s_db", n->name);
	memcpy(el.key, &key, 2);
	put_lease(b, &el, timeout_ms);
}

static void put_set(struct batch *b, const struct nft *n, const struct vip_set *what, int64_t timeout_ms)
{
	unsigned i;

	for (i = 0; i < n->allow->vip_count; i++)
		if ((what->vips >> i & 1) != 0)
			put_vip(b, n, n->allow->vips[i].addr, timeout_ms);
	for (i = 0; i < n->allow->port_count; i++)
		if ((what->ports >> i & 1) != 0)
			put_port(b, n, n->allow->ports[i], timeout_ms);
}

/* Adds and deletes, in one transaction, what nobody uses: proves that every set is there and that we may change it. */
static void put_test(struct batch *b, const struct nft *n)
{
	put_vip(b, n, (struct in_addr){0}, NO_TIMEOUT);
	put_port(b, n, 0, NO_TIMEOUT);
}

/* A removal without elements empties the set. Both are one transaction, so no packet sees the set half filled. */
static void put_peers(struct batch *b, const struct nft *n)
{
	struct in_addr peers[ALLOW_ALL_PEERS];
	unsigned i, count = allow_peers(n->allow, peers);
	struct nlattr *list, *item, *key;
	char db[RULESET_NAME_SIZE + 4];
	struct nlmsghdr *h;

	snprintf(db, sizeof db, "%s_db", n->name);
	end_message(b, put_change(b, false, NFPROTO_INET, db, "peers"));
	if (count == 0)
		return;
	h = put_change(b, true, NFPROTO_INET, db, "peers");
	list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (i = 0; i < count; i++) {
		item = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
		key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
		mnl_attr_put(h, NFTA_DATA_VALUE, sizeof peers[i], &peers[i]);
		mnl_attr_nest_end(h, key);
		mnl_attr_nest_end(h, item);
	}
	mnl_attr_nest_end(h, list);
	end_message(b, h);
}

/* The kernel queues the answers before send() returns, so nothing waits here. 0 or the first error. */
static int read_answers(struct nft *n, uint32_t last_seq)
{
	char buf[READ_SIZE];
	int i, first = 0;

	for (i = 0; i < MAX_READS; i++) {
		ssize_t got = mnl_socket_recvfrom(n->request, buf, sizeof buf);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
		int len = (int)got;

		if (got < 0)
			return first != 0 ? first : errno;
		for (; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(h) < sizeof *answer)
				continue;
			if (answer->error != 0 && first == 0)
				first = -answer->error;
			if (h->nlmsg_seq == last_seq)
				return first;
		}
	}
	return first != 0 ? first : EPROTO;
}

static void drain(struct nft *n)
{
	char buf[READ_SIZE];
	int i;

	for (i = 0; i < MAX_READS && mnl_socket_recvfrom(n->request, buf, sizeof buf) >= 0; i++)
		;
}

static struct batch *begin_batch(struct nft *n)
{
	static struct batch b;

	drain(n);
	b.end = b.data;
	b.seq = n->seq;
	end_message(&b, put_message(&b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC));
	return &b;
}

/* 0 or an errno value. */
static int send_batch(struct nft *n, struct batch *b)
{
	/* One acknowledgement is enough: changes that fail are reported in any case, and then none is made. */
	b->last->nlmsg_flags |= NLM_F_ACK;
	end_message(b, put_message(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC));
	n->seq = b->seq;
	if (mnl_socket_sendto(n->request, b->data, (size_t)(b->end - b->data)) < 0)
		return errno;
	return read_answers(n, b->last->nlmsg_seq);
}

static int send_test(struct nft *n)
{
	struct batch *b = begin_batch(n);

	put_test(b, n);
	return send_batch(n, b);
}

static int commit(struct nft *n, const struct vip_set *what, int64_t deadline_ns, struct err *e)
{
	int64_t timeout_ms = NO_TIMEOUT;
	struct batch *b;
	int error;

	if (what->vips == 0 && what->ports == 0)
		return ERR_OK;
	if (deadline_ns != CLOSE_NOW) {
		/* Rounded down, and by the kernel down again to its ticks: early, never late. */
		timeout_ms = (deadline_ns - clock_now_ns()) / CLOCK_NS_PER_MS;
		if (timeout_ms <= 0)
			return err_set(e, ERR_TIMEOUT, "the deadline of the lease has passed");
	}
	b = begin_batch(n);
	put_set(b, n, what, timeout_ms);
	error = send_batch(n, b);
	if (error == ENOENT)
		n->is_lost = true;
	if (error != 0)
		return err_sys(e, error, "lease in the firewall's table %s", n->name);
	return ERR_OK;
}

int nft_open_lease(struct nft *n, const struct vip_set *what, int64_t deadline_ns, struct err *e)
{
	return nft_is_active(n) ? commit(n, what, deadline_ns, e) : ERR_OK;
}

int nft_close_lease(struct nft *n, const struct vip_set *what, struct err *e)
{
	return nft_is_active(n) ? commit(n, what, CLOSE_NOW, e) : ERR_OK;
}

int nft_set_peers(struct nft *n, struct err *e)
{
	struct batch *b;
	int error;

	if (!nft_is_active(n))
		return ERR_OK;
	b = begin_batch(n);
	put_peers(b, n);
	error = send_batch(n, b);
	n->has_stale_peers = error != 0;
	if (error == ENOENT)
		n->is_lost = true;
	if (error != 0)
		return err_sys(e, error, "peers in the firewall's table %s_db", n->name);
	return ERR_OK;
}

/* --- life --- */

int nft_open(struct nft *n, const struct allow *allow, const char *name, struct err *e)
{
	struct buf script = {0};
	int rc, error;

	memset(n, 0, sizeof *n);
	n->allow = allow;
	if (!str_copy(n->name, sizeof n->name, name))
		return err_set(e, ERR_INVAL, "table name \"%s\" is too long", name);
	ruleset_load(allow, name, &script);
	rc = run_script(&script, e);
	buf_done(&script);
	if (rc == ERR_OK)
		rc = nlsock_open(NETLINK_NETFILTER, 0, &n->request, e);
	if (rc == ERR_OK)
		rc = nlsock_open(NETLINK_NETFILTER, 1U << (NFNLGRP_NFTABLES - 1), &n->watch, e);
	if (rc == ERR_OK) {
		error = send_test(n);
		if (error != 0)
			rc = err_sys(e, error, "test of the firewall's table %s", n->name);
	}
	if (rc != ERR_OK)
		nft_close(n);
	return rc;
}

void nft_close(struct nft *n)
{
	nlsock_close(&n->request);
	nlsock_close(&n->watch);
}

bool nft_is_active(const struct nft *n)
{
	return n->request != NULL && n->watch != NULL && !n->is_lost;
}

int nft_unload(const char *name, struct err *e)
{
	struct buf script = {0};
	int rc;

	ruleset_unload(name, &script);
	rc = run_script(&script, e);
	buf_done(&script);
	return rc;
}

int nft_fd(const struct nft *n)
{
	return mnl_socket_get_fd(n->watch);
}

/* --- watching our rules --- */

static bool is_removal(const struct nlmsghdr *h)
{
	switch (h->nlmsg_type & 0xff) {
	case NFT_MSG_DELTABLE:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
	case NFT_MSG_DELSETELEM:
		return h->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES;
	default:
		return false;
	}
}

struct names {
	const char *table, *set;
};

/* Attribute 1 is the table's name in all of these messages, 2 the set's in those about elements. */
static int read_name(const struct nlattr *attr, void *ctx)
{
	struct names *names = ctx;

	if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
		return MNL_CB_OK;
	if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_TABLE)
		names->table = mnl_attr_get_str(attr);
	else if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_SET)
		names->set = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static int hear(const struct nlmsghdr *h, void *ctx)
{
	struct names names = {"", ""};
	struct nft *n = ctx;
	size_t len = strlen(n->name);

	if (!is_removal(h) || mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg))
		return MNL_CB_OK;
	/* The port number of whoever asked for the change: our own removals are no loss. */
	if (h->nlmsg_pid == mnl_socket_get_portid(n->request))
		return MNL_CB_OK;
	mnl_attr_parse(h, sizeof(struct nfgenmsg), read_name, &names);
	if (strncmp(names.table, n->name, len) != 0 || (names.table[len] != '\0' && strcmp(names.table + len, "_db") != 0))
		return MNL_CB_OK;
	/* Leases come and go; one that somebody else removes is merely closed. */
	if ((h->nlmsg_type & 0xff) == NFT_MSG_DELSETELEM && strcmp(names.set, "lease") == 0)
		return MNL_CB_OK;
	n->is_lost = true;
	return MNL_CB_OK;
}

void nft_read(struct nft *n)
{
	static char buf[READ_SIZE];
	ssize_t len;
	int i;

	for (i = 0; i < MAX_READS; i++) {
		len = mnl_socket_recvfrom(n->watch, buf, sizeof buf);
		if (len > 0) {
			mnl_cb_run(buf, (size_t)len, 0, 0, hear, n);
			continue;
		}
		if (len == 0 || errno != ENOBUFS)
			return;
		/* Notifications were lost: ask. */
		if (send_test(n) != 0)
			n->is_lost = true;
	}
}
