#include "store/writer_unit.h"

#include "core/base/str.h"
#include "store/interrupt.h"

#include <stdlib.h>
#include <string.h>

struct writer_unit *writer_unit_new(struct writer *w, dq_cb cb, void *arg)
{
	struct writer_unit *u = mem_alloc(sizeof(*u));

	u->w = w;
	u->cb = cb;
	u->arg = arg;
	return u;
}

/* The text with the mark that lets it be stopped. */
char *writer_unit_mark(struct writer_unit *u, const char *sql)
{
	struct buf text = {0};

	u->id = interrupt_next_id();
	interrupt_put_mark(&text, u->id);
	buf_puts(&text, sql);
	return text.data;
}

/* Its statement has got its answer. */
void writer_unit_note_answer(const struct writer_unit *u, const struct dq_result *r)
{
	if (r->code == DQ_DISCONNECTED)
		interrupt_request(u->id); /* it may still run, holding the lock that the next writer needs */
	else
		interrupt_forget(u->id);
}

void writer_unit_set_stmt(struct writer_unit *u, const struct writer_stmt *stmt)
{
	struct dq_value *params = mem_alloc(stmt->param_count * sizeof(*params));
	size_t i;

	u->stmt = *stmt;
	u->stmt.sql = writer_unit_mark(u, stmt->sql);
	for (i = 0; i < stmt->param_count; i++) {
		params[i] = stmt->params[i];
		if (params[i].type == DQ_TEXT || params[i].type == DQ_BLOB) {
			char *data = mem_alloc(params[i].u.s.len + 1);

			memcpy(data, params[i].u.s.data, params[i].u.s.len);
			params[i].u.s.data = data;
		}
	}
	u->stmt.params = params;
}

void writer_unit_free(struct writer_unit *u)
{
	size_t i;

	for (i = 0; i < u->stmt.param_count; i++)
		if (u->stmt.params[i].type == DQ_TEXT || u->stmt.params[i].type == DQ_BLOB)
			free((char *)u->stmt.params[i].u.s.data);
	free((struct dq_value *)u->stmt.params);
	free((char *)u->stmt.sql);
	free(u->message);
	free(u);
}

void writer_unit_keep(struct writer_unit *u, const struct dq_result *r)
{
	free(u->message);
	u->message = mem_strdup(r->message);
	u->code = r->code;
	u->last_id = r->last_id;
	u->changes = r->changes;
	u->was_sent = r->was_sent;
}

/* The end of a unit that is in no list any more. */
void writer_unit_complete(struct writer_unit *u, const struct dq_result *r)
{
	if (!u->is_abandoned)
		u->cb(u->arg, r);
	writer_unit_free(u);
}

void writer_unit_complete_kept(struct writer_unit *u)
{
	struct dq_result r = {.code = u->code,
	                      .message = u->message != NULL ? u->message : "",
	                      .last_id = u->last_id,
	                      .changes = u->changes,
	                      .is_last = true,
	                      .was_sent = u->was_sent};

	writer_unit_complete(u, &r);
}
