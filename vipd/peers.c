#include "vipd/peers.h"

#include "core/base/log.h"
#include "vipd/protocol.h"

#include <string.h>

#define OBJ "peers"

void peers_start(struct allow *a, const struct in_addr *addrs, unsigned count)
{
	struct err e = ERR_INIT;

	if (allow_name_peers(a, addrs, count, &e) != ERR_OK)
		log_debug(OBJ, "%s", e.text);
}

static bool has_changed(const struct allow *a, const struct allow *was)
{
	return a->named_count != was->named_count || memcmp(a->named, was->named, a->named_count * sizeof a->named[0]) != 0;
}

int peers_take(struct allow *a, struct nft *n, const struct vip_msg *m, struct err *e)
{
	struct in_addr addrs[VIP_MSG_ADDRS];
	struct allow was = *a;
	unsigned i, count = 0;
	struct err refused = ERR_INIT;
	int rc, refused_rc;

	for (i = 0; i < m->addr_count; i++)
		if (protocol_get_address(&m->addrs[i], &addrs[count]))
			count++;
	refused_rc = allow_name_peers(a, addrs, count, &refused);
	if (refused_rc == ERR_OK && count < m->addr_count)
		refused_rc = err_set(&refused, ERR_REFUSED,
		                     "%u of the hosts have an IPv6 address: the fence lets only IPv4 peers pass",
		                     m->addr_count - count);
	if (has_changed(a, &was) || n->has_stale_peers) {
		rc = nft_set_peers(n, e);
		if (rc != ERR_OK) {
			log_error(OBJ, "%s", e->text);
			return rc;
		}
		log_info(OBJ, "%u hosts named by the cluster may pass the closed ports", a->named_count);
	}
	if (refused_rc != ERR_OK) {
		log_warn(OBJ, "%s", refused.text);
		return err_set(e, ERR_REFUSED, "%s", refused.text);
	}
	return ERR_OK;
}
