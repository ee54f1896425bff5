/* The dqlite wire client: one connection to the node in this process, one database, one request in flight (dqlite asserts on
 * overlap; further requests queue here in order). All on one libuv loop; callbacks run on it, never from inside the call that
 * started them. */
#ifndef STORE_DQ_H
#define STORE_DQ_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Codes of dqlite beside SQLite's own (facts: facts/dqlite.md, section 3). */
#define DQ_NOT_LEADER      10250
#define DQ_LEADERSHIP_LOST 10506 /* ambiguous: it may have been applied */
#define DQ_NOT_OPEN        12
#define DQ_NO_DATABASE     1002 /* of DUMP: nobody has written to it yet */
#define DQ_DISCONNECTED    (-1) /* the connection broke before the answer came: ambiguous for a write */

enum dq_type {
	DQ_INTEGER = 1,
	DQ_FLOAT = 2,
	DQ_TEXT = 3,
	DQ_BLOB = 4,
	DQ_NULL = 5,
	DQ_UNIXTIME = 9,
	DQ_ISO8601 = 10,
	DQ_BOOLEAN = 11
};

struct dq_value {
	enum dq_type type;
	union {
		int64_t i; /* INTEGER, UNIXTIME, BOOLEAN */
		double f;
		struct {
			const char *data; /* TEXT is also NUL-terminated */
			size_t len;
		} s;
	} u;
};

/* The answer to one request; everything in it is borrowed until the callback returns. */
struct dq_result {
	int code;            /* 0: ok; else a SQLite or dqlite code, or DQ_DISCONNECTED */
	const char *message; /* "" when code is 0 */
	uint64_t last_id, changes;
	size_t column_count, row_count; /* row_count: of this call */
	const char *const *columns;
	const struct dq_value *values; /* row_count * column_count, row by row */
	bool is_last;                  /* false: more rows of this query follow in further calls */
	bool was_sent;                 /* false (with a code): dqlite never got this request, so it surely had no effect */
};
typedef void (*dq_cb)(void *arg, const struct dq_result *r);

struct dq;

/* A transaction lives on its connection. When that breaks (or leadership leaves and returns) between two requests of a
 * BEGIN..COMMIT, the next request is not run outside the lost transaction: it fails with was_sent false. */

/* A connection to `address` ("@dqlite-..." abstract unix, "host:port" TCP) for `database` (copied; NULL: no OPEN, for
 * leader/cluster requests). Connects lazily and again after a failure; OPENs again on DQ_NOT_OPEN. */
struct dq *dq_new(uv_loop_t *loop, const char *address, const char *database);

/* Pending requests complete with DQ_DISCONNECTED first, and so do those that their callbacks ask for; then done_cb (may be
 * NULL) and the memory is gone. */
void dq_close(struct dq *d, void (*done_cb)(void *arg), void *arg);

/* Start over with a fresh connection: an open transaction is rolled back by the server. Pending requests complete with
 * DQ_DISCONNECTED. */
void dq_reset(struct dq *d);

/* Other connections than plain ones: connect returns a connected unix socket (taken), or -errno. */
void dq_set_connect(struct dq *d, int (*connect)(void *arg, const char *address), void *arg);

/* A request without an answer after this long breaks the connection (default 120 s). */
void dq_set_timeout(struct dq *d, unsigned timeout_ms);

/* Values are copied. The callback comes exactly once for exec, once or more (last: is_last) for query.
 * Never send RETURNING through dq_exec: dqlite wedges (facts: dqlite.md, section 5). dq_query is fine for it. */
void dq_exec(struct dq *d, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb, void *arg);
void dq_query(struct dq *d, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb, void *arg);

/* Cluster requests, same rules. leader: one row (id INTEGER, address TEXT; id 0: none known).
 * cluster: rows (id INTEGER, address TEXT, role INTEGER 0 voter 1 standby 2 spare). */
void dq_leader(struct dq *d, dq_cb cb, void *arg);
void dq_cluster(struct dq *d, dq_cb cb, void *arg);
void dq_add(struct dq *d, uint64_t id, const char *address, dq_cb cb, void *arg);
void dq_assign(struct dq *d, uint64_t id, int role, dq_cb cb, void *arg);
void dq_remove(struct dq *d, uint64_t id, dq_cb cb, void *arg);
void dq_transfer(struct dq *d, uint64_t id, dq_cb cb, void *arg);

/* The files of a database as the node that answers has them now, leader or not: rows (name TEXT, data BLOB), in one call. */
void dq_dump(struct dq *d, const char *database, dq_cb cb, void *arg);

#endif
