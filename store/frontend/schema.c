#include "store/frontend/schema.h"

#include "store/frontend/session.h"

#include <string.h>

#define SCHEMA_QUERY "SELECT name, sql FROM sqlite_master ORDER BY rowid"

static const struct session *owner_for(const struct session *s)
{
	return s->tx_has_ddl ? s : NULL;
}

bool schema_is_current(const struct session *s)
{
	const struct database *db = s->db;

	return !db->is_stale && db->loaded_change == node_leader(s->f->node)->change_count && db->owner == owner_for(s);
}

static void add_rows(struct shadow_load *l, const struct dq_result *r)
{
	size_t i;

	for (i = 0; i < r->row_count; i++) {
		const struct dq_value *v = &r->values[i * r->column_count];

		if (r->column_count == 2 && v[0].type == DQ_TEXT)
			shadow_load_add(l, v[0].u.s.data, v[1].type == DQ_TEXT ? v[1].u.s.data : NULL);
	}
}

static void rows_cb(void *arg, const struct dq_result *r)
{
	struct session *s = arg;
	struct sqlerr e = SQLERR_INIT;

	if (r->is_last)
		s->op.job = NULL;
	if (r->code == 0)
		add_rows(s->op.load, r);
	if (!r->is_last)
		return;
	if (r->code != 0) {
		shadow_load_free(s->op.load);
		s->op.load = NULL;
		sqlerr_set(&e, "57P03", "the schema cannot be read now (%s): try again", r->message);
		s->op.loaded(s, &e);
		return;
	}
	shadow_load_finish(s->op.load, s->db->shadow);
	s->op.load = NULL;
	s->db->is_stale = false;
	s->db->loaded_change = node_leader(s->f->node)->change_count;
	s->db->owner = owner_for(s);
	s->op.loaded(s, NULL);
}

void schema_load(struct session *s, void (*cb)(struct session *s, const struct sqlerr *e))
{
	struct writer_stmt stmt = {.sql = SCHEMA_QUERY, .returns_rows = true};

	s->op.loaded = cb;
	s->op.load = shadow_load_new();
	if (s->has_slot)
		writer_run(s->unit, &stmt, rows_cb, s);
	else
		s->op.job = reader_run(s->db->reader, stmt.sql, NULL, 0, rows_cb, s);
}
