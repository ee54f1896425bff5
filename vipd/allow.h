/* vip.allow: what this host's administrator lets mha-vipd touch. Nothing that is not listed there is ever changed.
 *
 *   vip 10.77.0.100/32 dev eth0    # an address it may hold, and where
 *   port 5432                      # a database port that is closed to everybody but peers unless a lease opens it
 *   peer 10.77.0.11                # another host of the cluster: passes the closed ports
 */
#ifndef VIPD_ALLOW_H
#define VIPD_ALLOW_H

#include "core/base/err.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* At most 32 each of vips and ports: sets of them are bit masks (struct vip_set). */
#define ALLOW_MAX_VIPS  32
#define ALLOW_MAX_PORTS 32
#define ALLOW_MAX_PEERS 64

struct allow_vip {
	struct in_addr addr;
	char text[INET_ADDRSTRLEN];
	char dev[IFNAMSIZ];
};

struct allow {
	char path[256];
	struct allow_vip vips[ALLOW_MAX_VIPS];
	unsigned vip_count;
	uint16_t ports[ALLOW_MAX_PORTS];
	unsigned port_count;
	struct in_addr peers[ALLOW_MAX_PEERS];
	unsigned peer_count;
};

/* Some of the allowed addresses and ports: bit i stands for vips[i] or ports[i]. */
struct vip_set {
	uint32_t vips;
	uint32_t ports;
};

/* Read the file. ERR_NOTFOUND, ERR_REFUSED (somebody else may write it), ERR_INVAL (names the line). */
int allow_load(const char *path, struct allow *ret, struct err *e) MUST_USE;

/* Index into vips or ports; -1 when it is not listed. */
int allow_find_vip(const struct allow *a, struct in_addr addr);
int allow_find_port(const struct allow *a, uint16_t port);
bool allow_is_peer(const struct allow *a, struct in_addr addr);

/* Everything that is listed. */
struct vip_set allow_all(const struct allow *a);

/* "10.77.0.100, port 5432", or "nothing"; cut to cap. Returns buf. */
const char *allow_describe(const struct allow *a, const struct vip_set *what, char *buf, size_t cap);

#endif
