#include "shell/sql_print.h"

#include "shell/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static void mark_is(const char *statement, unsigned position, const char *expected)
{
	struct buf b = {0};

	sql_print_position(&b, statement, position);
	assert_string_equal(b.data != NULL ? b.data : "", expected);
	buf_done(&b);
}

static void the_caret_stands_below_the_error(void **state)
{
	(void)state;
	mark_is("select nme", 8, "LINE 1: select nme\n               ^\n");
	mark_is("select 1,\n\tnme from t", 12, "LINE 2:  nme from t\n         ^\n");
	mark_is("select 'größe', x", 17, "LINE 1: select 'größe', x\n                        ^\n");
	mark_is("select 1", 0, "");
}

static void a_position_beyond_the_statement_points_at_its_end(void **state)
{
	(void)state;
	mark_is("select", 99, "LINE 1: select\n              ^\n");
	mark_is("", 1, "LINE 1: \n        ^\n");
}

static void only_the_part_around_the_error_of_a_long_line_is_shown(void **state)
{
	char text[1001];
	struct buf b = {0};

	(void)state;
	memset(text, 'a', 1000);
	text[500] = 'X';
	text[1000] = '\0';
	sql_print_position(&b, text, 501);
	assert_non_null(strchr(b.data, 'X'));
	assert_int_equal(strchr(b.data, '^') - strchr(b.data, '\n') - 1, strchr(b.data, 'X') - b.data);
	assert_in_range(b.len, 150, 260);
	buf_done(&b);
}

static PGresult *make_result(void)
{
	static char *names[] = {"id", "id", "ok", "x"};
	static const Oid types[] = {20, 25, 16, 701};
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[4];
	int i;

	memset(columns, 0, sizeof columns);
	for (i = 0; i < 4; i++)
		columns[i] = (PGresAttDesc){.name = names[i], .typid = types[i], .typlen = -1, .atttypmod = -1};
	assert_int_equal(PQsetResultAttrs(res, 4, columns), 1);
	PQsetvalue(res, 0, 0, (char *)"9007199254740993", 16);
	PQsetvalue(res, 0, 1, (char *)"a\xff\"", 3);
	PQsetvalue(res, 0, 2, (char *)"t", 1);
	PQsetvalue(res, 0, 3, (char *)"Infinity", 8);
	PQsetvalue(res, 1, 0, (char *)"text", 4); /* SQLite keeps it in an INTEGER column too */
	PQsetvalue(res, 1, 1, NULL, -1);
	PQsetvalue(res, 1, 2, (char *)"maybe", 5);
	PQsetvalue(res, 1, 3, (char *)"0.1", 3);
	return res;
}

static void prints(enum out_format format, bool expanded, const char *expected)
{
	PGresult *res = make_result();
	struct out o = {.format = format};
	char *text = NULL;
	size_t len;

	o.stream = open_memstream(&text, &len);
	sql_print_result(&o, res, expanded);
	fclose(o.stream);
	assert_string_equal(text, expected);
	free(text);
	PQclear(res);
}

static void json_has_types_where_the_values_fit_them(void **state)
{
	(void)state;
	prints(OUT_JSON, false,
	       "{\"version\":1,\"columns\":[{\"name\":\"id\",\"type\":20},{\"name\":\"id_2\",\"type\":25},{\"name\":\"ok\","
	       "\"type\":16},"
	       "{\"name\":\"x\",\"type\":701}],\"rows\":[{\"id\":9007199254740993,\"id_2\":\"a\xef\xbf\xbd\\\"\",\"ok\":true,"
	       "\"x\":\"Infinity\"},"
	       "{\"id\":\"text\",\"id_2\":null,\"ok\":\"maybe\",\"x\":0.1}],\"command\":\"\"}\n");
}

static void rows_can_be_shown_value_by_value(void **state)
{
	(void)state;
	prints(OUT_TABLE, true,
	       "-[ row 1 ]-\n id | 9007199254740993\n id | a\\xff\"\n ok | t\n x  | Infinity\n"
	       "-[ row 2 ]-\n id | text\n id | \n ok | maybe\n x  | 0.1\n");
}

static void csv_has_the_values_as_they_are(void **state)
{
	(void)state;
	prints(OUT_CSV, true, "id,id,ok,x\n9007199254740993,\"a\xff\"\"\",t,Infinity\ntext,,maybe,0.1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_caret_stands_below_the_error),
	        cmocka_unit_test(a_position_beyond_the_statement_points_at_its_end),
	        cmocka_unit_test(only_the_part_around_the_error_of_a_long_line_is_shown),
	        cmocka_unit_test(json_has_types_where_the_values_fit_them),
	        cmocka_unit_test(rows_can_be_shown_value_by_value),
	        cmocka_unit_test(csv_has_the_values_as_they_are),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
