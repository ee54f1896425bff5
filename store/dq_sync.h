/* The wire client for code that may block: a worker thread, or a program without a loop. One database, its own loop inside. */
#ifndef STORE_DQ_SYNC_H
#define STORE_DQ_SYNC_H

#include "store/dq.h"
#include "store/migrate.h"

struct dq_sync;

struct dq_sync *dq_sync_new(const char *address, const char *database); /* returned: dq_sync_free */
void dq_sync_free(struct dq_sync *s);                                   /* NULL is fine */

/* ERR_SQL with the node's own words. */
int dq_sync_exec(struct dq_sync *s, const char *sql, const struct dq_value *params, size_t count, struct err *e) MUST_USE;

/* The first value of the first row as a number (0: no row), as text into buf ("" no row). */
int dq_sync_number(struct dq_sync *s, const char *sql, int64_t *ret, struct err *e) MUST_USE;
int dq_sync_text(struct dq_sync *s, const char *sql, char *buf, size_t cap, struct err *e) MUST_USE;

/* The bytes of a database. *ret is returned: free(). */
int dq_sync_dump(struct dq_sync *s, const char *database, void **ret, size_t *ret_size, struct err *e) MUST_USE;

int dq_sync_migrate(struct dq_sync *s, const struct migration *list, struct err *e) MUST_USE;

/* Until the node leads. ERR_TIMEOUT. */
int dq_sync_wait_leader(struct dq_sync *s, uint64_t id, int64_t limit_ms, struct err *e) MUST_USE;

#endif
