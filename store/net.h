/* Addresses and socket options that the dqlite client, the front and the dialer share. */
#ifndef STORE_NET_H
#define STORE_NET_H

#include "core/base/err.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define NET_ADDRESS_CAP 64 /* "[ipv6]:port" and its NUL */

/* "10.0.0.1:7401" or "[fe80::1]:7401", numeric only. ERR_INVAL names the text. */
int net_parse(const char *text, struct sockaddr_storage *ret, struct err *e) MUST_USE;

/* The reverse for a numeric host and a port; brackets around IPv6. buf holds NET_ADDRESS_CAP. Returns buf. */
char *net_format(const char *host, uint16_t port, char *buf);

/* Non-blocking stream socket connected to the abstract unix name "@name" (an answer comes at once). Returns it, or -errno. */
int net_connect_abstract(const char *name);

/* TCP_NODELAY, keepalive, and TCP_USER_TIMEOUT: unacknowledged data closes the connection after that long, so that a link which
 * comes back is not waited for behind TCP's growing retransmission pauses. Best effort. */
void net_tune(int fd, unsigned user_timeout_ms);

#endif
