/* Hosts that the cluster names while it runs: they pass the closed database ports where vip.allow has a peer-net for them. */
#ifndef VIPD_PEERS_H
#define VIPD_PEERS_H

#include "core/base/vip_msg.h"
#include "vipd/allow.h"
#include "vipd/nft.h"

/* Before the fence is loaded: what this host knew last. Addresses outside every peer-net are left out without a word. */
void peers_start(struct allow *a, const struct in_addr *addrs, unsigned count);

/* VIP_PEERS: replace the named peers and put them into force. ERR_REFUSED names the first address that vip.allow does not
 * cover; the others are in force all the same. ERR_IO: the firewall did not take them; the next message tries again. */
int peers_take(struct allow *a, struct nft *n, const struct vip_msg *m, struct err *e) MUST_USE;

#endif
