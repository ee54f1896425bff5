/* vip.allow: what this host's administrator lets mha-vipd touch. Nothing that is not listed there is ever changed.
 *
 *   vip 10.77.0.100/32 dev eth0    # an address it may hold, and where
 *   port 5432                      # a database port that is closed to everybody but peers unless a lease opens it
 *   peer 10.77.0.11                # another host of the cluster: passes the closed ports
 *   peer-net 10.77.0.0/24          # here the cluster may have hosts that it names while it runs (VIP_PEERS); nothing in it
 *                                  # passes unless it is named
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
#define ALLOW_MAX_NETS  8
#define ALLOW_MAX_NAMED 16
#define ALLOW_ALL_PEERS (ALLOW_MAX_PEERS + ALLOW_MAX_NAMED)

struct allow_vip {
	struct in_addr addr;
	char text[INET_ADDRSTRLEN];
	char dev[IFNAMSIZ];
};

struct allow_net {
	struct in_addr addr, mask;
};

struct allow {
	char path[256];
	struct allow_vip vips[ALLOW_MAX_VIPS];
	unsigned vip_count;
	uint16_t ports[ALLOW_MAX_PORTS];
	unsigned port_count;
	struct in_addr peers[ALLOW_MAX_PEERS];
	unsigned peer_count;
	struct allow_net nets[ALLOW_MAX_NETS];
	unsigned net_count;
	struct in_addr named[ALLOW_MAX_NAMED]; /* inside a peer-net; not from the file (allow_name_peers) */
	unsigned named_count;
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

/* One of the file's, or one that was named since. */
bool allow_is_peer(const struct allow *a, struct in_addr addr);

/* Replace the named peers by those of addrs that lie inside a peer-net. ERR_REFUSED names the first one that neither does nor
 * is a peer of the file; the others are taken all the same. */
int allow_name_peers(struct allow *a, const struct in_addr *addrs, unsigned count, struct err *e) MUST_USE;

/* All peers, each once, into ret of ALLOW_ALL_PEERS; returns how many. */
unsigned allow_peers(const struct allow *a, struct in_addr *ret);

/* Everything that is listed. */
struct vip_set allow_all(const struct allow *a);

/* "10.77.0.100, port 5432", or "nothing"; cut to cap. Returns buf. */
const char *allow_describe(const struct allow *a, const struct vip_set *what, char *buf, size_t cap);

#endif
