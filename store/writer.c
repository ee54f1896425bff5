#include "store/writer_internal.h"

#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/interrupt.h"
#include "store/writer_join.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define GROUP_MAX     64
#define ALONE_GROUPS  16 /* after a joined request that failed: where one statement fails, others will */
#define BUSY_RETRY_MS 5  /* another connection writes (a migration, a dying one): it ends soon */
#define BUSY_LIMIT_MS 10000

static void run_current(struct writer *w);
static void run_begin(struct writer *w);

/* --- BUSY --- */

static void retry_cb(uv_timer_t *timer)
{
	struct writer *w = timer->data;

	w->retry(w);
}

bool writer_retry_when_busy(struct writer *w, const struct dq_result *r, void (*again)(struct writer *w))
{
	int64_t now_ms = clock_now_ms();

	if ((r->code & 0xff) != SQLITE_BUSY || r->code == DQ_DISCONNECTED || w->is_closing) {
		w->busy_limit_ms = 0;
		return false;
	}
	if (w->busy_limit_ms == 0)
		w->busy_limit_ms = now_ms + BUSY_LIMIT_MS;
	if (now_ms >= w->busy_limit_ms) {
		w->busy_limit_ms = 0;
		return false;
	}
	w->retry = again;
	uv_timer_start(&w->timer, retry_cb, BUSY_RETRY_MS, 0);
	return true;
}

/* --- one autocommit statement --- */

static void single_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;
	struct writer_unit *u = TAILQ_FIRST(&w->group);

	if (!r->is_last) {
		if (!u->is_abandoned)
			u->cb(u->arg, r);
		return;
	}
	if (writer_retry_when_busy(w, r, run_current))
		return;
	writer_unit_note_answer(u, r);
	TAILQ_REMOVE(&w->group, u, link);
	w->state = WRITER_IDLE;
	writer_unit_complete(u, r);
	writer_advance(w);
}

/* --- a group --- */

static void group_stmt_cb(void *arg, const struct dq_result *r);
static void join_cb(void *arg, const struct dq_result *r);

static void run_current(struct writer *w)
{
	struct writer_unit *u = w->current;
	dq_cb cb = w->state == WRITER_SINGLE ? single_cb : group_stmt_cb;

	w->joined = NULL;
	if (w->state == WRITER_GROUP && w->alone_groups == 0)
		w->joined = writer_join_send(w->dq, u, join_cb, w);
	if (w->joined != NULL)
		return;
	if (u->stmt.returns_rows)
		dq_query(w->dq, u->stmt.sql, u->stmt.params, u->stmt.param_count, cb, w);
	else
		dq_exec(w->dq, u->stmt.sql, u->stmt.params, u->stmt.param_count, cb, w);
}

/* Give every unit of the group its answer; r (may be NULL) is the answer of those that had none of their own. */
static void group_deliver(struct writer *w, const struct dq_result *r)
{
	struct writer_unit *u;

	w->is_delivering = true;
	while ((u = TAILQ_FIRST(&w->group)) != NULL) {
		TAILQ_REMOVE(&w->group, u, link);
		if (r != NULL && u->code == 0)
			writer_unit_keep(u, r);
		writer_unit_complete_kept(u);
	}
	w->is_delivering = false;
	w->state = WRITER_IDLE;
	writer_advance(w);
}

/* Nothing of this group was committed, and one by one its statements may fare better: back to the head of the queue, in order.
 */
static void group_split(struct writer *w)
{
	struct writer_unit *u, *before;

	for (u = TAILQ_LAST(&w->group, unit_list); u != NULL; u = before) {
		before = TAILQ_PREV(u, unit_list, link);
		if (u->code != 0)
			continue;
		u->stmt.is_alone = true;
		TAILQ_REMOVE(&w->group, u, link);
		TAILQ_INSERT_HEAD(&w->waiting, u, link);
	}
}

static void group_rollback_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;

	(void)r; /* the transaction is gone in any case: ended, or never there */
	group_split(w);
	group_deliver(w, NULL);
}

static bool is_connection_code(int code)
{
	return code == DQ_NOT_LEADER || code == DQ_LEADERSHIP_LOST || code == DQ_DISCONNECTED || code == DQ_NOT_OPEN;
}

/* COMMIT was not sent, so whatever broke, nothing of the group is applied: say 'not leader', which is safe to repeat. */
static void group_lost(struct writer *w)
{
	struct dq_result lost = {.code = DQ_NOT_LEADER, .message = "the leadership of the store changed", .is_last = true};

	group_deliver(w, &lost);
}

static void group_commit(struct writer *w);

static void group_commit_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;

	if (writer_retry_when_busy(w, r, group_commit))
		return;
	if (r->code == 0)
		group_deliver(w, NULL);
	else if (r->code == DQ_NOT_LEADER || !r->was_sent)
		group_lost(w);
	else if (is_connection_code(r->code))
		group_deliver(w, r); /* ambiguous for all of them */
	else
		dq_exec(w->dq, "ROLLBACK", NULL, 0, group_rollback_cb, w);
}

static void group_commit(struct writer *w)
{
	dq_exec(w->dq, "COMMIT", NULL, 0, group_commit_cb, w);
}

static void group_next(struct writer *w)
{
	w->current = TAILQ_NEXT(w->current, link);
	if (w->current != NULL)
		run_current(w);
	else
		group_commit(w);
}

/* A BEGIN inside a transaction fails; one that succeeds shows that the failed statement (ON CONFLICT ROLLBACK) ended the
 * transaction, and with it what others had done in it. */
static void group_probe_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;

	if (r->code == 0)
		dq_exec(w->dq, "ROLLBACK", NULL, 0, group_rollback_cb, w);
	else if (is_connection_code(r->code))
		group_lost(w);
	else
		group_next(w);
}

static void group_stmt_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;

	writer_unit_note_answer(w->current, r);
	if (is_connection_code(r->code)) {
		group_lost(w);
		return;
	}
	writer_unit_keep(w->current, r);
	if (r->code != 0)
		dq_exec(w->dq, "BEGIN", NULL, 0, group_probe_cb, w);
	else
		group_next(w);
}

/* The transaction is gone, and so is all that was done in it: nobody has been told anything yet. */
static void join_rollback_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;
	struct writer_unit *u;

	(void)r;
	TAILQ_FOREACH(u, &w->group, link)
	u->code = 0;
	w->current = TAILQ_FIRST(&w->group);
	w->alone_groups = ALONE_GROUPS;
	run_begin(w);
}

/* A failure may be of any of them. What was asked of interrupt.h stays: it stops the same statement when it runs alone. */
static void join_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;
	struct writer_unit *last = w->joined, *u;
	bool have_run = writer_join_keep(w->current, last, r), is_lost = is_connection_code(r->code);

	for (u = w->current; have_run || is_lost; u = TAILQ_NEXT(u, link)) {
		writer_unit_note_answer(u, r);
		if (u == last)
			break;
	}
	w->joined = NULL;
	if (is_lost) {
		group_lost(w);
	} else if (!have_run) {
		dq_exec(w->dq, "ROLLBACK", NULL, 0, join_rollback_cb, w);
	} else {
		w->current = last;
		group_next(w);
	}
}

static void group_begin_cb(void *arg, const struct dq_result *r)
{
	struct writer *w = arg;

	if (writer_retry_when_busy(w, r, run_begin))
		return;
	if (r->code == 0)
		run_current(w);
	else if (is_connection_code(r->code))
		group_lost(w);
	else
		group_deliver(w, r);
}

static void run_begin(struct writer *w)
{
	dq_exec(w->dq, "BEGIN IMMEDIATE", NULL, 0, group_begin_cb, w);
}

/* --- the queue --- */

static void take(struct writer *w, struct writer_unit *u)
{
	TAILQ_REMOVE(&w->waiting, u, link);
	TAILQ_INSERT_TAIL(&w->group, u, link);
}

static bool can_share(const struct writer_unit *u)
{
	return u != NULL && !u->is_tx && !u->stmt.is_alone && !u->stmt.returns_rows;
}

void writer_advance(struct writer *w)
{
	struct writer_unit *u = TAILQ_FIRST(&w->waiting);
	unsigned n = 1;

	if (w->state != WRITER_IDLE || w->is_delivering || w->is_closing || u == NULL)
		return;
	if (u->is_tx) {
		TAILQ_REMOVE(&w->waiting, u, link);
		w->tx = u;
		w->state = WRITER_TX_BEGIN;
		writer_tx_begin(w);
		return;
	}
	take(w, u);
	for (; can_share(u) && can_share(TAILQ_FIRST(&w->waiting)) && n < GROUP_MAX; n++)
		take(w, TAILQ_FIRST(&w->waiting));
	w->current = u;
	w->state = n == 1 ? WRITER_SINGLE : WRITER_GROUP;
	if (n > 1 && w->alone_groups > 0)
		w->alone_groups--;
	if (n == 1)
		run_current(w);
	else
		run_begin(w);
}

static struct writer_unit *enqueue(struct writer *w, struct writer_unit *u)
{
	assert(!w->is_closing);
	TAILQ_INSERT_TAIL(&w->waiting, u, link);
	writer_advance(w);
	return u;
}

struct writer_unit *writer_submit(struct writer *w, const struct writer_stmt *stmt, dq_cb cb, void *arg)
{
	struct writer_unit *u = writer_unit_new(w, cb, arg);

	writer_unit_set_stmt(u, stmt);
	return enqueue(w, u);
}

struct writer_unit *writer_begin(struct writer *w, dq_cb cb, void *arg)
{
	struct writer_unit *u = writer_unit_new(w, cb, arg);

	u->is_tx = true;
	return enqueue(w, u);
}

static bool is_waiting(const struct writer *w, const struct writer_unit *u)
{
	const struct writer_unit *other;

	TAILQ_FOREACH(other, &w->waiting, link)
	if (other == u)
		return true;
	return false;
}

void writer_abandon(struct writer_unit *u)
{
	struct writer *w = u->w;

	u->is_abandoned = true;
	if (is_waiting(w, u)) {
		TAILQ_REMOVE(&w->waiting, u, link);
		writer_unit_free(u);
	} else if (u == w->tx && w->state == WRITER_TX_HELD) {
		writer_tx_rollback(w);
	} else {
		writer_cancel(u); /* what runs may run for long; its answer comes soon, and a transaction is rolled back then */
	}
}

void writer_cancel(struct writer_unit *u)
{
	const struct writer *w = u->w;

	if (u == w->tx && w->state == WRITER_TX_RUN)
		interrupt_request(u->id);
	else if ((w->state == WRITER_SINGLE || w->state == WRITER_GROUP) && (w->current == u || u->is_joined))
		interrupt_request(u->id);
}

struct writer *writer_new(uv_loop_t *loop, const char *address, const char *database)
{
	struct writer *w = mem_alloc(sizeof(*w));

	TAILQ_INIT(&w->waiting);
	TAILQ_INIT(&w->group);
	w->dq = dq_new(loop, address, database);
	uv_timer_init(loop, &w->timer);
	w->timer.data = w;
	return w;
}

static void timer_closed_cb(uv_handle_t *handle)
{
	struct writer *w = handle->data;
	struct writer_unit *u;

	/* What waited for a BUSY retry or was held had no request whose end would have freed it. */
	while ((u = TAILQ_FIRST(&w->group)) != NULL) {
		TAILQ_REMOVE(&w->group, u, link);
		writer_unit_free(u);
	}
	if (w->tx != NULL)
		writer_unit_free(w->tx);
	if (w->done_cb != NULL)
		w->done_cb(w->done_arg);
	free(w);
}

static void dq_closed_cb(void *arg)
{
	struct writer *w = arg;

	uv_close((uv_handle_t *)&w->timer, timer_closed_cb);
}

void writer_close(struct writer *w, void (*done_cb)(void *arg), void *arg)
{
	struct writer_unit *u;

	w->is_closing = true;
	w->done_cb = done_cb;
	w->done_arg = arg;
	while ((u = TAILQ_FIRST(&w->waiting)) != NULL) {
		struct dq_result r = {.code = DQ_DISCONNECTED, .message = "the store is stopping", .is_last = true};

		TAILQ_REMOVE(&w->waiting, u, link);
		writer_unit_complete(u, &r);
	}
	uv_timer_stop(&w->timer);
	dq_close(w->dq, dq_closed_cb, w);
}
