/* Opening a netlink socket: non-blocking, close-on-exec, bound. */
#ifndef VIPD_NLSOCK_H
#define VIPD_NLSOCK_H

#include "core/base/err.h"

struct mnl_socket;

/* bus: NETLINK_ROUTE, ...; groups: mask of multicast groups, 0 for none. *ret is returned: close with nlsock_close. */
int nlsock_open(int bus, unsigned groups, struct mnl_socket **ret, struct err *e) MUST_USE;

/* Closes *s and sets it to NULL; NULL is fine. */
void nlsock_close(struct mnl_socket **s);

#endif
