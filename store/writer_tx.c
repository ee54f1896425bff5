/* The writer's interactive transactions: BEGIN IMMEDIATE, statements one by one, COMMIT or ROLLBACK, the slot held all the
 * while. */
#include "store/writer_internal.h"

#include <assert.h>
#include <stdlib.h>

static void tx_rollback_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;
	struct writer_unit *u = w->tx;

	(void)r;
	w->tx = NULL;
	w->state = WRITER_IDLE;
	writer_unit_complete_kept(u);
	writer_advance(w);
}

void writer_tx_rollback(struct writer *w)
{
	w->state = WRITER_TX_END;
	if (w->is_closing)
		tx_rollback_cb(w, NULL);
	else
		dq_exec(w->dq, "ROLLBACK", NULL, 0, tx_rollback_cb, w);
}

static void tx_begin_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;
	struct writer_unit *u = w->tx;

	if (!u->is_abandoned && writer_retry_when_busy(w, r, writer_tx_begin))
		return;
	w->busy_limit_ms = 0;
	if (r->code != 0) {
		w->tx = NULL;
		w->state = WRITER_IDLE;
		writer_unit_complete(u, r);
		writer_advance(w);
	} else if (u->is_abandoned) {
		writer_tx_rollback(w);
	} else {
		w->state = WRITER_TX_HELD;
		u->cb(u->arg, r);
	}
}

void writer_tx_begin(struct writer *w)
{
	if (w->tx->is_abandoned) { /* while it waited for another try */
		struct dq_result none = {.message = "", .is_last = true};
		struct writer_unit *u = w->tx;

		w->tx = NULL;
		w->state = WRITER_IDLE;
		writer_unit_complete(u, &none);
		writer_advance(w);
		return;
	}
	dq_exec(w->dq, "BEGIN IMMEDIATE", NULL, 0, tx_begin_cb, w);
}

static void tx_run_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;
	struct writer_unit *u = w->tx;

	if (r->is_last)
		writer_unit_note_answer(u, r);
	if (u->is_abandoned) {
		if (r->is_last)
			writer_tx_rollback(w);
		return;
	}
	if (r->is_last)
		w->state = WRITER_TX_HELD;
	u->cb(u->arg, r);
}

void writer_run(struct writer_unit *u, const struct writer_stmt *stmt, dq_cb cb, void *arg)
{
	struct writer *w = u->w;
	char *sql = writer_unit_mark(u, stmt->sql);

	assert(w->tx == u && w->state == WRITER_TX_HELD);
	u->cb = cb;
	u->arg = arg;
	w->state = WRITER_TX_RUN;
	if (stmt->returns_rows)
		dq_query(w->dq, sql, stmt->params, stmt->param_count, tx_run_cb, w);
	else
		dq_exec(w->dq, sql, stmt->params, stmt->param_count, tx_run_cb, w);
	free(sql); /* copied by then */
}

static void tx_commit(struct writer *w);

static void tx_commit_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;

	if (writer_retry_when_busy(w, r, tx_commit))
		return;
	writer_unit_keep(w->tx, r);
	if (r->code != 0)
		writer_tx_rollback(w);
	else
		tx_rollback_cb(w, r);
}

static void tx_commit(struct writer *w)
{
	dq_exec(w->dq, "COMMIT", NULL, 0, tx_commit_cb, w);
}

void writer_finish(struct writer_unit *u, bool is_commit, dq_cb cb, void *arg)
{
	struct writer *w = u->w;

	assert(w->tx == u && w->state == WRITER_TX_HELD);
	u->cb = cb;
	u->arg = arg;
	w->state = WRITER_TX_END;
	if (is_commit)
		tx_commit(w);
	else
		writer_tx_rollback(w);
}
