#include "store/frontend/shadow.h"
#include "store/frontend/statement.h"
#include "store/frontend/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
	struct shadow *sh = shadow_new("config");
	struct shadow_load *l = shadow_load_new();

	shadow_load_add(l, "vm", "CREATE TABLE vm(id INTEGER PRIMARY KEY, name TEXT, up BOOLEAN, seen DATETIME)");
	shadow_load_add(l, "sqlite_autoindex_vm_1", NULL);
	shadow_load_add(l, "broken", "CREATE VIRTUAL TABLE broken USING nowhere(x)");
	shadow_load_add(l, "v", "CREATE VIEW v AS SELECT name FROM vm");
	shadow_load_finish(l, sh);
	*state = sh;
	return 0;
}

static int teardown(void **state)
{
	shadow_free(*state);
	return 0;
}

static void read_ok(struct shadow *sh, const char *sql, struct statement *st)
{
	struct sqlerr e = SQLERR_INIT;

	if (statement_read(sh, sql, strlen(sql), st, &e) != ERR_OK)
		fail_msg("%s: %s %s", sql, e.sqlstate, e.text);
}

static void check_error(struct shadow *sh, const char *sql, const char *sqlstate, int position)
{
	struct statement st;
	struct sqlerr e = SQLERR_INIT;

	assert_int_equal(statement_read(sh, sql, strlen(sql), &st, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, sqlstate);
	if (position > 0)
		assert_int_equal(e.position, position);
}

static void a_statement_is_described_without_rows(void **state)
{
	struct statement st;

	read_ok(*state, "SELECT id, name AS n, up, count(*) FROM vm WHERE id = ?2; SELECT 2", &st);
	assert_true(st.info.is_readonly && !st.info.is_ddl && !st.info.is_local);
	assert_int_equal(st.info.column_count, 4);
	assert_string_equal(st.info.columns[1].name, "n");
	assert_int_equal(st.info.columns[0].oid, OID_INT8);
	assert_int_equal(st.info.columns[2].oid, OID_BOOL);
	assert_int_equal(st.info.param_count, 2);
	assert_int_equal(st.size, strlen("SELECT id, name AS n, up, count(*) FROM vm WHERE id = ?2;"));
	assert_string_equal(st.tag, "SELECT");
	statement_done(&st);
}

static void expressions_have_types_where_they_can_be_told(void **state)
{
	static const struct {
		const char *item;
		uint32_t oid;
	} cases[] = {
	        {"count(*)", OID_INT8},
	        {"count(*) FILTER (WHERE up) AS n", OID_INT8},
	        {"max(id)", OID_INT8},
	        {"max(name)", OID_TEXT},
	        {"sum(id) AS total", OID_INT8},
	        {"avg(id)", OID_FLOAT8},
	        {"coalesce(max(id), 0)", OID_INT8},
	        {"CAST(name AS INTEGER) x", OID_INT8},
	        {"cast((1 + 2) as real)", OID_FLOAT8},
	        {"1", OID_INT8},
	        {"1.5", OID_FLOAT8},
	        {"1 + 1", OID_TEXT},
	        {"count(*) || 'x'", OID_TEXT},
	        {"(SELECT count(*) FROM vm)", OID_TEXT},
	        {"row_number() OVER (ORDER BY id)", OID_INT8},
	        {"max(seen)", OID_TIMESTAMP},
	        {"'a,b'", OID_TEXT},
	        {"exists (SELECT 1)", OID_BOOL},
	};
	char sql[256];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct statement st;

		snprintf(sql, sizeof(sql), "WITH w AS (SELECT 1, 2) SELECT DISTINCT '(,' AS a, %s, id FROM vm GROUP BY id",
		         cases[i].item);
		read_ok(*state, sql, &st);
		assert_int_equal(st.info.column_count, 3);
		if (st.info.columns[1].oid != cases[i].oid)
			fail_msg("%s: %u, not %u", cases[i].item, st.info.columns[1].oid, cases[i].oid);
		assert_int_equal(st.info.columns[2].oid, OID_INT8);
		statement_done(&st);
	}
}

static void writes_and_schema_changes_are_told_apart(void **state)
{
	struct statement st;

	read_ok(*state, "UPDATE vm SET name = 'x'", &st);
	assert_true(!st.info.is_readonly && !st.info.is_ddl && !st.info.is_alone);
	statement_done(&st);
	read_ok(*state, "CREATE UNIQUE INDEX i ON vm(name)", &st);
	assert_true(st.info.is_ddl && st.info.is_alone);
	assert_string_equal(st.tag, "CREATE INDEX");
	statement_done(&st);
	read_ok(*state, "WITH a AS (SELECT 1) INSERT INTO vm(id) SELECT * FROM a", &st);
	assert_string_equal(st.tag, "INSERT 0");
	statement_done(&st);
	read_ok(*state, "DROP VIEW v", &st);
	assert_true(st.info.is_ddl);
	statement_done(&st);
}

static void errors_have_a_state_and_a_place(void **state)
{
	check_error(*state, "SELECT nope FROM vm", "42703", 8);
	check_error(*state, "  /* \xc3\xbc */ SELEC 1", "42601", 11);
	check_error(*state, "SELECT * FROM broken", "42P01", 0);
	check_error(*state, "ATTACH 'a' AS b", "0A000", 0);
	check_error(*state, "VACUUM INTO 'x'", "0A000", 0);
	check_error(*state, "SELECT version(), name FROM vm", "0A000", 0);
	check_error(*state, "INSERT INTO vm(name) VALUES (version())", "0A000", 0);
}

static void deadly_columns_are_wrapped_and_others_are_not(void **state)
{
	struct statement st;

	read_ok(*state, "SELECT id, name FROM vm", &st);
	assert_null(st.sent);
	statement_done(&st);
	read_ok(*state, "SELECT * FROM vm ORDER BY id", &st);
	assert_non_null(st.sent);
	assert_int_equal(st.info.columns[3].oid, OID_TIMESTAMP); /* the client still learns the type */
	assert_string_equal(st.info.columns[3].name, "seen");
	statement_done(&st);
	read_ok(*state, "DELETE FROM vm RETURNING seen, *", &st);
	assert_non_null(strstr(st.sent, "+\"up\""));
	statement_done(&st);
}

static int count_cb(void *arg, const struct dq_value *values, size_t count, struct sqlerr *e)
{
	(void)values;
	(void)count;
	(void)e;
	++*(int *)arg;
	return ERR_OK;
}

static void the_sessions_own_functions_run_here_and_are_bounded(void **state)
{
	struct statement st;
	struct sqlerr e = SQLERR_INIT;
	const char *endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n), version() FROM r";
	int rows = 0;

	read_ok(*state, "SELECT current_database()", &st);
	assert_true(st.info.is_local);
	assert_int_equal(shadow_run(*state, st.sql, strlen(st.sql), NULL, 0, count_cb, &rows, &e), ERR_OK);
	assert_int_equal(rows, 1);
	statement_done(&st);
	assert_int_equal(shadow_run(*state, endless, strlen(endless), NULL, 0, count_cb, &rows, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "57014");
}

static void secret_tables_are_noticed_wherever_they_hide(void **state)
{
	static const char *const secret[] = {
	        "SELECT key FROM secret_ca",
	        "SELECT count(*) FROM SECRET_CA",
	        "SELECT * FROM vm WHERE name IN (SELECT key FROM \"secret_ca\")",
	        "WITH k AS (SELECT * FROM main.secret_ca) SELECT 1 FROM k",
	        "SELECT * FROM looks_harmless",
	        "UPDATE secret_ca SET key = ''",
	        "DELETE FROM secret_ca",
	        "INSERT INTO vm (name) SELECT key FROM secret_ca",
	        "CREATE INDEX i ON secret_ca (key)",
	        "DROP TABLE secret_ca",
	        "ALTER TABLE secret_ca RENAME TO plain",
	};
	struct shadow_load *l = shadow_load_new();
	struct shadow_info info;
	struct sqlerr e = SQLERR_INIT;
	size_t i;

	shadow_load_add(l, "vm", "CREATE TABLE vm (id INTEGER PRIMARY KEY, name TEXT)");
	shadow_load_add(l, "secret_ca", "CREATE TABLE secret_ca (id INTEGER PRIMARY KEY, key TEXT)");
	shadow_load_add(l, "looks_harmless", "CREATE VIEW looks_harmless AS SELECT upper(key) AS name FROM secret_ca");
	shadow_load_finish(l, *state);
	for (i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
		if (shadow_prepare(*state, secret[i], strlen(secret[i]), &info, &e) != ERR_OK)
			fail_msg("%s: %s", secret[i], e.text);
		if (!info.is_secret)
			fail_msg("not noticed: %s", secret[i]);
		shadow_info_done(&info);
	}
	assert_int_equal(shadow_prepare(*state, "SELECT name FROM vm", 19, &info, &e), ERR_OK);
	assert_false(info.is_secret);
	shadow_info_done(&info);
}

static void a_new_schema_replaces_the_old_one(void **state)
{
	struct shadow *sh = *state;
	uint64_t epoch = shadow_epoch(sh);

	shadow_load_finish(shadow_load_new(), sh);
	assert_true(shadow_epoch(sh) > epoch);
	check_error(sh, "SELECT * FROM vm", "42P01", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(a_statement_is_described_without_rows, setup, teardown),
	        cmocka_unit_test_setup_teardown(expressions_have_types_where_they_can_be_told, setup, teardown),
	        cmocka_unit_test_setup_teardown(writes_and_schema_changes_are_told_apart, setup, teardown),
	        cmocka_unit_test_setup_teardown(errors_have_a_state_and_a_place, setup, teardown),
	        cmocka_unit_test_setup_teardown(deadly_columns_are_wrapped_and_others_are_not, setup, teardown),
	        cmocka_unit_test_setup_teardown(the_sessions_own_functions_run_here_and_are_bounded, setup, teardown),
	        cmocka_unit_test_setup_teardown(secret_tables_are_noticed_wherever_they_hide, setup, teardown),
	        cmocka_unit_test_setup_teardown(a_new_schema_replaces_the_old_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
