#include "vipd/netlink.h"

#include "core/base/str.h"
#include "vipd/nlsock.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define BUF_SIZE 32768
/* Rounds of reading per call: a flood of notifications must not keep the loop from its timers. */
#define MAX_READS 64

static struct netlink_link *find_name(struct netlink *n, const char *name)
{
	unsigned i;

	for (i = 0; i < n->link_count; i++)
		if (strcmp(n->links[i].name, name) == 0)
			return &n->links[i];
	return NULL;
}

static struct netlink_link *find_index(struct netlink *n, int index)
{
	unsigned i;

	for (i = 0; i < n->link_count; i++)
		if (index != 0 && n->links[i].index == index)
			return &n->links[i];
	return NULL;
}

const struct netlink_link *netlink_find(const struct netlink *n, const char *name)
{
	unsigned i;

	for (i = 0; i < n->link_count; i++)
		if (strcmp(n->links[i].name, name) == 0)
			return &n->links[i];
	return NULL;
}

static void tell_link(struct netlink *n, const struct netlink_link *link, const struct netlink_link *was)
{
	if (n->events != NULL && memcmp(link, was, sizeof *link) != 0)
		n->events->link_changed(n->ctx, link, was);
}

static void forget_link(struct netlink *n, struct netlink_link *link)
{
	struct netlink_link was = *link;

	memset(link, 0, sizeof *link);
	memcpy(link->name, was.name, sizeof link->name);
	tell_link(n, link, &was);
}

struct link_attrs {
	const char *name;
	const uint8_t *mac;
};

static int read_link_attr(const struct nlattr *attr, void *ctx)
{
	struct link_attrs *attrs = ctx;

	if (mnl_attr_get_type(attr) == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		attrs->name = mnl_attr_get_str(attr);
	else if (mnl_attr_get_type(attr) == IFLA_ADDRESS && mnl_attr_get_payload_len(attr) == 6)
		attrs->mac = mnl_attr_get_payload(attr);
	return MNL_CB_OK;
}

static void hear_link(struct netlink *n, const struct nlmsghdr *h)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
	struct netlink_link *link, *old = find_index(n, info->ifi_index), was;
	struct link_attrs attrs = {NULL, NULL};

	mnl_attr_parse(h, sizeof *info, read_link_attr, &attrs);
	link = h->nlmsg_type == RTM_NEWLINK && attrs.name != NULL ? find_name(n, attrs.name) : NULL;
	/* It is gone, or has another name now. */
	if (old != NULL && old != link)
		forget_link(n, old);
	if (link == NULL)
		return;
	was = *link;
	link->index = info->ifi_index;
	link->is_ethernet = info->ifi_type == ARPHRD_ETHER && attrs.mac != NULL;
	link->is_running = (info->ifi_flags & IFF_UP) != 0 && (info->ifi_flags & IFF_RUNNING) != 0;
	if (attrs.mac != NULL)
		memcpy(link->mac, attrs.mac, sizeof link->mac);
	tell_link(n, link, &was);
}

static int read_local_address(const struct nlattr *attr, void *ctx)
{
	struct in_addr *addr = ctx;

	if (mnl_attr_get_type(attr) == IFA_LOCAL && mnl_attr_get_payload_len(attr) == sizeof *addr)
		memcpy(addr, mnl_attr_get_payload(attr), sizeof *addr);
	return MNL_CB_OK;
}

static void hear_address_removed(struct netlink *n, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(h);
	const struct netlink_link *link = find_index(n, (int)info->ifa_index);
	struct in_addr addr = {0};

	/* The kernel puts the requester's port id into a notification: our own removals are no news. */
	if (link == NULL || n->events == NULL || info->ifa_family != AF_INET ||
	    h->nlmsg_pid == mnl_socket_get_portid(n->request))
		return;
	mnl_attr_parse(h, sizeof *info, read_local_address, &addr);
	n->events->address_removed(n->ctx, link, addr);
}

static int hear(const struct nlmsghdr *h, void *ctx)
{
	struct netlink *n = ctx;

	if ((h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK) &&
	    mnl_nlmsg_get_payload_len(h) >= sizeof(struct ifinfomsg))
		hear_link(n, h);
	else if (h->nlmsg_type == RTM_DELADDR && mnl_nlmsg_get_payload_len(h) >= sizeof(struct ifaddrmsg))
		hear_address_removed(n, h);
	return MNL_CB_OK;
}

static int ask_links(struct netlink *n, struct err *e)
{
	char *buf = mem_alloc(BUF_SIZE);
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *info;
	ssize_t len;
	int rc = ERR_OK, i, more = MNL_CB_OK;

	h->nlmsg_type = RTM_GETLINK;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++n->seq;
	info = mnl_nlmsg_put_extra_header(h, sizeof *info);
	info->ifi_family = AF_UNSPEC;
	if (mnl_socket_sendto(n->request, h, h->nlmsg_len) < 0)
		rc = err_sys(e, errno, "list of interfaces");
	for (i = 0; rc == ERR_OK && more > MNL_CB_STOP && i < MAX_READS * MAX_READS; i++) {
		len = mnl_socket_recvfrom(n->request, buf, BUF_SIZE);
		more = len < 0 ? -1 : mnl_cb_run(buf, (size_t)len, n->seq, mnl_socket_get_portid(n->request), hear, n);
		if (more < 0)
			rc = err_sys(e, errno, "list of interfaces");
	}
	free(buf);
	return rc;
}

int netlink_open(struct netlink *n, const struct allow *allow, struct err *e)
{
	unsigned i;
	int rc;

	memset(n, 0, sizeof *n);
	for (i = 0; i < allow->vip_count; i++)
		if (find_name(n, allow->vips[i].dev) == NULL)
			memcpy(n->links[n->link_count++].name, allow->vips[i].dev, IFNAMSIZ);
	rc = nlsock_open(NETLINK_ROUTE, 0, &n->request, e);
	/* Watch first, list afterwards: nothing falls between. */
	if (rc == ERR_OK)
		rc = nlsock_open(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR, &n->watch, e);
	if (rc == ERR_OK)
		rc = ask_links(n, e);
	if (rc != ERR_OK)
		netlink_close(n);
	return rc;
}

void netlink_close(struct netlink *n)
{
	nlsock_close(&n->request);
	nlsock_close(&n->watch);
}

int netlink_fd(const struct netlink *n)
{
	return mnl_socket_get_fd(n->watch);
}

void netlink_read(struct netlink *n)
{
	static char buf[BUF_SIZE];
	struct err e = ERR_INIT;
	ssize_t len;
	int i;

	for (i = 0; i < MAX_READS; i++) {
		len = mnl_socket_recvfrom(n->watch, buf, sizeof buf);
		if (len < 0 && errno == ENOBUFS) {
			/* A failing list is caught by the next renewal, which names the interface. */
			if (ask_links(n, &e) == ERR_OK && n->events != NULL)
				n->events->overrun(n->ctx);
			continue;
		}
		if (len <= 0)
			return;
		mnl_cb_run(buf, (size_t)len, 0, 0, hear, n);
	}
}

/* Sends one request and reads its acknowledgement, which the kernel queues before send() returns. 0 or an errno value. */
static int transact(struct netlink *n, struct nlmsghdr *h)
{
	char buf[1024];
	ssize_t len;
	int i;

	h->nlmsg_seq = ++n->seq;
	if (mnl_socket_sendto(n->request, h, h->nlmsg_len) < 0)
		return errno;
	for (i = 0; i < MAX_READS; i++) {
		len = mnl_socket_recvfrom(n->request, buf, sizeof buf);
		if (len < 0)
			return errno;
		if (mnl_cb_run(buf, (size_t)len, n->seq, mnl_socket_get_portid(n->request), NULL, NULL) >= 0)
			return 0;
		/* The late answer of an earlier request. */
		if (errno != ESRCH && errno != EPROTO)
			return errno;
	}
	return EPROTO;
}

static struct nlmsghdr *put_address(char *buf, uint16_t type, const struct netlink_link *link, struct in_addr addr)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *info;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	info = mnl_nlmsg_put_extra_header(h, sizeof *info);
	info->ifa_family = AF_INET;
	info->ifa_prefixlen = 32;
	info->ifa_scope = RT_SCOPE_UNIVERSE;
	info->ifa_index = (unsigned)link->index;
	mnl_attr_put_u32(h, IFA_LOCAL, addr.s_addr);
	mnl_attr_put_u32(h, IFA_ADDRESS, addr.s_addr);
	return h;
}

int netlink_set_address(struct netlink *n, const struct allow_vip *vip, struct err *e)
{
	struct ifa_cacheinfo life = {.ifa_valid = NETLINK_ADDRESS_LIFETIME_S, .ifa_prefered = 0};
	const struct netlink_link *link = netlink_find(n, vip->dev);
	char buf[256];
	struct nlmsghdr *h;
	int error;

	if (link == NULL || link->index == 0)
		return err_set(e, ERR_NOTFOUND, "%s: there is no interface %s on this host", vip->text, vip->dev);
	h = put_address(buf, RTM_NEWADDR, link, vip->addr);
	h->nlmsg_flags |= NLM_F_CREATE | NLM_F_REPLACE;
	mnl_attr_put(h, IFA_CACHEINFO, sizeof life, &life);
	mnl_attr_put_u32(h, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	error = transact(n, h);
	if (error != 0)
		return err_sys(e, error, "adding %s to %s", vip->text, vip->dev);
	return ERR_OK;
}

int netlink_remove_address(struct netlink *n, const struct allow_vip *vip, bool *ret_was_there, struct err *e)
{
	const struct netlink_link *link = netlink_find(n, vip->dev);
	char buf[256];
	int error = ENODEV;

	if (link != NULL && link->index != 0)
		error = transact(n, put_address(buf, RTM_DELADDR, link, vip->addr));
	if (error != 0 && error != EADDRNOTAVAIL && error != ENODEV)
		return err_sys(e, error, "removing %s from %s", vip->text, vip->dev);
	if (ret_was_there != NULL)
		*ret_was_there = error == 0;
	return ERR_OK;
}
