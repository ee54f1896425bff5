/* Who holds which addresses and ports until when. Pure bookkeeping and order of steps: the clock, the kernel and the wire are
 * behind struct lease_ops, so that tests can watch the order.
 * Promise kept here: nothing is open for an owner at or after its deadline, and nothing is open for two owners. */
#ifndef VIPD_LEASE_H
#define VIPD_LEASE_H

#include "vipd/allow.h"

#define LEASE_MAX_OWNERS 32
#define LEASE_OWNER_SIZE 72
/* A deadline further away than this is a mistake of the caller, not a lease. */
#define LEASE_MAX_MS 30000

struct lease;

struct lease_ops {
	int64_t (*now_ns)(void *ctx);
	/* Open the fence for `what` until the deadline, in one kernel transaction; opens or renews. */
	int (*fence_open)(void *ctx, const struct vip_set *what, int64_t deadline_ns, struct err *e);
	/* Close it now; idempotent. */
	int (*fence_close)(void *ctx, const struct vip_set *what, struct err *e);
	/* Add the address or renew its lifetime; idempotent. */
	int (*address_set)(void *ctx, unsigned vip, struct err *e);
	/* Remove it; one that is not there is success. */
	int (*address_remove)(void *ctx, unsigned vip, struct err *e);
	/* Reset the clients' connections to these addresses and ports. */
	void (*cut_clients)(void *ctx, const struct vip_set *what);
	/* Tell the network where the address is, now and from time to time; or stop that. */
	void (*announce)(void *ctx, unsigned vip, bool is_on);
	/* A step of closing failed: logged, because closing goes on whatever fails. */
	void (*complain)(void *ctx, const char *owner, const struct err *e);
	/* The lease ended because its deadline passed; everything of it is closed. */
	void (*lapsed)(void *ctx, const struct lease *l);
};

struct lease {
	char owner[LEASE_OWNER_SIZE]; /* "": free slot */
	uint64_t epoch;               /* highest seen, kept when the lease is gone */
	int64_t deadline_ns;
	bool is_held;
	struct vip_set what;
};

struct lease_table {
	const struct lease_ops *ops;
	void *ctx;
	const struct allow *allow;
	struct lease leases[LEASE_MAX_OWNERS];
};

struct lease_request {
	const char *owner; /* borrowed */
	uint64_t epoch;
	int64_t deadline_ns;
	struct vip_set what;
};

/* allow and ops are borrowed. */
void lease_init(struct lease_table *t, const struct allow *allow, const struct lease_ops *ops, void *ctx);

/* Acquire or renew. On failure nothing of the owner stays open (it is not held any more), except that a request that is
 * refused (ERR_REFUSED, ERR_INVAL) leaves what was held as it was. ERR_TIMEOUT: the deadline has passed meanwhile. */
int lease_take(struct lease_table *t, const struct lease_request *r, struct err *e) MUST_USE;

/* Give everything of the owner up now. ERR_REFUSED for a lower epoch; success when nothing is held. */
int lease_release(struct lease_table *t, const char *owner, uint64_t epoch, struct err *e) MUST_USE;

/* Drop every lease whose deadline has passed. */
void lease_expire(struct lease_table *t);
void lease_drop_all(struct lease_table *t);

/* Renew the lifetime of every held address; one that cannot be renewed is complained of. */
void lease_refresh_addresses(struct lease_table *t);

/* The earliest deadline of a held lease; 0: none is held. */
int64_t lease_next_deadline(const struct lease_table *t);

/* Borrowed; NULL: never heard of, or nobody holds it now. */
const struct lease *lease_find(const struct lease_table *t, const char *owner);
const struct lease *lease_of_vip(const struct lease_table *t, unsigned vip);

#endif
