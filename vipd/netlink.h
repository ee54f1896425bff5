/* Interfaces and IPv4 addresses through rtnetlink. Two sockets: one for our own requests (answered within the system call, so
 * nothing ever waits), one that hears of changes made by anybody. */
#ifndef VIPD_NETLINK_H
#define VIPD_NETLINK_H

#include "vipd/allow.h"

/* The address outlives its last renewal by this; renewed every second. Whole seconds only (facts of the kernel). */
#define NETLINK_ADDRESS_LIFETIME_S 2

struct netlink_link {
	char name[IFNAMSIZ];
	int index; /* 0: there is no such interface now */
	uint8_t mac[6];
	bool is_ethernet;
	bool is_running; /* up, with carrier */
};

struct netlink_events {
	/* The interface appeared, vanished, came up, went down or changed its MAC; *was is the state before. */
	void (*link_changed)(void *ctx, const struct netlink_link *link, const struct netlink_link *was);
	/* Somebody else, or its lifetime's end, removed an address. */
	void (*address_removed)(void *ctx, const struct netlink_link *link, struct in_addr addr);
	/* Notifications were lost: check everything. */
	void (*overrun)(void *ctx);
};

struct mnl_socket;

struct netlink {
	struct mnl_socket *request, *watch;
	uint32_t seq;
	struct netlink_link links[ALLOW_MAX_VIPS]; /* the interfaces named in vip.allow */
	unsigned link_count;
	const struct netlink_events *events;
	void *ctx;
};

/* events may be set later, before netlink_read. */
int netlink_open(struct netlink *n, const struct allow *allow, struct err *e) MUST_USE;
void netlink_close(struct netlink *n);

/* To be watched for reading; then netlink_read. */
int netlink_fd(const struct netlink *n);
void netlink_read(struct netlink *n);

/* Borrowed; NULL when vip.allow does not name it. */
const struct netlink_link *netlink_find(const struct netlink *n, const char *name);

/* Add addr/32 with the lifetime above, or renew it. ERR_NOTFOUND: no such interface. */
int netlink_set_address(struct netlink *n, const struct allow_vip *vip, struct err *e) MUST_USE;

/* Remove it. *ret_was_there (may be NULL) says whether there was anything to remove. */
int netlink_remove_address(struct netlink *n, const struct allow_vip *vip, bool *ret_was_there, struct err *e) MUST_USE;

#endif
