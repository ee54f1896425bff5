#include "shell/sql_split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* The first statement of text ends where `rest` begins. */
static void ends_before(const char *text, const char *rest)
{
	assert_string_equal(text + sql_split_first(text, strlen(text)), rest);
}

static void never_ends(const char *text)
{
	assert_int_equal(sql_split_first(text, strlen(text)), 0);
}

static void a_semicolon_ends_a_statement(void **state)
{
	(void)state;
	ends_before("select 1; select 2;", " select 2;");
	ends_before(";", "");
	never_ends("select 1");
	never_ends("");
}

static void a_semicolon_in_quotes_or_comments_ends_nothing(void **state)
{
	(void)state;
	ends_before("select ';', \"a;b\", `c;d`, [e;f] -- g;h\n/* i;j */, 'it''s;';x", "x");
	never_ends("select 'never ends;");
	never_ends("select 1 /* never ends;");
	never_ends("select 1 -- the line may go on;");
	never_ends("select [a;");
}

static void a_trigger_ends_after_its_end(void **state)
{
	(void)state;
	ends_before("CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET x=1; SELECT CASE WHEN 1 THEN 2 END; END; select",
	            " select");
	ends_before("create temp trigger t before delete on a begin select 1; end ; x", " x");
	ends_before("explain query plan create trigger t after insert on a begin select 1; end;x", "x");
	never_ends("CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET x=1;");
	ends_before("create table trigger_log (x);y", "y");
	ends_before("create table t (trigger); y", " y");
}

static void transactions_end_at_each_semicolon(void **state)
{
	(void)state;
	ends_before("begin; select 1; end;", " select 1; end;");
	ends_before("end;x", "x");
}

static void blanks_comments_and_semicolons_are_empty(void **state)
{
	(void)state;
	assert_true(sql_split_is_empty("", 0));
	assert_true(sql_split_is_empty(" ;; -- x\n/* y */ ;", 18));
	assert_true(sql_split_is_empty("-- x", 4));
	assert_false(sql_split_is_empty(" ; a", 4));
	assert_false(sql_split_is_empty("/* open", 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_semicolon_ends_a_statement),
	        cmocka_unit_test(a_semicolon_in_quotes_or_comments_ends_nothing),
	        cmocka_unit_test(a_trigger_ends_after_its_end),
	        cmocka_unit_test(transactions_end_at_each_semicolon),
	        cmocka_unit_test(blanks_comments_and_semicolons_are_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
