#include "shell/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

/* An out that writes to memory. */
struct fixture {
	struct out o;
	char *text;
	size_t len;
};

static void begin(struct fixture *f, bool is_terminal, size_t columns)
{
	memset(f, 0, sizeof *f);
	f->o.stream = open_memstream(&f->text, &f->len);
	f->o.is_terminal = is_terminal;
	f->o.columns = columns;
}

static void end_with(struct fixture *f, const char *expected)
{
	fclose(f->o.stream);
	assert_string_equal(f->text, expected);
	free(f->text);
}

static void fill(struct table *t)
{
	table_init(t);
	table_column(t, "node_name", false, 0);
	table_column(t, "lag", true, 0);
	table_column(t, "text", false, 0);
	table_cell(t, "n1");
	table_cell_uint(t, 12345);
	table_cell(t, "größe, \"ok\"");
	table_cell(t, "日本");
	table_cell(t, NULL);
	table_cell(t, "");
}

static void a_plain_table_is_aligned_and_has_no_trailing_blanks(void **state)
{
	struct fixture f;
	struct table t;

	(void)state;
	begin(&f, false, 80);
	fill(&t);
	table_print(&t, &f.o, TABLE_PLAIN, 2);
	end_with(&f, "  NODE NAME    LAG  TEXT\n"
	             "  n1         12345  größe, \"ok\"\n"
	             "  日本           -\n");
	table_done(&t);
}

static void a_ruled_table_keeps_names_and_shows_no_value_as_nothing(void **state)
{
	struct fixture f;
	struct table t;

	(void)state;
	begin(&f, false, 80);
	fill(&t);
	table_print(&t, &f.o, TABLE_RULED, 0);
	end_with(&f, " node_name |   lag | text\n"
	             "-----------+-------+-------------\n"
	             " n1        | 12345 | größe, \"ok\"\n"
	             " 日本      |       | \n");
	table_done(&t);
}

static void csv_quotes_what_must_be_and_tells_empty_from_none(void **state)
{
	struct fixture f;
	struct table t;

	(void)state;
	begin(&f, false, 80);
	fill(&t);
	table_print_csv(&t, &f.o, true);
	end_with(&f, "node_name,lag,text\nn1,12345,\"größe, \"\"ok\"\"\"\n日本,,\"\"\n");
	table_done(&t);
}

static void a_long_last_column_is_wrapped_on_a_terminal_only(void **state)
{
	struct fixture f;
	struct table t;
	int is_terminal;

	(void)state;
	for (is_terminal = 0; is_terminal <= 1; is_terminal++) {
		begin(&f, is_terminal, 30);
		table_init(&t);
		table_column(&t, "id", true, 5);
		table_column(&t, "event", false, 0);
		table_cell(&t, "1");
		table_cell(&t, "the primary is silent -> fence it");
		table_print(&t, &f.o, TABLE_PLAIN, 0);
		end_with(&f, is_terminal ? "   ID  EVENT\n"
		                           "    1  the primary is silent\n"
		                           "       -> fence it\n"
		                         : "   ID  EVENT\n"
		                           "    1  the primary is silent -> fence it\n");
		table_done(&t);
	}
}

static void a_word_longer_than_the_terminal_is_broken_and_nothing_is_lost(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, true, 30);
	out_wrapped(&f.o, "reason: ", "0123456789012345678901234567890123456789");
	end_with(&f, "reason: 0123456789012345678901\n        234567890123456789\n");
}

static void colour_wraps_the_cell_only_where_there_is_colour(void **state)
{
	struct fixture f;
	struct table t;

	(void)state;
	begin(&f, true, 80);
	f.o.has_colour = true;
	table_init(&t);
	table_column(&t, "state", false, 0);
	table_cell_coloured(&t, "offline", COLOUR_BAD);
	table_print_rows(&t, &f.o, TABLE_PLAIN, 0);
	end_with(&f, "\033[31moffline\033[0m\n");
	begin(&f, true, 80);
	table_print_rows(&t, &f.o, TABLE_PLAIN, 0);
	end_with(&f, "offline\n");
	table_done(&t);
}

static void json_is_one_line_in_the_order_given_and_numbers_stay_short(void **state)
{
	json_t *j = json_pack("{s:i,s:f,s:s}", "z", 1, "seconds", 0.21, "a", "ö");
	struct fixture f;

	(void)state;
	begin(&f, false, 80);
	out_json(&f.o, j);
	end_with(&f, "{\"z\":1,\"seconds\":0.21,\"a\":\"ö\"}\n");
	json_decref(j);
}

static void an_unknown_format_names_the_known_ones(void **state)
{
	enum out_format format = OUT_CSV;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(out_parse_format("xml", &format, &e), ERR_INVAL);
	assert_string_equal(e.text, "there is no format \"xml\": use table, json or csv");
	assert_int_equal(format, OUT_CSV);
	assert_int_equal(out_parse_format("json", &format, &e), ERR_OK);
	assert_int_equal(format, OUT_JSON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_plain_table_is_aligned_and_has_no_trailing_blanks),
	        cmocka_unit_test(a_ruled_table_keeps_names_and_shows_no_value_as_nothing),
	        cmocka_unit_test(csv_quotes_what_must_be_and_tells_empty_from_none),
	        cmocka_unit_test(a_long_last_column_is_wrapped_on_a_terminal_only),
	        cmocka_unit_test(a_word_longer_than_the_terminal_is_broken_and_nothing_is_lost),
	        cmocka_unit_test(colour_wraps_the_cell_only_where_there_is_colour),
	        cmocka_unit_test(json_is_one_line_in_the_order_given_and_numbers_stay_short),
	        cmocka_unit_test(an_unknown_format_names_the_known_ones),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
