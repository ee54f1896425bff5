/* The writer: one queue and one connection per database, through which every change goes, so that no client ever sees BUSY.
 * Autocommit statements that wait together are committed together (one Raft commit for many clients; each still gets its own
 * answer); an interactive transaction holds the slot alone. First in, first out. All on one loop. */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include "store/dq.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct writer;
struct writer_unit; /* one autocommit statement or one interactive transaction */

struct writer_stmt {
	const char *sql;
	const struct dq_value *params;
	size_t param_count;
	bool returns_rows; /* RETURNING: goes through dqlite's QUERY */
	bool is_alone;     /* may not share a transaction with others: DDL, PRAGMA, VACUUM */
};

struct writer *writer_new(uv_loop_t *loop, const char *address, const char *database);

/* Every unit completes with DQ_DISCONNECTED first (was_sent tells whether it may have been applied). */
void writer_close(struct writer *w, void (*done_cb)(void *arg), void *arg);

/* Queue an autocommit statement (copied). cb comes as for dq_query (is_last ends it) when the statement is committed or has
 * failed; rows come only once they are committed or about to be: act on them after is_last with code 0. The unit is gone after
 * the last callback. */
struct writer_unit *writer_submit(struct writer *w, const struct writer_stmt *stmt, dq_cb cb, void *arg);

/* Queue an interactive transaction. cb comes once: code 0 when BEGIN IMMEDIATE is done and the slot held; on an error the unit
 * is gone. */
struct writer_unit *writer_begin(struct writer *w, dq_cb cb, void *arg);

/* One statement inside a transaction that holds the slot; one at a time. */
void writer_run(struct writer_unit *u, const struct writer_stmt *stmt, dq_cb cb, void *arg);

/* COMMIT or ROLLBACK. After the callback the unit is gone, whatever the code: a COMMIT that failed is rolled back before the
 * slot passes on. */
void writer_finish(struct writer_unit *u, bool is_commit, dq_cb cb, void *arg);

/* Stop the statement that runs, if one does: its answer comes soon, with SQLITE_INTERRUPT if it did not end just before. */
void writer_cancel(struct writer_unit *u);

/* Nobody waits for this unit any more: no callback of it comes after this. What has not begun never will; what runs is stopped;
 * a transaction is rolled back. */
void writer_abandon(struct writer_unit *u);

#endif
