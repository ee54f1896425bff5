/* What the SQL port's SHOW mha.*, CALL mha_* and SET mha.lease do. Asynchronous: everything runs on the one loop, and a
 * callback comes exactly once, never from inside the call that asked for it. */
#ifndef STORE_ADMIN_H
#define STORE_ADMIN_H

#include "core/base/config.h"
#include "store/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct admin;

/* One answer; everything in it is borrowed until the callback returns. */
struct admin_result {
	int code;             /* 0: ok; else an enum err_code */
	const char *sqlstate; /* "00000" when code is 0 */
	const char *message;  /* "" when code is 0; else says what is wrong and the way out */
	size_t column_count, row_count;
	const char *const *columns;
	const char *const *values; /* row_count * column_count, row by row; NULL is SQL's NULL; all of type text */
};
typedef void (*admin_cb)(void *arg, const struct admin_result *r);

/* loop, n and c are borrowed until admin_free. Never fails. */
struct admin *admin_new(uv_loop_t *loop, struct node *n, struct config *c);

/* Requests still running complete with ERR_REFUSED / 57P01 first; then done (may be NULL) and the memory is gone. */
void admin_close(struct admin *a, void (*done)(void *arg), void *arg);

/* CALL name(args): mha_init(cluster, uuid, profile), mha_join(uuid, profile), mha_add(id, address), mha_assign(id, role),
 * mha_remove(id), mha_transfer(id), mha_migrate(), mha_backup(file; '' a name of its own; answers when it has begun),
 * mha_init(cluster, uuid, profile, backup: absolute path). The arguments are copied. An unknown name or a wrong number of
 * arguments -> 42883. No rows. */
void admin_call(struct admin *a, const char *name, const char *const *args, size_t n, admin_cb cb, void *arg);

/* SHOW mha.<what>: "node" (one row), "members", "backup" (the newest since the start) or "restore" (how far); any other name ->
 * 42704. */
void admin_show(struct admin *a, const char *what, admin_cb cb, void *arg);

/* What SHOW mha.node tells as revision: the number of commits that the SQL front end has seen acknowledged. Starts at 0. */
void admin_set_revision(struct admin *a, uint64_t revision);

/* --- the controller's lease (DESIGN section 4), as the control session last told it --- */

/* deadline_ns is CLOCK_BOOTTIME. A lower generation than the last is ignored: only the newest controller may extend a lease. */
void admin_set_lease(struct admin *a, uint64_t generation, int64_t deadline_ns);
/* When the control session last set a lease, valid or not: its sign of life. CLOCK_BOOTTIME ms, 0: never. */
int64_t admin_control_ms(const struct admin *a);
bool admin_lease_is_valid(const struct admin *a); /* the deadline is still ahead, now */

/* The lease was valid at some instant since this node became leader this time; false when it is not the leader. Evaluated on
 * the spot, so ask again after admin_set_lease. */
bool admin_lease_seen_since_leader(struct admin *a);

/* Called on the loop after each admin_set_lease, for those who wait for a lease. One listener; NULL removes it. */
void admin_on_lease(struct admin *a, void (*cb)(void *arg), void *arg);

#endif
