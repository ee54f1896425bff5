#include "store/frontend/shadow.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "store/frontend/messages.h"
#include "store/frontend/token.h"
#include "store/frontend/types.h"
#include "store/guard.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define RUN_STEPS  1000 /* virtual machine steps between two looks at the budget */
#define RUN_BUDGET 5000 /* looks: some tenths of a second */

struct shadow {
	const char *database;
	sqlite3 *db;
	uint64_t epoch;
	unsigned budget;
	/* What the authorizer saw of the statement that is being prepared. */
	bool is_ddl, is_alone, reads_tables, uses_local, is_secret;
	bool is_refused;
	struct guard_refusal refusal;
};

struct shadow_load {
	sqlite3 *db;
	bool has_statistics;
};

/* --- functions that PostgreSQL's clients call and SQLite has not --- */

static void text_function(sqlite3_context *ctx, int n, sqlite3_value **args)
{
	(void)n;
	(void)args;
	sqlite3_result_text(ctx, sqlite3_user_data(ctx), -1, SQLITE_TRANSIENT);
}

static const struct {
	const char *name;
	const char *text; /* NULL: the database's name */
} local_functions[] = {
        {"version", "PostgreSQL 15.0 (mha4rdb, SQLite " SQLITE_VERSION " dialect)"},
        {"current_schema", "public"},
        {"current_database", NULL},
        {"pg_is_in_recovery", "f"},
};

static bool is_local_function(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(local_functions) / sizeof(local_functions[0]); i++)
		if (strcasecmp(name, local_functions[i].name) == 0)
			return true;
	return false;
}

static void add_functions(struct shadow *sh)
{
	size_t i;

	for (i = 0; i < sizeof(local_functions) / sizeof(local_functions[0]); i++) {
		const char *text = local_functions[i].text != NULL ? local_functions[i].text : sh->database;

		sqlite3_create_function(sh->db, local_functions[i].name, 0, SQLITE_UTF8, (void *)text, text_function, NULL,
		                        NULL);
	}
}

/* --- preparing --- */

/* The authorizer names the table as the first or the second argument, whatever the action; views and triggers are followed. */
static bool is_secret_name(const char *s)
{
	return s != NULL && strncasecmp(s, "secret_", 7) == 0;
}

static void note_action(struct shadow *sh, int action, const char *a, const char *b)
{
	if (is_secret_name(a) || is_secret_name(b))
		sh->is_secret = true;
	switch (action) {
	case SQLITE_READ:
		sh->reads_tables = true;
		break;
	case SQLITE_FUNCTION:
		if (b != NULL && is_local_function(b))
			sh->uses_local = true;
		break;
	case SQLITE_PRAGMA:
		sh->reads_tables = true;
		sh->is_alone = b != NULL;
		break;
	case SQLITE_ANALYZE:
	case SQLITE_REINDEX:
	case SQLITE_ALTER_TABLE:
	case SQLITE_CREATE_VTABLE:
	case SQLITE_DROP_VTABLE:
		sh->is_ddl = true;
		break;
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
		if (a != NULL && (strcasecmp(a, "sqlite_master") == 0 || strcasecmp(a, "sqlite_schema") == 0))
			sh->is_ddl = true;
		break;
	default:
		break;
	}
}

static int authorize_cb(void *arg, int action, const char *a, const char *b, const char *database, const char *trigger)
{
	struct shadow *sh = arg;

	(void)database;
	(void)trigger;
	note_action(sh, action, a, b);
	if (guard_allows(action, a, b, &sh->refusal))
		return SQLITE_OK;
	sh->is_refused = true;
	return SQLITE_DENY;
}

static int prepare_error(struct shadow *sh, const char *sql, struct sqlerr *e)
{
	int offset;

	if (sh->is_refused) {
		sqlerr_set(e, sh->refusal.sqlstate, "%s", sh->refusal.text);
		sqlerr_hint(e, "%s", sh->refusal.hint);
		return ERR_SQL;
	}
	sqlerr_from_code(e, sqlite3_extended_errcode(sh->db), sqlite3_errmsg(sh->db));
	offset = sqlite3_error_offset(sh->db);
	if (offset >= 0)
		e->position = token_position(sql, (size_t)offset);
	return ERR_SQL;
}

static void describe_columns(sqlite3_stmt *stmt, struct shadow_info *ret)
{
	size_t i;

	ret->column_count = (size_t)sqlite3_column_count(stmt);
	ret->columns = mem_alloc(ret->column_count * sizeof(*ret->columns));
	for (i = 0; i < ret->column_count; i++) {
		const char *decltype = sqlite3_column_decltype(stmt, (int)i);

		ret->columns[i].name = mem_strdup(sqlite3_column_name(stmt, (int)i));
		ret->columns[i].oid = type_oid_of_decltype(decltype);
		ret->columns[i].is_expression = decltype == NULL;
		ret->columns[i].is_deadly = guard_is_deadly_type(decltype);
	}
}

/* VACUUM INTO writes a file, and no authorizer is asked about it. */
static int check_words(const char *sql, size_t len, struct shadow *sh, struct sqlerr *e)
{
	struct token t = token_next_solid(sql, sql + len);

	if (!token_is_word(&t, "VACUUM"))
		return ERR_OK;
	sh->is_alone = true;
	for (; t.kind != TOKEN_END && !token_is_symbol(&t, ';'); t = token_next_solid(t.at + t.len, sql + len)) {
		if (token_is_word(&t, "INTO")) {
			sqlerr_set(e, "0A000", "VACUUM INTO is not available: it would write a file on one node");
			sqlerr_hint(e, "Use mha-shell store backup.");
			return ERR_SQL;
		}
	}
	return ERR_OK;
}

static int compile(struct shadow *sh, const char *sql, size_t len, sqlite3_stmt **ret, size_t *ret_size, struct sqlerr *e)
{
	const char *tail = NULL;

	sh->is_ddl = sh->is_alone = sh->reads_tables = sh->uses_local = sh->is_secret = sh->is_refused = false;
	if (len > MSG_MAX_BYTES)
		return sqlerr_set(e, "54000", "the statement is too long");
	if (check_words(sql, len, sh, e) != ERR_OK)
		return ERR_SQL;
	if (sqlite3_prepare_v2(sh->db, sql, (int)len, ret, &tail) != SQLITE_OK)
		return prepare_error(sh, sql, e);
	*ret_size = (size_t)(tail - sql);
	return ERR_OK;
}

/* A session's own function beside a table would need both places at once. EXPLAIN needs no rows. */
static int decide_place(const struct shadow *sh, sqlite3_stmt *stmt, struct shadow_info *ret, struct sqlerr *e)
{
	ret->is_local = sh->uses_local || sqlite3_stmt_isexplain(stmt) != 0;
	if (!sh->uses_local || (!sh->reads_tables && ret->is_readonly))
		return ERR_OK;
	sqlerr_set(e, "0A000",
	           "version(), current_schema(), current_database() and pg_is_in_recovery() cannot be combined with tables");
	sqlerr_hint(e, "Ask for them in a statement of their own.");
	return ERR_SQL;
}

int shadow_prepare(struct shadow *sh, const char *sql, size_t len, struct shadow_info *ret, struct sqlerr *e)
{
	struct shadow_info info = {0};
	sqlite3_stmt *stmt = NULL;
	int rc = compile(sh, sql, len, &stmt, &info.size, e);

	if (rc != ERR_OK)
		return rc;
	info.epoch = sh->epoch;
	info.is_empty = stmt == NULL;
	if (stmt != NULL) {
		info.is_readonly = sqlite3_stmt_readonly(stmt) != 0 || sqlite3_stmt_isexplain(stmt) != 0;
		info.is_ddl = sh->is_ddl;
		info.is_secret = sh->is_secret;
		info.is_alone = sh->is_alone || sh->is_ddl;
		info.param_count = (unsigned)sqlite3_bind_parameter_count(stmt);
		rc = decide_place(sh, stmt, &info, e);
		if (rc == ERR_OK)
			describe_columns(stmt, &info);
		sqlite3_finalize(stmt);
	}
	if (rc == ERR_OK)
		*ret = info;
	return rc;
}

void shadow_info_done(struct shadow_info *info)
{
	size_t i;

	for (i = 0; i < info->column_count; i++)
		free(info->columns[i].name);
	free(info->columns);
	memset(info, 0, sizeof(*info));
}

/* --- running what is local --- */

static int progress_cb(void *arg)
{
	struct shadow *sh = arg;

	return sh->budget == 0 || --sh->budget == 0;
}

static void bind_params(sqlite3_stmt *stmt, const struct dq_value *params, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		const struct dq_value *v = &params[i];
		int at = (int)i + 1;

		if (v->type == DQ_INTEGER)
			sqlite3_bind_int64(stmt, at, v->u.i);
		else if (v->type == DQ_FLOAT)
			sqlite3_bind_double(stmt, at, v->u.f);
		else if (v->type == DQ_TEXT)
			sqlite3_bind_text(stmt, at, v->u.s.data, (int)v->u.s.len, SQLITE_STATIC);
		else if (v->type == DQ_BLOB)
			sqlite3_bind_blob(stmt, at, v->u.s.data, (int)v->u.s.len, SQLITE_STATIC);
	}
}

static void read_row(sqlite3_stmt *stmt, struct dq_value *values, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		int type = sqlite3_column_type(stmt, i); /* SQLite's numbers are dqlite's */

		values[i].type = (enum dq_type)type;
		if (type == SQLITE_INTEGER) {
			values[i].u.i = sqlite3_column_int64(stmt, i);
		} else if (type == SQLITE_FLOAT) {
			values[i].u.f = sqlite3_column_double(stmt, i);
		} else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
			values[i].u.s.data = sqlite3_column_blob(stmt, i);
			values[i].u.s.len = (size_t)sqlite3_column_bytes(stmt, i);
			if (values[i].u.s.data == NULL)
				values[i].u.s.data = "";
		}
	}
}

int shadow_run(struct shadow *sh, const char *sql, size_t len, const struct dq_value *params, size_t param_count,
               shadow_row_cb row_cb, void *arg, struct sqlerr *e)
{
	struct dq_value *values;
	sqlite3_stmt *stmt = NULL;
	size_t size;
	int step, count, rc = compile(sh, sql, len, &stmt, &size, e);

	if (rc != ERR_OK)
		return rc;
	bind_params(stmt, params, param_count);
	count = sqlite3_column_count(stmt);
	values = mem_alloc((size_t)count * sizeof(*values));
	sh->budget = RUN_BUDGET;
	sqlite3_progress_handler(sh->db, RUN_STEPS, progress_cb, sh);
	while (rc == ERR_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
		read_row(stmt, values, count);
		rc = row_cb(arg, values, (size_t)count, e);
	}
	if (rc == ERR_OK && step != SQLITE_DONE)
		rc = sqlerr_from_code(e, sqlite3_extended_errcode(sh->db), sqlite3_errmsg(sh->db));
	sqlite3_progress_handler(sh->db, 0, NULL, NULL);
	sqlite3_finalize(stmt);
	free(values);
	return rc;
}

/* --- loading --- */

static sqlite3 *open_memory(void)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(":memory:", &db,
	                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_MEMORY,
	                    NULL) != SQLITE_OK)
		abort(); /* out of memory */
	sqlite3_extended_result_codes(db, 1);
	sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, TOKEN_MAX_PARAMS);
	return db;
}

struct shadow_load *shadow_load_new(void)
{
	struct shadow_load *l = mem_alloc(sizeof(*l));

	l->db = open_memory();
	return l;
}

void shadow_load_add(struct shadow_load *l, const char *name, const char *sql)
{
	if (strncmp(name, "sqlite_stat", 11) == 0)
		l->has_statistics = true;
	if (sql == NULL || strncmp(name, "sqlite_", 7) == 0)
		return; /* made by SQLite itself along with what it belongs to */
	if (sqlite3_exec(l->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		log_debug("shadow", "\"%s\" is left out: %s", name, sqlite3_errmsg(l->db));
}

void shadow_load_free(struct shadow_load *l)
{
	if (l == NULL)
		return;
	sqlite3_close(l->db);
	free(l);
}

void shadow_load_finish(struct shadow_load *l, struct shadow *sh)
{
	if (l->has_statistics)
		sqlite3_exec(l->db, "ANALYZE", NULL, NULL, NULL);
	sqlite3_close(sh->db);
	sh->db = l->db;
	sh->epoch++;
	l->db = NULL;
	shadow_load_free(l);
	add_functions(sh);
	sqlite3_set_authorizer(sh->db, authorize_cb, sh);
}

struct shadow *shadow_new(const char *database)
{
	struct shadow *sh = mem_alloc(sizeof(*sh));

	sh->database = database;
	shadow_load_finish(shadow_load_new(), sh);
	return sh;
}

void shadow_free(struct shadow *sh)
{
	if (sh == NULL)
		return;
	sqlite3_close(sh->db);
	free(sh);
}

uint64_t shadow_epoch(const struct shadow *sh)
{
	return sh->epoch;
}
