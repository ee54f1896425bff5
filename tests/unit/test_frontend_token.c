#include "store/frontend/token.h"

#include "store/frontend/statement.h"
#include "store/frontend/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Rewrites a copy and compares; *params is what it told. */
static void check_rewrite(const char *from, const char *to, struct token_params *params)
{
	char text[512];
	struct sqlerr e = SQLERR_INIT;

	snprintf(text, sizeof(text), "%s", from);
	assert_int_equal(token_rewrite(text, strlen(text), params, &e), ERR_OK);
	assert_string_equal(text, to);
	assert_int_equal(strlen(text), strlen(from));
}

static void parameters_become_sqlites_outside_literals_only(void **state)
{
	struct token_params p;

	(void)state;
	check_rewrite("SELECT $1, $12", "SELECT ?1, ?12", &p);
	assert_int_equal(p.count, 12);
	check_rewrite("SELECT '$1', \"$1\", `$1`, [$1] -- $1\n /* $1 */ + $2",
	              "SELECT '$1', \"$1\", `$1`, [$1] -- $1\n /* $1 */ + ?2", &p);
	assert_int_equal(p.count, 2);
	check_rewrite("SELECT 'it''s $1', a$1", "SELECT 'it''s $1', a$1", &p);
	assert_int_equal(p.count, 0);
}

static void casts_that_change_nothing_become_blanks(void **state)
{
	struct token_params p;

	(void)state;
	check_rewrite("SELECT 'x'::text", "SELECT 'x'      ", &p);
	check_rewrite("SELECT '2024-01-01'::timestamp(3)::text", "SELECT '2024-01-01'                    ", &p);
	check_rewrite("SELECT 'x'::pg_catalog.varchar", "SELECT 'x'                    ", &p);
	check_rewrite("SELECT 5::bigint", "SELECT 5        ", &p);
	check_rewrite("SELECT $1::int4, $2::double precision", "SELECT ?1      , ?2                  ", &p);
	assert_int_equal(p.oids[0], OID_INT4);
	assert_int_equal(p.oids[1], OID_FLOAT8);
}

static void bytea_and_escaped_strings_become_sqlites(void **state)
{
	struct token_params p;

	(void)state;
	check_rewrite("SELECT '\\x00ff'::bytea", "SELECT X'00ff'        ", &p);
	check_rewrite("SELECT E'\\\\x0aff'::bytea", "SELECT X'0aff'          ", &p);
	check_rewrite("SELECT E'a\\'b\\n'", "SELECT 'a''b\n'  ", &p);
	check_rewrite("SELECT pg_catalog.version()", "SELECT            version()", &p);
}

static void check_refusal(const char *sql, const char *sqlstate)
{
	char text[512];
	struct token_params p;
	struct sqlerr e = SQLERR_INIT;

	snprintf(text, sizeof(text), "%s", sql);
	assert_int_not_equal(token_rewrite(text, strlen(text), &p, &e), ERR_OK);
	assert_string_equal(e.sqlstate, sqlstate);
}

static void what_cannot_be_rewritten_is_refused(void **state)
{
	(void)state;
	check_refusal("SELECT a::int", "0A000");
	check_refusal("SELECT 'zz'::bytea", "22P02");
	check_refusal("SELECT $256", "54000");
	check_refusal("SELECT $0", "54000");
	check_refusal("SELECT $99999999999999999999", "54000");
	check_refusal("SELECT 1::", "42601");
	check_refusal("SELECT E'\\x41'", "0A000");
}

static void every_byte_string_is_cut_into_tokens_that_cover_it(void **state)
{
	unsigned seed = 7;
	int round, i;

	(void)state;
	for (round = 0; round < 20000; round++) {
		static const char alphabet[] = "'\"`[]$1aE\\:;-/* \n(),.\0\x80";
		char text[24];
		const char *at = text, *end = text + sizeof(text);
		struct token_params p;
		struct sqlerr e = SQLERR_INIT;

		for (i = 0; i < (int)sizeof(text); i++)
			text[i] = alphabet[(seed = seed * 1103515245u + 12345u) / 65536 % (sizeof(alphabet) - 1)];
		while (at < end) {
			struct token t = token_next(at, end);

			assert_ptr_equal(t.at, at);
			assert_true(t.len > 0 && t.at + t.len <= end);
			at = t.at + t.len;
		}
		(void)!token_rewrite(text, sizeof(text), &p, &e);
	}
}

static void kinds_are_told_by_the_first_words(void **state)
{
	static const struct {
		const char *sql;
		enum statement_kind kind;
	} cases[] = {
	        {" -- hello\n ; begin read only", STATEMENT_BEGIN},
	        {"START TRANSACTION", STATEMENT_BEGIN},
	        {"rollback work to savepoint a", STATEMENT_ROLLBACK_TO},
	        {"ROLLBACK TRANSACTION", STATEMENT_ROLLBACK},
	        {"END", STATEMENT_COMMIT},
	        {"selec", STATEMENT_SQL},
	        {"/* x */", STATEMENT_EMPTY},
	        {";;", STATEMENT_EMPTY},
	        {"call x()", STATEMENT_CALL},
	        {"'begin'", STATEMENT_SQL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(statement_kind_of(cases[i].sql, strlen(cases[i].sql)), cases[i].kind);
	assert_true(statement_follows("; select 1", 10));
	assert_false(statement_follows(" ; -- select 1", 14));
}

static void positions_count_characters(void **state)
{
	(void)state;
	assert_int_equal(token_position("abc", 0), 1);
	assert_int_equal(token_position("\xc3\xbc\xc3\xbcx", 4), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(parameters_become_sqlites_outside_literals_only),
	        cmocka_unit_test(casts_that_change_nothing_become_blanks),
	        cmocka_unit_test(bytea_and_escaped_strings_become_sqlites),
	        cmocka_unit_test(what_cannot_be_rewritten_is_refused),
	        cmocka_unit_test(every_byte_string_is_cut_into_tokens_that_cover_it),
	        cmocka_unit_test(kinds_are_told_by_the_first_words),
	        cmocka_unit_test(positions_count_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
