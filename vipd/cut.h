/* Resets TCP connections (SOCK_DESTROY): clients that wait for an answer learn at once that this host no longer gives one. */
#ifndef VIPD_CUT_H
#define VIPD_CUT_H

#include "vipd/allow.h"

struct mnl_socket;

struct cut {
	struct mnl_socket *list, *destroy;
	uint32_t seq;
};

int cut_open(struct cut *c, struct err *e) MUST_USE;
void cut_close(struct cut *c);

/* Every connection to one of the addresses, and to one of the ports unless its other end is a peer or this host.
 * *ret_count (how many were reset) is set also on failure. ERR_IO: a kernel without CONFIG_INET_DIAG_DESTROY. */
int cut_clients(struct cut *c, const struct allow *a, const struct vip_set *what, unsigned *ret_count, struct err *e) MUST_USE;

#endif
