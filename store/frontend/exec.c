#include "store/frontend/exec.h"

#include "core/base/clock.h"
#include "store/frontend/gate.h"
#include "store/frontend/local.h"
#include "store/frontend/messages.h"
#include "store/frontend/schema.h"
#include "store/frontend/session.h"
#include "store/frontend/transaction.h"
#include "store/frontend/types.h"

#include <string.h>
#include <strings.h>

#define OUT_FLUSH_BYTES (64 * 1024)
#define OUT_MAX_BYTES   (128 * 1024 * 1024)

/* --- the end of an operation --- */

/* Rows that may not be shown (another try follows, or an error). */
static void cut_rows(struct op *op)
{
	struct buf *sink = op->in.sink;

	if (!op->was_flushed && sink != NULL && sink->len > op->mark) {
		sink->len = op->mark;
		sink->data[op->mark] = '\0';
	}
	op->row_count = 0;
}

void exec_finish(struct session *s, const struct sqlerr *e)
{
	void (*done)(struct session *, const struct sqlerr *) = s->op.done;

	if (e != NULL)
		cut_rows(&s->op);
	s->op.done = NULL;
	done(s, e);
}

static void fail(struct session *s, const char *sqlstate, const char *text)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, sqlstate, "%s", text);
	exec_finish(s, &e);
}

static void fail_code(struct session *s, const struct dq_result *r)
{
	struct sqlerr e = SQLERR_INIT;

	/* dqlite words an interrupted statement as it likes. */
	if (s->op.is_canceled)
		sqlerr_set(&e, "57014", "canceling statement due to user request");
	else
		sqlerr_from_code(&e, r->code, r->message);
	exec_finish(s, &e);
}

static void succeed(struct session *s)
{
	const struct statement *st = s->op.in.st;

	statement_format_tag(st, statement_returns_rows(st) ? s->op.row_count : s->op.changes, s->op.tag, sizeof(s->op.tag));
	exec_finish(s, NULL);
}

static void ack_cb(struct session *s, bool is_open)
{
	if (is_open)
		succeed(s);
	else
		fail(s, "08007",
		     "the statement was committed on this node, but its controller has no lease: whether it lasts is not "
		     "known");
}

/* --- rows --- */

int exec_put_row(const struct exec_input *in, const struct dq_value *values, size_t count, struct sqlerr *e)
{
	const struct shadow_info *info = &in->st->info;
	size_t start, i;
	int rc = ERR_OK;

	if (count != info->column_count)
		return sqlerr_set(e, "0A000", "the schema has changed since this statement was prepared: run it again");
	start = msg_begin(in->sink, 'D');
	msg_put_i16(in->sink, (int16_t)count);
	for (i = 0; i < count && rc == ERR_OK; i++) {
		int format = in->format_count == 0 ? 0 : in->formats[in->format_count == 1 ? 0 : i];

		rc = type_encode(in->sink, info->columns[i].oid, format, &values[i], info->columns[i].name, e);
	}
	if (rc == ERR_OK)
		msg_end(in->sink, start);
	else
		in->sink->len = start;
	return rc;
}

static int put_rows(struct op *op, const struct dq_result *r, struct sqlerr *e)
{
	size_t i;

	for (i = 0; i < r->row_count; i++) {
		if (exec_put_row(&op->in, &r->values[i * r->column_count], r->column_count, e) != ERR_OK)
			return ERR_SQL;
		op->row_count++;
	}
	if (op->in.sink->len > OUT_MAX_BYTES)
		return sqlerr_set(e, "54000", "the result is larger than %d MB or is not fetched: ask for less",
		                  OUT_MAX_BYTES / 1024 / 1024);
	return ERR_OK;
}

/* --- admission and trying again --- */

static void refuse(struct session *s)
{
	struct sqlerr e = SQLERR_INIT;

	if (gate_is_open(s, s->op.needs))
		sqlerr_set(&e, "57P03", "the store on this node is gaining or losing its leadership: try again");
	else
		gate_error(s, s->op.needs, &e);
	if (gate_should_end(s))
		session_end(s, &e);
	else
		exec_finish(s, &e);
}

static void admit_cb(struct session *s, bool is_open)
{
	if (is_open)
		s->op.admitted(s);
	else
		refuse(s);
}

void exec_admit(struct session *s, unsigned needs, void (*admitted)(struct session *s))
{
	s->op.needs = needs;
	s->op.admitted = admitted;
	gate_wait(s, needs, s->op.deadline_ms - clock_now_ms(), admit_cb);
}

static void again_cb(struct session *s)
{
	exec_admit(s, s->op.needs, s->op.admitted);
}

void exec_try_again(struct session *s)
{
	cut_rows(&s->op);
	if (clock_now_ms() >= s->op.deadline_ms)
		refuse(s);
	else
		session_timer_start(s, FRONTEND_PAUSE_MS, again_cb);
}

bool exec_was_not_applied(const struct dq_result *r)
{
	return r->code == DQ_NOT_LEADER || r->code == DQ_NOT_OPEN || (r->code == DQ_DISCONNECTED && !r->was_sent);
}

/* --- SELECT outside a transaction --- */

static void read_start(struct session *s);

static void drop_job(struct session *s)
{
	if (s->op.job != NULL)
		reader_abandon(s->op.job);
	s->op.job = NULL;
}

/* What dqlite gave may be shown when the lease is valid AFTER it was read: then nobody else can have acknowledged a write
 * before. The snapshot is taken with the first rows, so what follows needs no look of its own. Without a lease it is read again
 * later. */
static bool accept_rows(struct session *s)
{
	s->op.is_accepted = s->op.is_accepted || gate_is_open(s, GATE_LEADER | GATE_LEASE);
	return s->op.is_accepted;
}

static void read_failed(struct session *s, const struct dq_result *r)
{
	bool can_repeat = exec_was_not_applied(r) || r->code == DQ_DISCONNECTED || r->code == DQ_LEADERSHIP_LOST;

	if (can_repeat && !s->op.was_flushed) {
		s->op.is_accepted = false;
		exec_try_again(s);
	} else if (can_repeat) {
		fail(s, "57P01",
		     "the leadership of the store changed while the rows were on their way: run the statement again");
	} else {
		fail_code(s, r);
	}
}

static void read_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;
	struct op *op = &s->op;
	struct sqlerr e = SQLERR_INIT;

	if (r->is_last)
		op->job = NULL;
	if (r->code != 0) {
		read_failed(s, r);
	} else if (!accept_rows(s)) {
		drop_job(s);
		exec_admit(s, op->needs, read_start);
	} else if (put_rows(op, r, &e) != ERR_OK) {
		drop_job(s);
		exec_finish(s, &e);
	} else if (r->is_last) {
		succeed(s);
	} else if (op->in.sink == &s->out && s->out.len > OUT_FLUSH_BYTES) {
		op->was_flushed = true;
		session_flush(s);
	}
}

static const char *text_to_send(const struct op *op)
{
	return op->in.st->sent != NULL ? op->in.st->sent : op->in.st->sql;
}

static void read_start(struct session *s)
{
	cut_rows(&s->op);
	s->op.job = reader_run(s->db->reader, text_to_send(&s->op), s->op.in.params, s->op.in.param_count, read_cb, s);
}

/* --- autocommit writes --- */

static void write_loaded(struct session *s, const struct sqlerr *e)
{
	(void)e; /* the shadow stays stale and is loaded before the next statement */
	gate_wait(s, GATE_LEASE_SEEN, FRONTEND_WAIT_MS, ack_cb);
}

static void write_committed(struct session *s, const struct dq_result *r)
{
	s->op.changes = r->changes;
	frontend_count_commit(s->f);
	if (s->op.in.st->info.is_ddl) {
		s->db->is_stale = true;
		schema_load(s, write_loaded);
	} else {
		write_loaded(s, NULL);
	}
}

static void write_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;
	struct op *op = &s->op;

	if (r->is_last)
		op->unit = NULL;
	if (r->code == 0 && op->row_error.sqlstate[0] == '\0' && statement_returns_rows(op->in.st) &&
	    put_rows(op, r, &op->row_error) != ERR_OK)
		cut_rows(op);
	if (!r->is_last)
		return;
	if (r->code == 0 && op->row_error.sqlstate[0] != '\0')
		exec_finish(s, &op->row_error);
	else if (r->code == 0)
		write_committed(s, r);
	else if (exec_was_not_applied(r))
		exec_try_again(s);
	else if (r->code == DQ_DISCONNECTED || r->code == DQ_LEADERSHIP_LOST)
		fail(s, "08007",
		     "the leadership of the store was lost during the commit: whether it was applied is not known; read before "
		     "you repeat");
	else
		fail_code(s, r);
}

static struct writer_stmt stmt_to_write(const struct op *op)
{
	const struct statement *st = op->in.st;
	size_t used = st->info.param_count; /* a client may declare and send more than the text has */
	struct writer_stmt stmt = {.sql = text_to_send(op),
	                           .params = op->in.params,
	                           .param_count = op->in.param_count < used ? op->in.param_count : used,
	                           .returns_rows = statement_returns_rows(st),
	                           .is_alone = st->info.is_alone};

	return stmt;
}

static void write_start(struct session *s)
{
	struct writer_stmt stmt = stmt_to_write(&s->op);

	s->op.unit = writer_submit(s->db->writer, &stmt, write_cb, s);
}

/* --- statements inside a transaction --- */

static void tx_shown_cb(struct session *s, bool is_open)
{
	if (is_open && !exec_has_lost_tx(s))
		succeed(s);
	else
		fail(s, "57P03",
		     "the controller of this node has no lease, so what was read may be old: roll back and try again");
}

static void tx_done(struct session *s, const struct sqlerr *e)
{
	(void)e; /* as in write_loaded */
	transaction_note(s);
	if (statement_returns_rows(s->op.in.st))
		gate_wait(s, GATE_LEASE, FRONTEND_WAIT_MS, tx_shown_cb);
	else
		succeed(s);
}

static void tx_failed(struct session *s, const struct dq_result *r)
{
	struct sqlerr e = SQLERR_INIT;

	if (exec_was_not_applied(r) || r->code == DQ_DISCONNECTED || r->code == DQ_LEADERSHIP_LOST) {
		exec_lose_tx(s, &e);
		exec_finish(s, &e);
	} else {
		fail_code(s, r);
	}
}

static void tx_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;
	struct op *op = &s->op;

	if (r->code == 0 && op->row_error.sqlstate[0] == '\0' && statement_returns_rows(op->in.st) &&
	    put_rows(op, r, &op->row_error) != ERR_OK)
		cut_rows(op);
	if (!r->is_last)
		return;
	if (r->code != 0) {
		tx_failed(s, r);
	} else if (op->row_error.sqlstate[0] != '\0') {
		exec_finish(s, &op->row_error);
	} else {
		op->changes = r->changes;
		if (op->in.st->info.is_ddl) {
			s->tx_has_ddl = true;
			s->db->is_stale = true;
			schema_load(s, tx_done);
		} else {
			tx_done(s, NULL);
		}
	}
}

static void tx_run(struct session *s)
{
	struct writer_stmt stmt = stmt_to_write(&s->op);

	writer_run(s->unit, &stmt, tx_cb, s);
}

static void tx_begun_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;

	if (r->code == 0) {
		s->has_slot = true;
		s->tx_change = node_leader(s->f->node)->change_count;
		tx_run(s);
		return;
	}
	s->unit = NULL;
	if (exec_was_not_applied(r) || r->code == DQ_DISCONNECTED) /* a BEGIN changes nothing */
		exec_try_again(s);
	else
		fail_code(s, r);
}

static void tx_begin(struct session *s)
{
	s->unit = writer_begin(s->db->writer, tx_begun_cb, s);
}

void exec_in_tx(struct session *s)
{
	struct sqlerr e = SQLERR_INIT;

	if (exec_has_lost_tx(s)) {
		exec_lose_tx(s, &e);
		exec_finish(s, &e);
	} else if (s->has_slot) {
		tx_run(s);
	} else {
		exec_admit(s, GATE_LEADER | GATE_LEASE_SEEN, tx_begin);
	}
}

/* --- the ways to run --- */

static int local_row_cb(void *arg, const struct dq_value *values, size_t count, struct sqlerr *e)
{
	struct op *op = arg;

	op->row_count++;
	return exec_put_row(&op->in, values, count, e);
}

static void run_on_shadow(struct session *s)
{
	struct op *op = &s->op;
	struct sqlerr e = SQLERR_INIT;

	if (shadow_run(s->db->shadow, op->in.st->sql, strlen(op->in.st->sql), op->in.params, op->in.param_count, local_row_cb,
	               op, &e) == ERR_OK)
		succeed(s);
	else
		exec_finish(s, &e);
}

static bool is_readonly(const struct session *s)
{
	return s->tx_is_readonly || strcasecmp(settings_get(&s->settings, "default_transaction_read_only"), "on") == 0;
}

static void start_sql(struct session *s)
{
	const struct statement *st = s->op.in.st;
	bool writes = !st->info.is_readonly;

	if (st->info.is_secret && s->db->is_system && !s->is_control)
		fail(s, "42501", "tables whose names begin with secret_ are the cluster's own: nobody reads them here");
	else if (writes && s->db->is_system && !s->is_admin)
		fail(s, "25006", "the database \"mha\" is the cluster's own: it can only be read");
	else if (writes && is_readonly(s))
		fail(s, "25006", "cannot write in a read-only transaction");
	else if (st->info.is_local)
		run_on_shadow(s);
	else if (s->tx == TX_EXPLICIT || (s->tx == TX_IMPLICIT && (s->has_slot || writes)))
		exec_in_tx(s);
	else if (writes)
		exec_admit(s, GATE_LEADER | GATE_LEASE_SEEN, write_start);
	else
		exec_admit(s, GATE_LEADER | GATE_LEASE, read_start);
}

void exec_start(struct session *s, const struct exec_input *in, void (*done)(struct session *s, const struct sqlerr *e))
{
	enum statement_kind kind = in->st->kind;

	memset(&s->op, 0, sizeof(s->op));
	s->op.in = *in;
	s->op.done = done;
	s->op.mark = in->sink->len;
	s->op.deadline_ms = clock_now_ms() + FRONTEND_WAIT_MS;
	if (s->tx == TX_FAILED && kind != STATEMENT_COMMIT && kind != STATEMENT_ROLLBACK && kind != STATEMENT_ROLLBACK_TO)
		fail(s, "25P02", "current transaction is aborted, commands ignored until end of transaction block");
	else if (kind == STATEMENT_SQL)
		start_sql(s);
	else if (kind >= STATEMENT_BEGIN && kind <= STATEMENT_ROLLBACK_TO)
		transaction_start(s);
	else
		local_start(s);
}

void exec_cancel(struct session *s)
{
	if (s->op.done == NULL || s->op.load != NULL)
		return;
	s->op.is_canceled = true;
	if (s->op.job != NULL)
		reader_cancel(s->op.job);
	else if (s->op.unit != NULL)
		writer_cancel(s->op.unit);
	else if (s->has_slot)
		writer_cancel(s->unit);
}

void exec_drop(struct session *s)
{
	gate_leave(s);
	drop_job(s);
	if (s->op.unit != NULL)
		writer_abandon(s->op.unit);
	s->op.unit = NULL;
	shadow_load_free(s->op.load);
	s->op.load = NULL;
	s->op.done = NULL;
	transaction_forget(s);
}
