#include "store/frontend/transaction.h"

#include "store/frontend/gate.h"
#include "store/frontend/messages.h"
#include "store/frontend/session.h"

#include <string.h>

static void warn(struct session *s, const char *sqlstate, const char *text)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, sqlstate, "%s", text);
	msg_put_error(&s->out, "WARNING", &e);
	s->op.mark = s->out.len;
}

static void finish_tag(struct session *s, const char *tag)
{
	str_copy(s->op.tag, sizeof(s->op.tag), tag);
	exec_finish(s, NULL);
}

/* --- losing it --- */

/* The shadow showed a schema that will not be. */
static void forget_schema(struct session *s)
{
	if (s->tx_has_ddl || (s->db != NULL && s->db->owner == s)) {
		s->db->is_stale = true;
		s->db->owner = NULL;
	}
	s->tx_has_ddl = false;
}

void transaction_forget(struct session *s)
{
	if (s->unit != NULL)
		writer_abandon(s->unit);
	s->unit = NULL;
	s->has_slot = false;
	forget_schema(s);
}

bool exec_has_lost_tx(const struct session *s)
{
	return s->tx_is_lost || (s->has_slot && s->tx_change != node_leader(s->f->node)->change_count);
}

void transaction_leader_changed(struct session *s)
{
	if (s->is_busy || !exec_has_lost_tx(s))
		return; /* what is under way gets its answer from dqlite */
	transaction_forget(s);
	session_timer_stop(s);
	s->tx_is_lost = true;
}

void exec_lose_tx(struct session *s, struct sqlerr *e)
{
	transaction_forget(s);
	s->tx_is_lost = false;
	sqlerr_set(e, "40001", "the leadership of the store changed: the transaction is rolled back");
	sqlerr_hint(e, "Run the transaction again.");
}

/* --- the end --- */

static void reset(struct session *s)
{
	s->tx = TX_NONE;
	s->tx_is_readonly = s->tx_is_lost = false;
	s->savepoints = 0;
	extended_forget_portals(s);
}

static void acknowledged_cb(struct session *s, bool is_open)
{
	struct sqlerr e = SQLERR_INIT;

	if (!is_open)
		sqlerr_set(&e, "08007",
		           "the transaction was committed on this node, but its controller has no lease: whether it lasts is "
		           "not known");
	s->op.ended(s, is_open ? NULL : &e);
}

static void commit_error(const struct dq_result *r, struct sqlerr *e)
{
	if (exec_was_not_applied(r))
		sqlerr_set(e, "40001", "the leadership of the store changed before the commit: the transaction is rolled back");
	else if (r->code == DQ_DISCONNECTED || r->code == DQ_LEADERSHIP_LOST)
		sqlerr_set(e, "08007",
		           "the leadership of the store was lost during the commit: whether it was applied is not known; read "
		           "before you repeat");
	else
		sqlerr_from_code(e, r->code, r->message);
}

static void committed_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;
	struct sqlerr e = SQLERR_INIT;

	s->unit = NULL;
	s->has_slot = false;
	if (r->code != 0) {
		forget_schema(s);
		commit_error(r, &e);
		s->op.ended(s, &e);
		return;
	}
	s->tx_has_ddl = false;
	if (s->db->owner == s)
		s->db->owner = NULL; /* what it shows is the committed schema now */
	frontend_count_commit(s->f);
	gate_wait(s, GATE_LEASE_SEEN, FRONTEND_WAIT_MS, acknowledged_cb);
}

static void rolled_back_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;

	(void)r;
	s->unit = NULL;
	s->has_slot = false;
	forget_schema(s);
	s->op.ended(s, NULL);
}

void exec_end_tx(struct session *s, bool is_commit, void (*ended)(struct session *s, const struct sqlerr *e))
{
	struct sqlerr e = SQLERR_INIT;

	s->op.ended = ended;
	if (is_commit && exec_has_lost_tx(s)) {
		exec_lose_tx(s, &e);
		ended(s, &e);
	} else if (!s->has_slot) {
		transaction_forget(s);
		ended(s, NULL);
	} else {
		writer_finish(s->unit, is_commit, is_commit ? committed_cb : rolled_back_cb, s);
	}
}

/* --- the statements --- */

static bool has_words(const char *sql, const char *first, const char *second)
{
	const char *end = sql + strlen(sql);
	struct token t = token_next_solid(sql, end), next;

	for (; t.kind != TOKEN_END; t = next) {
		next = token_next_solid(t.at + t.len, end);
		if (token_is_word(&t, first) && token_is_word(&next, second))
			return true;
	}
	return false;
}

static void begin(struct session *s)
{
	if (s->tx == TX_EXPLICIT) {
		warn(s, "25001", "there is already a transaction in progress");
	} else {
		s->tx = TX_EXPLICIT;
		s->tx_is_readonly = has_words(s->op.in.st->sql, "READ", "ONLY");
	}
	finish_tag(s, s->op.in.st->tag);
}

static void commit_ended(struct session *s, const struct sqlerr *e)
{
	reset(s);
	if (e != NULL)
		exec_finish(s, e);
	else
		finish_tag(s, "COMMIT");
}

static void rollback_ended(struct session *s, const struct sqlerr *e)
{
	(void)e;
	reset(s);
	finish_tag(s, "ROLLBACK");
}

static void savepoint(struct session *s)
{
	struct sqlerr e = SQLERR_INIT;

	if (s->tx == TX_NONE || s->tx == TX_IMPLICIT)
		sqlerr_set(&e, "25P01", "%s can only be used in transaction blocks", s->op.in.st->tag);
	else if (s->tx == TX_FAILED && !s->has_slot)
		sqlerr_set(&e, "3B001", "the transaction was rolled back already: no savepoint is left");
	else {
		exec_in_tx(s);
		return;
	}
	exec_finish(s, &e);
}

void transaction_note(struct session *s)
{
	switch (s->op.in.st->kind) {
	case STATEMENT_SAVEPOINT:
		s->savepoints++;
		break;
	case STATEMENT_RELEASE:
		/* It may take inner ones along. A count too high only keeps the slot a little longer after an error. */
		s->savepoints -= s->savepoints > 0 ? 1 : 0;
		break;
	case STATEMENT_ROLLBACK_TO:
		s->tx = TX_EXPLICIT;
		s->db->is_stale = s->db->is_stale || s->tx_has_ddl;
		break;
	default:
		break;
	}
}

void transaction_start(struct session *s)
{
	switch (s->op.in.st->kind) {
	case STATEMENT_BEGIN:
		begin(s);
		break;
	case STATEMENT_COMMIT:
		if (s->tx == TX_NONE)
			warn(s, "25P01", "there is no transaction in progress");
		if (s->tx == TX_FAILED)
			exec_end_tx(s, false, rollback_ended);
		else
			exec_end_tx(s, true, commit_ended);
		break;
	case STATEMENT_ROLLBACK:
		if (s->tx == TX_NONE)
			warn(s, "25P01", "there is no transaction in progress");
		exec_end_tx(s, false, rollback_ended);
		break;
	default:
		savepoint(s);
	}
}
