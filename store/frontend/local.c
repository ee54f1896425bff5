#include "store/frontend/local.h"

#include "store/frontend/exec.h"
#include "store/frontend/messages.h"
#include "store/frontend/notify.h"
#include "store/frontend/session.h"
#include "store/frontend/set.h"
#include "store/frontend/types.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CALL_MAX_ARGS 8
#define CALL_ARG_SIZE 256

static void finish_tag(struct session *s, const char *tag)
{
	str_copy(s->op.tag, sizeof(s->op.tag), tag);
	exec_finish(s, NULL);
}

static void fail(struct session *s, const char *sqlstate, const char *text)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, sqlstate, "%s", text);
	exec_finish(s, &e);
}

/* The n-th solid token of a statement, from 0. */
static struct token token_at(const char *sql, unsigned n)
{
	const char *end = sql + strlen(sql);
	struct token t = token_next_solid(sql, end);

	while (n-- > 0)
		t = token_next_solid(t.at + t.len, end);
	return t;
}

/* --- SHOW --- */

bool local_is_admin_show(const char *sql, char *dst, size_t cap)
{
	struct token schema = token_at(sql, 1), dot = token_at(sql, 2), what = token_at(sql, 3);

	return token_is_word(&schema, "mha") && token_is_symbol(&dot, '.') && what.kind == TOKEN_WORD &&
	       token_value(&what, dst, cap);
}

static void put_text_row(struct op *op, const char *const *values, size_t count)
{
	struct buf *out = op->in.sink;
	size_t start = msg_begin(out, 'D'), i;

	msg_put_i16(out, (int16_t)count);
	for (i = 0; i < count; i++) {
		msg_put_i32(out, values[i] != NULL ? (int32_t)strlen(values[i]) : -1);
		if (values[i] != NULL)
			buf_puts(out, values[i]);
	}
	msg_end(out, start);
	op->row_count++;
}

static void shown_cb(void *arg, const struct admin_result *r)
{
	struct session *s = arg;
	struct statement st = {0};
	size_t i;

	if (s->phase != SESSION_READY || s->op.done == NULL) {
		session_unref(s);
		return;
	}
	if (r->code != 0) {
		fail(s, r->sqlstate, r->message);
		session_unref(s);
		return;
	}
	if (s->op.in.st->info.column_count == 0) { /* a simple query: its columns are not told yet */
		statement_set_columns(&st, r->columns, r->column_count);
		simple_describe(s->op.in.sink, &st, NULL, 0);
		statement_done(&st);
	}
	for (i = 0; i < r->row_count; i++)
		put_text_row(&s->op, r->values + i * r->column_count, r->column_count);
	finish_tag(s, "SHOW");
	session_unref(s);
}

static void show_all(struct session *s)
{
	const char *row[2];
	size_t i;

	for (i = 0; settings_at(&s->settings, i, &row[0], &row[1]); i++)
		put_text_row(&s->op, row, 2);
	finish_tag(s, "SHOW");
}

static void show(struct session *s)
{
	char what[64], name[64];
	const char *value;
	struct sqlerr e = SQLERR_INIT;

	if (local_is_admin_show(s->op.in.st->sql, what, sizeof(what))) {
		s->refs++;
		admin_show(s->f->admin, what, shown_cb, s);
		return;
	}
	set_shown_name(s->op.in.st->sql, name, sizeof(name));
	if (strcasecmp(name, "all") == 0) {
		show_all(s);
		return;
	}
	value = settings_get(&s->settings, name);
	if (value == NULL) {
		sqlerr_set(&e, "42704", "unrecognized configuration parameter \"%s\"", name);
		exec_finish(s, &e);
		return;
	}
	put_text_row(&s->op, &value, 1);
	finish_tag(s, "SHOW");
}

/* --- CALL --- */

struct call {
	char name[64];
	char args[CALL_MAX_ARGS][CALL_ARG_SIZE];
	const char *values[CALL_MAX_ARGS];
	size_t count;
};

/* ?n of a rewritten text: the text of the parameter. */
static bool param_text(const struct exec_input *in, const struct token *number, char *dst, size_t cap)
{
	unsigned long n = strtoul(number->at, NULL, 10);
	const struct dq_value *v = n >= 1 && n <= in->param_count ? &in->params[n - 1] : NULL;

	if (v == NULL || (v->type != DQ_TEXT && v->type != DQ_INTEGER))
		return false;
	if (v->type == DQ_INTEGER)
		return (size_t)snprintf(dst, cap, "%" PRId64, v->u.i) < cap;
	return v->u.s.len < cap && (size_t)snprintf(dst, cap, "%.*s", (int)v->u.s.len, v->u.s.data) < cap;
}

/* name ( arg, ... ): strings, numbers and parameters. */
static bool parse_call(const struct exec_input *in, struct call *ret)
{
	const char *end = in->st->sql + strlen(in->st->sql);
	struct token t = token_at(in->st->sql, 1);
	bool ok = t.kind == TOKEN_WORD && token_value(&t, ret->name, sizeof(ret->name));

	t = token_next_solid(t.at + t.len, end);
	if (!ok || !token_is_symbol(&t, '('))
		return false;
	t = token_next_solid(t.at + 1, end);
	while (!token_is_symbol(&t, ')')) {
		if (ret->count == CALL_MAX_ARGS)
			return false;
		if (token_is_symbol(&t, '?')) {
			t = token_next(t.at + 1, end);
			ok = t.kind == TOKEN_NUMBER && param_text(in, &t, ret->args[ret->count], CALL_ARG_SIZE);
		} else {
			ok = (t.kind == TOKEN_STRING || t.kind == TOKEN_NUMBER) &&
			     token_value(&t, ret->args[ret->count], CALL_ARG_SIZE);
		}
		if (!ok)
			return false;
		ret->values[ret->count] = ret->args[ret->count];
		ret->count++;
		t = token_next_solid(t.at + t.len, end);
		if (token_is_symbol(&t, ','))
			t = token_next_solid(t.at + 1, end);
		else if (!token_is_symbol(&t, ')'))
			return false;
	}
	return token_next_solid(t.at + 1, end).kind == TOKEN_END;
}

static void called_cb(void *arg, const struct admin_result *r)
{
	struct session *s = arg;
	size_t i;

	/* It may have made or migrated the cluster's own database, behind the shadow's back. */
	for (i = 0; i < sizeof(s->f->databases) / sizeof(s->f->databases[0]); i++)
		s->f->databases[i].is_stale = true;
	if (s->phase == SESSION_READY && s->op.done != NULL) {
		if (r->code != 0)
			fail(s, r->sqlstate, r->message);
		else
			finish_tag(s, "CALL");
	}
	session_unref(s);
}

static void call(struct session *s)
{
	struct call c = {0};

	if (!s->is_admin) {
		fail(s, "42501", "only an administrator (root or the store's own user, over the unix socket) may CALL");
	} else if (!parse_call(&s->op.in, &c)) {
		fail(s, "42601", "CALL takes a name and, in parentheses, strings or numbers");
	} else {
		s->refs++;
		admin_call(s->f->admin, c.name, c.values, c.count, called_cb, s);
	}
}

/* --- LISTEN --- */

/* Folded to lower case, unless it is quoted. */
static void channel_name(const struct token *t, char *dst, size_t cap)
{
	char *p;

	if (!token_value(t, dst, cap))
		dst[0] = '\0';
	for (p = dst; t->kind == TOKEN_WORD && *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
}

static void listen_to(struct session *s)
{
	struct token t = token_at(s->op.in.st->sql, 1);
	char channel[64];
	struct sqlerr e = SQLERR_INIT;

	channel_name(&t, channel, sizeof(channel));
	if (strcmp(channel, NOTIFY_LEADER) != 0) {
		sqlerr_set(&e, "0A000", "there is no channel \"%s\": nothing would ever be told on it", channel);
		sqlerr_hint(&e, "The channel is " NOTIFY_LEADER ".");
		exec_finish(s, &e);
		return;
	}
	s->listens = s->has_news = true;
	finish_tag(s, "LISTEN");
}

/* --- DEALLOCATE, DISCARD --- */

static void deallocate(struct session *s)
{
	struct token t = token_at(s->op.in.st->sql, 1);
	char name[128];
	struct sqlerr e = SQLERR_INIT;

	if (token_is_word(&t, "PREPARE"))
		t = token_at(s->op.in.st->sql, 2);
	if (token_is_word(&t, "ALL")) {
		extended_deallocate(s, NULL);
		finish_tag(s, "DEALLOCATE ALL");
		return;
	}
	channel_name(&t, name, sizeof(name));
	if (extended_deallocate(s, name)) {
		finish_tag(s, "DEALLOCATE");
		return;
	}
	sqlerr_set(&e, "26000", "prepared statement \"%s\" does not exist", name);
	exec_finish(s, &e);
}

static void discard(struct session *s)
{
	struct token t = token_at(s->op.in.st->sql, 1);

	if (!token_is_word(&t, "ALL")) { /* PLANS, SEQUENCES, TEMP: there are none */
		finish_tag(s, "DISCARD");
		return;
	}
	if (s->tx != TX_NONE) {
		fail(s, "25001", "DISCARD ALL cannot run inside a transaction block");
		return;
	}
	extended_deallocate(s, NULL);
	s->listens = s->has_news = false;
	settings_reset_all(&s->settings, &s->out);
	finish_tag(s, "DISCARD ALL");
}

void local_start(struct session *s)
{
	switch (s->op.in.st->kind) {
	case STATEMENT_EMPTY:
		finish_tag(s, "");
		break;
	case STATEMENT_SHOW:
		show(s);
		break;
	case STATEMENT_CALL:
		call(s);
		break;
	case STATEMENT_LISTEN:
		listen_to(s);
		break;
	case STATEMENT_UNLISTEN:
		s->listens = s->has_news = false;
		finish_tag(s, "UNLISTEN");
		break;
	case STATEMENT_NOTIFY:
		fail(s, "0A000", "NOTIFY is the store's: sessions can only LISTEN");
		break;
	case STATEMENT_DEALLOCATE:
		deallocate(s);
		break;
	case STATEMENT_DISCARD:
		discard(s);
		break;
	default:
		set_run(s);
	}
}
