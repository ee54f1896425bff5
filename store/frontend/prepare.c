#include "store/frontend/prepare.h"

#include "store/frontend/gate.h"
#include "store/frontend/schema.h"
#include "store/frontend/session.h"

static void read_now(struct session *s)
{
	struct statement st;
	struct sqlerr e = SQLERR_INIT;

	if (statement_read(s->db->shadow, s->prepare.text, s->prepare.len, &st, &e) == ERR_OK)
		s->prepare.cb(s, &st, NULL);
	else
		s->prepare.cb(s, NULL, &e);
}

static void loaded_cb(struct session *s, const struct sqlerr *e)
{
	if (e != NULL)
		s->prepare.cb(s, NULL, e);
	else
		read_now(s);
}

static void gate_cb(struct session *s, bool is_open)
{
	struct sqlerr e = SQLERR_INIT;

	if (is_open && schema_is_current(s)) {
		read_now(s);
	} else if (is_open) {
		schema_load(s, loaded_cb);
	} else {
		gate_error(s, GATE_LEADER, &e);
		if (gate_should_end(s))
			session_end(s, &e);
		else
			s->prepare.cb(s, NULL, &e);
	}
}

void prepare_start(struct session *s, const char *text, size_t len,
                   void (*cb)(struct session *s, struct statement *st, const struct sqlerr *e))
{
	struct sqlerr e = SQLERR_INIT;

	s->prepare.text = text;
	s->prepare.len = len;
	s->prepare.cb = cb;
	if (statement_kind_of(text, len) != STATEMENT_SQL) {
		read_now(s);
	} else if (s->tx == TX_FAILED) {
		sqlerr_set(&e, "25P02", "current transaction is aborted, commands ignored until end of transaction block");
		cb(s, NULL, &e);
	} else if (exec_has_lost_tx(s)) {
		exec_lose_tx(s, &e);
		cb(s, NULL, &e);
	} else {
		gate_wait(s, GATE_LEADER, FRONTEND_WAIT_MS, gate_cb);
	}
}
