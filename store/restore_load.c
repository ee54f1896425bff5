#include "store/restore_load.h"

#include "core/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BATCH_VALUES 2000
#define BATCH_BYTES  ((size_t)1 << 20)
#define TX_BYTES     ((size_t)4 << 20)

struct load {
	sqlite3 *from;
	struct dq_sync *to;
	struct restore_progress *progress;
	size_t tx_bytes; /* written since BEGIN; 0: no transaction is open */
	struct err *e;
};

/* --- transactions --- */

static int commit(struct load *l)
{
	if (l->tx_bytes == 0)
		return 0;
	l->tx_bytes = 0;
	return dq_sync_exec(l->to, "COMMIT", NULL, 0, l->e);
}

static int ensure_transaction(struct load *l)
{
	int rc = 0;

	if (l->tx_bytes >= TX_BYTES)
		rc = commit(l);
	if (rc == 0 && l->tx_bytes == 0) {
		rc = dq_sync_exec(l->to, "BEGIN IMMEDIATE", NULL, 0, l->e);
		l->tx_bytes = 1;
	}
	return rc;
}

/* --- rows --- */

/* Rows on their way: one INSERT of many. The values borrow from `copies`. */
struct batch {
	struct buf head; /* INSERT INTO "t" (...) VALUES */
	struct buf values;
	struct dq_value params[BATCH_VALUES];
	size_t offsets[BATCH_VALUES]; /* of texts and blobs, in copies */
	size_t count, rows;
	struct buf copies;
};

static void batch_done(struct batch *b)
{
	buf_done(&b->head);
	buf_done(&b->values);
	buf_done(&b->copies);
	free(b);
}

static int flush(struct load *l, struct batch *b)
{
	struct buf sql = {0};
	int rc = b->rows > 0 ? ensure_transaction(l) : 0;

	if (rc == 0 && b->rows > 0) {
		for (size_t i = 0; i < b->count; i++)
			if (b->params[i].type == DQ_TEXT || b->params[i].type == DQ_BLOB)
				b->params[i].u.s.data = b->copies.data + b->offsets[i];
		buf_add(&sql, b->head.data, b->head.len);
		buf_add(&sql, b->values.data, b->values.len);
		rc = dq_sync_exec(l->to, sql.data, b->params, b->count, l->e);
		l->tx_bytes += sql.len + b->copies.len;
		atomic_fetch_add(&l->progress->rows, (int64_t)b->rows);
		buf_done(&sql);
	}
	b->rows = b->count = 0;
	buf_clear(&b->values);
	buf_clear(&b->copies);
	return rc;
}

/* One value: a parameter, or what a parameter cannot carry spelled out. */
static void add_value(struct batch *b, sqlite3_stmt *st, int column)
{
	struct dq_value *v = &b->params[b->count];
	int type = sqlite3_column_type(st, column);
	const void *data = type == SQLITE_TEXT   ? (const void *)sqlite3_column_text(st, column)
	                   : type == SQLITE_BLOB ? sqlite3_column_blob(st, column)
	                                         : NULL;
	size_t len = (size_t)sqlite3_column_bytes(st, column);

	if (type == SQLITE_NULL || (type == SQLITE_BLOB && len == 0)) {
		buf_puts(&b->values, type == SQLITE_NULL ? "NULL" : "x''");
		return;
	}
	if (type == SQLITE_INTEGER) {
		v->type = DQ_INTEGER;
		v->u.i = sqlite3_column_int64(st, column);
	} else if (type == SQLITE_FLOAT) {
		v->type = DQ_FLOAT;
		v->u.f = sqlite3_column_double(st, column);
	} else {
		/* On the wire a text ends with its first NUL. */
		bool is_whole = type == SQLITE_BLOB || len == 0 || memchr(data, 0, len) == NULL;

		v->type = type == SQLITE_TEXT && is_whole ? DQ_TEXT : DQ_BLOB;
		v->u.s.len = len;
		b->offsets[b->count] = b->copies.len;
		buf_add(&b->copies, data, len);
		buf_add(&b->copies, "", 1);
		if (!is_whole) {
			buf_puts(&b->values, "CAST(? AS TEXT)");
			b->count++;
			return;
		}
	}
	buf_puts(&b->values, "?");
	b->count++;
}

static int add_row(struct load *l, struct batch *b, sqlite3_stmt *st)
{
	int columns = sqlite3_column_count(st), rc = 0;

	if (b->count + (size_t)columns > BATCH_VALUES || b->copies.len > BATCH_BYTES)
		rc = flush(l, b);
	if (rc != 0)
		return rc;
	buf_puts(&b->values, b->rows++ == 0 ? "(" : ",(");
	for (int i = 0; i < columns; i++) {
		if (i > 0)
			buf_puts(&b->values, ",");
		add_value(b, st, i);
	}
	buf_puts(&b->values, ")");
	return 0;
}

static int select_rows(struct load *l, struct batch *b, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int step = SQLITE_ROW, rc = 0;

	if (sqlite3_prepare_v2(l->from, sql, -1, &st, NULL) != SQLITE_OK)
		return err_set(l->e, ERR_INVAL, "%s", sqlite3_errmsg(l->from));
	while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW)
		rc = add_row(l, b, st);
	if (rc == 0 && step != SQLITE_DONE)
		rc = err_set(l->e, ERR_INVAL, "%s", sqlite3_errmsg(l->from));
	if (rc == 0)
		rc = flush(l, b);
	sqlite3_finalize(st);
	return rc;
}

/* --- columns --- */

static void quote(struct buf *b, const char *name)
{
	char *s = sqlite3_mprintf("\"%w\"", name);

	buf_puts(b, s);
	sqlite3_free(s);
}

/* The names of the columns that can be written, and whether one is called `name`. */
static int list_columns(struct load *l, const char *table, struct buf *ret, unsigned *ret_taken)
{
	static const char *const rowids[] = {"rowid", "_rowid_", "oid"};
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(l->from, "SELECT name, hidden FROM pragma_table_xinfo(?)", -1, &st, NULL) != SQLITE_OK)
		return err_set(l->e, ERR_INVAL, "%s", sqlite3_errmsg(l->from));
	sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
	while (sqlite3_step(st) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(st, 0);

		for (unsigned i = 0; i < 3; i++)
			if (strcasecmp(name, rowids[i]) == 0)
				*ret_taken |= 1U << i;
		if (sqlite3_column_int(st, 1) != 0) /* generated, or of a virtual table */
			continue;
		buf_puts(ret, ret->len > 0 ? ", " : "");
		quote(ret, name);
	}
	sqlite3_finalize(st);
	return 0;
}

/* "rowid" in front where the table has one and a name for it is left. */
static void add_rowid(struct buf *columns, unsigned taken)
{
	static const char *const rowids[] = {"rowid", "_rowid_", "oid"};
	struct buf all = {0};
	unsigned i = 0;

	while (i < 3 && (taken & (1U << i)) != 0)
		i++;
	if (i == 3)
		return;
	buf_printf(&all, "%s%s%s", rowids[i], columns->len > 0 ? ", " : "", columns->len > 0 ? columns->data : "");
	buf_done(columns);
	*columns = all;
}

static int copy_table(struct load *l, const char *table, bool has_rowid)
{
	struct batch *b = mem_alloc(sizeof *b);
	struct buf columns = {0}, sql = {0};
	unsigned taken = 0;
	int rc = list_columns(l, table, &columns, &taken);

	if (rc == 0) {
		if (has_rowid)
			add_rowid(&columns, taken);
		buf_puts(&b->head, "INSERT INTO ");
		quote(&b->head, table);
		buf_printf(&b->head, " (%s) VALUES ", columns.data);
		buf_printf(&sql, "SELECT %s FROM ", columns.data);
		quote(&sql, table);
		rc = select_rows(l, b, sql.data);
	}
	buf_done(&columns);
	buf_done(&sql);
	batch_done(b);
	return rc;
}

/* --- schema --- */

/* Calls one for (name, sql or kind) of each row. */
static int each_object(struct load *l, const char *list, int (*one)(struct load *l, const char *name, const char *second))
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(l->from, list, -1, &st, NULL) != SQLITE_OK)
		return err_set(l->e, ERR_INVAL, "%s", sqlite3_errmsg(l->from));
	while (rc == 0 && sqlite3_step(st) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(st, 0);

		rc = one(l, name, (const char *)sqlite3_column_text(st, 1));
		if (rc != 0)
			err_wrap(l->e, "%s", name);
	}
	sqlite3_finalize(st);
	return rc;
}

static int create(struct load *l, const char *name, const char *sql)
{
	int rc = ensure_transaction(l);

	(void)name;
	return rc == 0 ? dq_sync_exec(l->to, sql, NULL, 0, l->e) : rc;
}

/* What CREATE VIRTUAL TABLE, AUTOINCREMENT or ANALYZE has put there by itself gives way. */
static int empty_and_fill(struct load *l, const char *table, const char *kind)
{
	struct buf sql = {0};
	int rc = ensure_transaction(l);

	buf_puts(&sql, "DELETE FROM ");
	quote(&sql, table);
	if (rc == 0)
		rc = dq_sync_exec(l->to, sql.data, NULL, 0, l->e);
	buf_done(&sql);
	return rc == 0 ? copy_table(l, table, strcmp(kind, "rowid") == 0) : rc;
}

static int fill(struct load *l, const char *table, const char *kind)
{
	return copy_table(l, table, strcmp(kind, "rowid") == 0);
}

static int set_pragma(struct load *l, const char *name)
{
	const struct backup_db d = {.db = l->from};
	char sql[64];

	snprintf(sql, sizeof sql, "PRAGMA %s", name);
	snprintf(sql, sizeof sql, "PRAGMA %s = %" PRId64, name, backup_db_number(&d, sql, 0));
	return dq_sync_exec(l->to, sql, NULL, 0, l->e);
}

#define TABLES                                                                                                                 \
	"FROM sqlite_schema s JOIN pragma_table_list t ON t.schema = 'main' AND t.name = s.name COLLATE BINARY WHERE s.type "  \
	"= "                                                                                                                   \
	"'table' AND "
#define KIND "CASE t.wr WHEN 0 THEN 'rowid' ELSE 'key' END "

static int load_all(struct load *l)
{
	const struct backup_db d = {.db = l->from};
	int rc =
	        each_object(l, "SELECT s.name, s.sql " TABLES "t.type <> 'shadow' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
	                    create);

	if (rc == 0)
		rc = each_object(l,
		                 "SELECT s.name, " KIND TABLES "t.type = 'table' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
		                 fill);
	if (rc == 0)
		rc = each_object(l, "SELECT s.name, " KIND TABLES "(t.type = 'shadow' OR s.name = 'sqlite_sequence')",
		                 empty_and_fill);
	if (rc == 0)
		rc = each_object(l,
		                 "SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'view', 'trigger') AND sql IS "
		                 "NOT NULL "
		                 "ORDER BY CASE type WHEN 'index' THEN 0 WHEN 'view' THEN 1 ELSE 2 END, rowid",
		                 create);
	if (rc == 0 && backup_db_number(&d, "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'", 0) > 0) {
		rc = create(l, "sqlite_stat1", "ANALYZE sqlite_schema");
		if (rc == 0)
			rc = each_object(l, "SELECT s.name, " KIND TABLES "s.name LIKE 'sqlite\\_stat%' ESCAPE '\\'",
			                 empty_and_fill);
	}
	return rc == 0 ? commit(l) : rc;
}

static void count_rows(struct load *l)
{
	const struct backup_db d = {.db = l->from};
	struct backup_counts counts = {0};

	if (backup_db_count(&d, &counts, NULL) == 0)
		atomic_fetch_add(&l->progress->rows_total, counts.rows);
}

int restore_load(const struct backup_db *from, struct dq_sync *to, struct restore_progress *p, struct err *e)
{
	struct load l = {.from = from->db, .to = to, .progress = p, .e = e};
	int rc;

	count_rows(&l);
	rc = dq_sync_exec(to, "PRAGMA foreign_keys = OFF", NULL, 0, e);
	if (rc == 0)
		rc = load_all(&l);
	if (rc == 0)
		rc = set_pragma(&l, "user_version");
	if (rc == 0)
		rc = set_pragma(&l, "application_id");
	return rc;
}
