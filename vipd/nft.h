/* The fence: nft set elements with millisecond timeouts. The kernel closes at the deadline whatever our processes do.
 * The rules are loaded once by the `nft` program (before the sandbox shuts); leases go through nfnetlink directly. */
#ifndef VIPD_NFT_H
#define VIPD_NFT_H

#include "vipd/allow.h"
#include "vipd/ruleset.h"

struct mnl_socket;

struct nft {
	struct mnl_socket *request, *watch;
	const struct allow *allow;
	char name[RULESET_NAME_SIZE];
	uint32_t seq;
	bool has_stale_peers; /* the last nft_set_peers failed */
	bool is_lost;         /* somebody removed the rules: nothing here is fenced any more */
};

/* Load the rules (replacing older ones; everything is closed afterwards) and prove that leases can be set. allow is borrowed.
 * On failure *n is a fence that is not active; the error says what is missing. */
int nft_open(struct nft *n, const struct allow *allow, const char *name, struct err *e) MUST_USE;
void nft_close(struct nft *n);
bool nft_is_active(const struct nft *n);

/* Remove the rules: what they closed is open afterwards. */
int nft_unload(const char *name, struct err *e) MUST_USE;

/* Renew `what` until the deadline in one transaction: never a gap, never later than the deadline (as of the timeout's
 * computation: check the clock again afterwards). ERR_TIMEOUT: it has passed. */
int nft_open_lease(struct nft *n, const struct vip_set *what, int64_t deadline_ns, struct err *e) MUST_USE;
int nft_close_lease(struct nft *n, const struct vip_set *what, struct err *e) MUST_USE;

/* Put the peers of `allow` as they are now into force, in one transaction. */
int nft_set_peers(struct nft *n, struct err *e) MUST_USE;

/* To be watched for reading; then nft_read, which sets is_lost when our rules were removed or changed. */
int nft_fd(const struct nft *n);
void nft_read(struct nft *n);

#endif
