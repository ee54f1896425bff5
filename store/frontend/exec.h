/* Running one statement of a session: the way to dqlite and back, transactions, leases, leadership changes. */
#ifndef STORE_FRONTEND_EXEC_H
#define STORE_FRONTEND_EXEC_H

#include "core/base/str.h"
#include "store/dq.h"
#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;
struct statement;
struct reader_job;
struct writer_unit;
struct shadow_load;

/* What a statement is run with. Everything is borrowed until the operation has ended. */
struct exec_input {
	const struct statement *st;
	const struct dq_value *params;
	size_t param_count;
	const int16_t *formats; /* of the result columns; 0: all text, 1: the one for all */
	size_t format_count;
	struct buf *sink; /* where the rows go: the session's out, or a portal's store */
};

/* The operation of a session that is busy; one at a time. */
struct op {
	struct exec_input in;
	/* NULL: done, tag holds the command tag; else what went wrong. Called once. */
	void (*done)(struct session *s, const struct sqlerr *e);
	char tag[64];
	uint64_t row_count, changes;
	size_t mark;      /* of in.sink, at the start: rows that must not be seen are cut off there */
	bool is_accepted; /* these rows may be shown */
	bool was_flushed; /* some of them have been */
	bool is_canceled;
	int64_t deadline_ms;     /* of trying again */
	struct sqlerr row_error; /* a row that could not be encoded, told when the statement has ended */
	struct reader_job *job;
	struct writer_unit *unit; /* an autocommit statement on its way */
	struct shadow_load *load; /* a schema on its way */
	void (*loaded)(struct session *s, const struct sqlerr *e);
	void (*admitted)(struct session *s);
	void (*ended)(struct session *s, const struct sqlerr *e); /* of exec_end_tx */
	unsigned needs;
};

/* Run in->st. The session must be busy. done may come before this returns. */
void exec_start(struct session *s, const struct exec_input *in, void (*done)(struct session *s, const struct sqlerr *e));

/* COMMIT or roll back what the session holds (no slot: nothing to do); ended tells the outcome: 40001, 08007 or what SQLite
 * said. */
void exec_end_tx(struct session *s, bool is_commit, void (*ended)(struct session *s, const struct sqlerr *e));

/* The leadership under which the transaction ran is gone, and with it the transaction: forget it, with 40001 in e. */
void exec_lose_tx(struct session *s, struct sqlerr *e);
bool exec_has_lost_tx(const struct session *s);

/* --- for transaction.c and local.c --- */

/* The end of the operation: e NULL and s->op.tag set, or what went wrong. */
void exec_finish(struct session *s, const struct sqlerr *e);

/* Run s->op.in.st in the session's transaction; begin it when it has no slot yet. */
void exec_in_tx(struct session *s);

/* Wait until the needs (enum gate_need) hold, then admitted; else the operation fails or the session ends. The time of one
 * operation is shared by all its waits. */
void exec_admit(struct session *s, unsigned needs, void (*admitted)(struct session *s));

/* What failed was surely not applied: wait a little and admit it again. */
void exec_try_again(struct session *s);
bool exec_was_not_applied(const struct dq_result *r);

/* A CancelRequest: the statement that runs in dqlite, if one does, ends with 57014. */
void exec_cancel(struct session *s);

/* Forget everything that is on its way (the session closes). */
void exec_drop(struct session *s);

/* Append the DataRow of one row; returns ERR_SQL with e when a value cannot be encoded. */
int exec_put_row(const struct exec_input *in, const struct dq_value *values, size_t count, struct sqlerr *e) MUST_USE;

#endif
