#include "store/writer_join.h"

#include "core/base/str.h"
#include "store/interrupt.h"

#include <string.h>

#define JOIN_MIN        4 /* fewer gain little */
#define JOIN_MAX_PARAMS 255
#define JOIN_MAX_BYTES  ((size_t)256 << 10)

struct join {
	struct buf sql;
	struct dq_value params[JOIN_MAX_PARAMS];
	size_t param_count, bytes;
	unsigned count;
};

static size_t size_of(const struct writer_stmt *stmt)
{
	size_t bytes = strlen(stmt->sql);

	for (size_t i = 0; i < stmt->param_count; i++)
		if (stmt->params[i].type == DQ_TEXT || stmt->params[i].type == DQ_BLOB)
			bytes += stmt->params[i].u.s.len;
	return bytes;
}

/* dqlite stops at an empty statement, so there may be no second semicolon; the new line ends a comment, and the mark must
 * follow the semicolon at once. */
static void add_text(struct join *j, const char *sql)
{
	size_t len = strlen(sql);

	while (len > 0 && strchr("; \t\r\n", sql[len - 1]) != NULL)
		len--;
	if (j->sql.len > 0)
		buf_puts(&j->sql, "\n;");
	buf_add(&j->sql, sql, len);
}

static bool add(struct join *j, const struct writer_unit *u)
{
	const struct writer_stmt *stmt = &u->stmt;
	size_t bytes = size_of(stmt);

	if (bytes > JOIN_MAX_BYTES - j->bytes || stmt->param_count > JOIN_MAX_PARAMS - j->param_count)
		return false;
	add_text(j, stmt->sql);
	if (stmt->param_count > 0)
		memcpy(j->params + j->param_count, stmt->params, stmt->param_count * sizeof(*stmt->params));
	j->param_count += stmt->param_count;
	j->bytes += bytes;
	j->count++;
	return true;
}

struct writer_unit *writer_join_send(struct dq *dq, struct writer_unit *first, dq_cb cb, void *arg)
{
	struct join j = {.count = 0};
	struct writer_unit *u, *last = NULL;

	for (u = first; u != NULL && add(&j, u); u = TAILQ_NEXT(u, link))
		last = u;
	if (j.count < JOIN_MIN) {
		buf_done(&j.sql);
		return NULL;
	}
	for (u = first; u != NULL; u = u == last ? NULL : TAILQ_NEXT(u, link)) {
		u->is_joined = true;
		interrupt_count(u->id);
	}
	dq_exec(dq, j.sql.data, j.params, j.param_count, cb, arg);
	buf_done(&j.sql);
	return last;
}

bool writer_join_keep(struct writer_unit *first, struct writer_unit *last, const struct dq_result *r)
{
	struct dq_result one = *r;
	struct writer_unit *u;
	bool all = true;

	for (u = first; u != NULL; u = u == last ? NULL : TAILQ_NEXT(u, link)) {
		all = interrupt_take_count(u->id, &one.changes) && all;
		if (r->code == 0)
			writer_unit_keep(u, &one);
	}
	return all && r->code == 0;
}
