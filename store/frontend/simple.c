#include "store/frontend/simple.h"

#include "store/frontend/session.h"
#include "store/frontend/types.h"

#include <stdlib.h>
#include <string.h>

void simple_done(struct simple *q)
{
	statement_done(&q->st);
	free(q->text);
	memset(q, 0, sizeof(*q));
}

void simple_abort(struct session *s)
{
	s->simple.is_failed = true;
}

static void finish(struct session *s)
{
	if (s->simple.run == 0 && !s->simple.is_failed)
		msg_put_simple(&s->out, 'I', NULL); /* EmptyQueryResponse */
	simple_done(&s->simple);
	session_ready(s);
}

static void committed_cb(struct session *s, const struct sqlerr *e)
{
	s->tx = TX_NONE;
	if (e != NULL)
		session_fail(s, e);
	else
		session_resume(s);
}

void simple_query(struct session *s, struct msg_in *m)
{
	const char *text = msg_get_string(m);
	struct simple *q = &s->simple;
	struct token_params params;
	struct sqlerr e = SQLERR_INIT;

	q->is_active = true;
	q->text = mem_strdup(text);
	q->len = strlen(text);
	if (m->is_bad)
		sqlerr_set(&e, "08P01", "the query is not terminated");
	else if (token_rewrite(q->text, q->len, &params, &e) == ERR_OK && params.count > 0)
		sqlerr_set(&e, "42P02", "there is no parameter $%u in a simple query", params.count);
	if (e.sqlstate[0] != '\0')
		session_fail(s, &e);
}

/* --- one statement --- */

void simple_describe(struct buf *out, const struct statement *st, const int16_t *formats, size_t format_count)
{
	size_t start = msg_begin(out, 'T'), i;

	msg_put_i16(out, (int16_t)st->info.column_count);
	for (i = 0; i < st->info.column_count; i++) {
		const struct shadow_column *c = &st->info.columns[i];

		msg_put_string(out, c->name);
		msg_put_i32(out, 0); /* table and attribute: not told */
		msg_put_i16(out, 0);
		msg_put_i32(out, (int32_t)c->oid);
		msg_put_i16(out, type_size(c->oid));
		msg_put_i32(out, -1);
		msg_put_i16(out, format_count == 0 ? 0 : formats[format_count == 1 ? 0 : i]);
	}
	msg_end(out, start);
}

static void executed_cb(struct session *s, const struct sqlerr *e)
{
	statement_done(&s->simple.st);
	if (e != NULL) {
		session_fail(s, e);
		return;
	}
	msg_put_simple(&s->out, 'C', s->op.tag);
	session_resume(s);
}

/* Several statements in one message are one transaction, unless they say otherwise. */
static void open_implicit_tx(struct session *s)
{
	struct simple *q = &s->simple;

	if (s->tx == TX_NONE && q->st.kind == STATEMENT_SQL && statement_follows(q->text + q->at, q->len - q->at))
		s->tx = TX_IMPLICIT;
}

static void prepared_cb(struct session *s, struct statement *st, const struct sqlerr *e)
{
	struct simple *q = &s->simple;
	struct exec_input in = {.st = &q->st, .sink = &s->out};
	struct sqlerr moved;

	if (e != NULL) {
		moved = *e;
		if (moved.position > 0)
			moved.position += token_position(q->text, q->at) - 1;
		session_fail(s, &moved);
		return;
	}
	q->st = *st;
	q->at += st->size;
	q->run++;
	open_implicit_tx(s);
	if (statement_returns_rows(&q->st) && s->tx != TX_FAILED)
		simple_describe(&s->out, &q->st, NULL, 0);
	exec_start(s, &in, executed_cb);
}

void simple_next(struct session *s)
{
	struct simple *q = &s->simple;

	if (!q->is_failed && statement_follows(q->text + q->at, q->len - q->at)) {
		s->is_busy = true;
		prepare_start(s, q->text + q->at, q->len - q->at, prepared_cb);
	} else if (s->tx == TX_IMPLICIT) {
		s->is_busy = true;
		exec_end_tx(s, true, committed_cb);
	} else {
		finish(s);
	}
}
