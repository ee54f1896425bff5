#include "store/guard.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool allows(int action, const char *a, const char *b)
{
	struct guard_refusal r;
	bool ok = guard_allows(action, a, b, &r);

	if (!ok) /* every refusal says why */
		assert_true(strlen(r.sqlstate) == 5 && r.text[0] != '\0');
	return ok;
}

static void other_databases_and_temporary_things_are_refused(void **state)
{
	(void)state;
	assert_false(allows(SQLITE_ATTACH, "x", NULL));
	assert_false(allows(SQLITE_DETACH, "x", NULL));
	assert_false(allows(SQLITE_CREATE_TEMP_TABLE, "x", NULL));
	assert_false(allows(SQLITE_FUNCTION, NULL, "load_extension"));
	assert_true(allows(SQLITE_FUNCTION, NULL, "count"));
	assert_true(allows(SQLITE_CREATE_TABLE, "x", NULL));
}

static void only_harmless_pragmas_pass(void **state)
{
	(void)state;
	assert_true(allows(SQLITE_PRAGMA, "table_info", "t"));
	assert_true(allows(SQLITE_PRAGMA, "USER_VERSION", "5"));
	assert_true(allows(SQLITE_PRAGMA, "foreign_keys", NULL));
	assert_false(allows(SQLITE_PRAGMA, "foreign_keys", "0"));
	assert_false(allows(SQLITE_PRAGMA, "journal_mode", "delete"));
	assert_false(allows(SQLITE_PRAGMA, "schema_version", "1"));
	assert_false(allows(SQLITE_PRAGMA, "writable_schema", "1"));
	assert_false(allows(SQLITE_PRAGMA, "unheard_of", NULL));
	assert_false(allows(SQLITE_READ, "pragma_optimize", "x"));
	assert_true(allows(SQLITE_READ, "pragma_table_info", "x"));
}

static void the_types_that_kill_are_known(void **state)
{
	(void)state;
	assert_true(guard_is_deadly_type("datetime"));
	assert_true(guard_is_deadly_type("BOOLEAN"));
	assert_false(guard_is_deadly_type("DATETIME2"));
	assert_false(guard_is_deadly_type(NULL));
}

static void a_wrapped_select_names_columns_by_place(void **state)
{
	struct buf out = {0};

	(void)state;
	guard_wrap_select("SELECT a, a FROM t -- x", 23, 2, &out);
	assert_string_equal(out.data, "WITH mha_q(c0,c1) AS (\nSELECT a, a FROM t -- x\n) SELECT +c0,+c1 FROM mha_q");
	buf_done(&out);
}

static void returning_lists_get_a_plus_and_stars_their_columns(void **state)
{
	static const char *const names[] = {"a\"b", "c", "x"};
	const char *sql = "DELETE FROM t RETURNING *, f(1, ',') /* , */";
	struct buf out = {0};

	(void)state;
	assert_true(guard_wrap_returning(sql, strlen(sql), 23, names, 3, &out));
	assert_string_equal(out.data, "DELETE FROM t RETURNING +\"a\"\"b\", +\"c\", + f(1, ',') /* , */\n");
	buf_clear(&out);
	sql = "DELETE FROM t RETURNING *, *";
	assert_false(guard_wrap_returning(sql, strlen(sql), 23, names, 3, &out));
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(other_databases_and_temporary_things_are_refused),
	        cmocka_unit_test(only_harmless_pragmas_pass),
	        cmocka_unit_test(the_types_that_kill_are_known),
	        cmocka_unit_test(a_wrapped_select_names_columns_by_place),
	        cmocka_unit_test(returning_lists_get_a_plus_and_stars_their_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
