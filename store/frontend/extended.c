#include "store/frontend/extended.h"

#include "store/frontend/local.h"
#include "store/frontend/portal.h"
#include "store/frontend/schema.h"
#include "store/frontend/session.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

static void fail(struct session *s, const char *sqlstate, const char *text, const char *name)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, sqlstate, text, name);
	session_fail(s, &e);
}

/* --- Parse --- */

static void keep_statement(struct session *s, struct prepared *p)
{
	struct prepared *old;

	HASH_FIND_STR(s->extended.statements, p->name, old);
	if (old != NULL)
		prepared_remove(&s->extended.statements, old);
	HASH_ADD_KEYPTR(hh, s->extended.statements, p->name, strlen(p->name), p);
}

/* SHOW mha.x has columns that only its run tells. */
static void shown_cb(void *arg, const struct admin_result *r)
{
	struct session *s = arg;
	struct prepared *p = s->extended.parsing;
	struct sqlerr e = SQLERR_INIT;

	if (s->phase == SESSION_READY && r->code == 0) {
		statement_set_columns(&p->st, r->columns, r->column_count);
		keep_statement(s, p);
		s->extended.parsing = NULL;
		msg_put_simple(&s->out, '1', NULL);
		session_resume(s);
	} else if (s->phase == SESSION_READY) {
		sqlerr_set(&e, r->sqlstate, "%s", r->message);
		session_fail(s, &e);
	}
	session_unref(s);
}

static void parsed(struct session *s)
{
	struct prepared *p = s->extended.parsing;
	char name[64];

	if (p->st.kind == STATEMENT_SHOW && local_is_admin_show(p->st.sql, name, sizeof(name))) {
		s->refs++;
		admin_show(s->f->admin, name, shown_cb, s);
		return;
	}
	keep_statement(s, p);
	s->extended.parsing = NULL;
	msg_put_simple(&s->out, '1', NULL);
	session_resume(s);
}

static void prepared_cb(struct session *s, struct statement *st, const struct sqlerr *e)
{
	struct prepared *p = s->extended.parsing;

	if (e != NULL) {
		session_fail(s, e);
		return;
	}
	p->st = *st;
	if (st->info.param_count > p->param_count)
		p->param_count = st->info.param_count;
	if (statement_follows(p->text + st->size, strlen(p->text) - st->size))
		fail(s, "42601", "cannot insert multiple commands into a prepared statement%s", "");
	else
		parsed(s);
}

static void handle_parse(struct session *s, struct msg_in *m)
{
	struct prepared *p, *old;
	struct sqlerr e = SQLERR_INIT;

	prepared_unref(s->extended.parsing); /* of a Parse that failed */
	p = s->extended.parsing = prepared_new(m, &e);
	if (p == NULL) {
		session_fail(s, &e);
		return;
	}
	HASH_FIND_STR(s->extended.statements, p->name, old);
	if (old != NULL && p->name[0] != '\0') {
		fail(s, "42P05", "prepared statement \"%.64s\" already exists", p->name);
		return;
	}
	s->is_busy = true;
	prepare_start(s, p->text, strlen(p->text), prepared_cb);
}

/* --- Bind --- */

static void handle_bind(struct session *s, struct msg_in *m)
{
	const char *name = msg_get_string(m), *of = msg_get_string(m);
	struct prepared *p;
	struct portal *portal, *old;
	struct sqlerr e = SQLERR_INIT;

	HASH_FIND_STR(s->extended.statements, of, p);
	HASH_FIND_STR(s->extended.portals, name, old);
	if (p == NULL) {
		fail(s, "26000", "prepared statement \"%.64s\" does not exist", of);
		return;
	}
	if (old != NULL && name[0] != '\0') {
		fail(s, "42P03", "cursor \"%.64s\" already exists", name);
		return;
	}
	portal = portal_new(name, p, m, &e);
	if (portal == NULL) {
		session_fail(s, &e);
		return;
	}
	if (old != NULL)
		portal_remove(&s->extended.portals, old);
	HASH_ADD_KEYPTR(hh, s->extended.portals, portal->name, strlen(portal->name), portal);
	msg_put_simple(&s->out, '2', NULL);
}

/* --- Describe, Close --- */

static void describe_rows(struct session *s, const struct prepared *p, const int16_t *formats, size_t format_count)
{
	if (statement_returns_rows(&p->st))
		simple_describe(&s->out, &p->st, formats, format_count);
	else
		msg_put_simple(&s->out, 'n', NULL);
}

static void handle_describe(struct session *s, struct msg_in *m)
{
	char what = msg_get_byte(m);
	const char *name = msg_get_string(m);
	struct prepared *p;
	struct portal *portal;

	if (what == 'S') {
		HASH_FIND_STR(s->extended.statements, name, p);
		if (p == NULL) {
			fail(s, "26000", "prepared statement \"%.64s\" does not exist", name);
			return;
		}
		prepared_describe_params(p, &s->out);
		describe_rows(s, p, NULL, 0);
		return;
	}
	HASH_FIND_STR(s->extended.portals, name, portal);
	if (portal == NULL)
		fail(s, "34000", "portal \"%.64s\" does not exist", name);
	else
		describe_rows(s, portal->prepared, portal->formats, portal->format_count);
}

static void handle_close(struct session *s, struct msg_in *m)
{
	char what = msg_get_byte(m);
	const char *name = msg_get_string(m);
	struct portal *portal;

	if (what == 'S') {
		extended_deallocate(s, name);
	} else {
		HASH_FIND_STR(s->extended.portals, name, portal);
		if (portal != NULL)
			portal_remove(&s->extended.portals, portal);
	}
	msg_put_simple(&s->out, '3', NULL);
}

/* --- Execute --- */

/* Rows of a portal that has been run, up to the limit. */
static void send_rows(struct session *s)
{
	struct portal *portal = s->extended.running;

	s->extended.running = NULL;
	if (portal_take_rows(portal, s->extended.limit, &s->out))
		msg_put_simple(&s->out, 'C', portal->tag);
	else
		msg_put_simple(&s->out, 's', NULL); /* PortalSuspended */
	session_resume(s);
}

static void executed_cb(struct session *s, const struct sqlerr *e)
{
	struct portal *portal = s->extended.running;

	if (e != NULL) {
		s->extended.running = NULL;
		session_fail(s, e);
		return;
	}
	portal->is_run = true;
	str_copy(portal->tag, sizeof(portal->tag), s->op.tag);
	if (s->extended.limit > 0) {
		send_rows(s);
		return;
	}
	s->extended.running = NULL;
	if (portal->prepared->st.kind == STATEMENT_EMPTY)
		msg_put_simple(&s->out, 'I', NULL);
	else
		msg_put_simple(&s->out, 'C', s->op.tag);
	session_resume(s);
}

/* An Execute that a Sync follows at once stands alone; else what comes up to the Sync is one transaction. */
static void open_implicit_tx(struct session *s, const struct statement *st)
{
	bool is_alone = s->in.len > s->in_at && s->in.data[s->in_at] == 'S';

	if (s->tx == TX_NONE && st->kind == STATEMENT_SQL && !st->info.is_readonly && !is_alone)
		s->tx = TX_IMPLICIT;
}

static void run(struct session *s)
{
	struct portal *portal = s->extended.running;
	struct exec_input in = {.st = &portal->prepared->st,
	                        .params = portal->values,
	                        .param_count = portal->prepared->param_count,
	                        .formats = portal->formats,
	                        .format_count = portal->format_count,
	                        .sink = s->extended.limit > 0 ? &portal->rows : &s->out};

	open_implicit_tx(s, in.st);
	exec_start(s, &in, executed_cb);
}

/* The schema has changed since Parse: the same text against the new one must still give the same columns. */
static void prepared_again_cb(struct session *s, struct statement *st, const struct sqlerr *e)
{
	struct prepared *p = s->extended.running->prepared;

	if (e != NULL) {
		s->extended.running = NULL;
		session_fail(s, e);
	} else if (!prepared_is_same(p, st)) {
		statement_done(st);
		s->extended.running = NULL;
		fail(s, "0A000", "cached plan must not change result type%s", "");
	} else {
		statement_done(&p->st);
		p->st = *st;
		run(s);
	}
}

static bool is_outdated(const struct session *s, const struct statement *st)
{
	return st->kind == STATEMENT_SQL && (st->info.epoch != shadow_epoch(s->db->shadow) || !schema_is_current(s));
}

static void handle_execute(struct session *s, struct msg_in *m)
{
	const char *name = msg_get_string(m);
	int limit = msg_get_i32(m);
	struct portal *portal;

	HASH_FIND_STR(s->extended.portals, name, portal);
	if (portal == NULL) {
		fail(s, "34000", "portal \"%.64s\" does not exist", name);
		return;
	}
	s->is_busy = true;
	s->extended.running = portal;
	s->extended.limit = limit > 0 && statement_returns_rows(&portal->prepared->st) ? limit : 0;
	if (portal->is_run && portal->rows.len > 0) {
		send_rows(s);
	} else if (portal->is_run) {
		s->extended.running = NULL;
		fail(s, "55000", "portal \"%.64s\" cannot be run again", name);
	} else if (is_outdated(s, &portal->prepared->st) && s->tx != TX_FAILED) {
		prepare_start(s, portal->prepared->text, strlen(portal->prepared->text), prepared_again_cb);
	} else {
		run(s);
	}
}

/* --- Sync and the rest --- */

static void committed_cb(struct session *s, const struct sqlerr *e)
{
	s->tx = TX_NONE;
	extended_forget_portals(s);
	if (e != NULL) {
		/* Behind the Sync that ended it, so nothing is skipped: the error, then ready. */
		msg_put_error(&s->out, "ERROR", e);
	}
	session_ready(s);
	session_resume(s);
}

void extended_sync(struct session *s)
{
	if (s->tx == TX_IMPLICIT) {
		s->is_busy = true;
		exec_end_tx(s, true, committed_cb);
		return;
	}
	if (s->tx == TX_NONE)
		extended_forget_portals(s);
	session_ready(s);
}

bool extended_handle(struct session *s, struct msg_in *m)
{
	static void (*const handlers[128])(struct session *, struct msg_in *) = {
	        ['P'] = handle_parse, ['B'] = handle_bind,    ['D'] = handle_describe,
	        ['C'] = handle_close, ['E'] = handle_execute,
	};
	unsigned char type = (unsigned char)m->type;

	if (type >= 128 || handlers[type] == NULL)
		return false;
	handlers[type](s, m);
	return true;
}

void extended_forget_portals(struct session *s)
{
	struct portal *portal, *next;

	HASH_ITER(hh, s->extended.portals, portal, next)
	{
		if (portal != s->extended.running)
			portal_remove(&s->extended.portals, portal);
	}
}

bool extended_deallocate(struct session *s, const char *name)
{
	struct prepared *p, *next;
	bool found = name == NULL;

	HASH_ITER(hh, s->extended.statements, p, next)
	{
		if (name != NULL && strcmp(p->name, name) != 0)
			continue;
		prepared_remove(&s->extended.statements, p);
		found = true;
	}
	return found;
}

void extended_done(struct session *s)
{
	s->extended.running = NULL;
	extended_forget_portals(s);
	extended_deallocate(s, NULL);
	prepared_unref(s->extended.parsing);
	s->extended.parsing = NULL;
}
