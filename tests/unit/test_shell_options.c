#include "shell/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define PARSE(o, e, ...) parse(o, e, (char *[]){(char *)"mha-shell", __VA_ARGS__, NULL})

static int parse(struct options *o, struct err *e, char **argv)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	options_init(o);
	return options_parse(o, argc, argv, e);
}

static void options_stand_before_and_after_the_words(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, &e, "-f", "json", "group", "-y", "switchover", "main", "--to=n2"), ERR_OK);
	assert_int_equal(o.word_count, 3);
	assert_string_equal(o.words[1], "switchover");
	assert_null(o.words[3]);
	assert_int_equal(o.format, OUT_JSON);
	assert_true(o.yes);
	assert_string_equal(o.to, "n2");
	assert_int_equal(o.given, OPT_FORMAT | OPT_YES | OPT_TO);
}

static void f_is_a_format_before_sql_and_a_file_after_it(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, &e, "-f", "csv", "sql", "-f", "x.sql"), ERR_OK);
	assert_int_equal(o.format, OUT_CSV);
	assert_string_equal(o.file, "x.sql");
	assert_int_equal(PARSE(&o, &e, "sql", "--format", "json", "-c", "select 1"), ERR_OK);
	assert_int_equal(o.format, OUT_JSON);
	assert_null(o.file);
	assert_int_equal(PARSE(&o, &e, "cluster", "status", "-f", "json"), ERR_OK);
	assert_int_equal(o.format, OUT_JSON);
}

static void watch_takes_an_optional_number(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, &e, "cluster", "status", "--watch"), ERR_OK);
	assert_int_equal(o.watch_seconds, 2);
	assert_int_equal(PARSE(&o, &e, "cluster", "status", "--watch=7"), ERR_OK);
	assert_int_equal(o.watch_seconds, 7);
	assert_int_equal(PARSE(&o, &e, "cluster", "status", "--watch=0"), ERR_INVAL);
	assert_int_equal(PARSE(&o, &e, "cluster", "status", "--watch=soon"), ERR_INVAL);
}

static void numbers_are_checked(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, &e, "cluster", "events", "--after", "0", "--limit", "5"), ERR_OK);
	assert_int_equal(o.limit, 5);
	assert_true((o.given & OPT_AFTER) != 0);
	assert_int_equal(PARSE(&o, &e, "--limit", "-1"), ERR_INVAL);
	assert_int_equal(PARSE(&o, &e, "--sql-port", "65536"), ERR_INVAL);
	assert_string_equal(e.text, "--sql-port 65536 is out of range (1 to 65535)");
}

static void a_wrong_option_is_named_with_the_nearest_that_exists(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, &e, "cluster", "events", "--folow"), ERR_INVAL);
	assert_string_equal(e.text, "there is no option --folow: did you mean --follow?");
	assert_int_equal(PARSE(&o, &e, "--no-such-option=3"), ERR_INVAL);
	assert_string_equal(e.text, "there is no option --no-such-option");
	assert_int_equal(PARSE(&o, &e, "-Z"), ERR_INVAL);
	assert_string_equal(e.text, "there is no option -Z");
	assert_int_equal(PARSE(&o, &e, "group", "--to"), ERR_INVAL);
	assert_string_equal(e.text, "option --to needs a value");
}

static void too_many_words_are_refused(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, &e, "1", "2", "3", "4", "5", "6", "7", "8", "9"), ERR_INVAL);
	assert_int_equal(PARSE(&o, &e, "help", "--", "--to"), ERR_OK);
	assert_string_equal(o.words[1], "--to");
}

static void the_environment_names_the_nodes_unless_the_line_does(void **state)
{
	struct err e = ERR_INIT;
	struct options o;

	(void)state;
	setenv("MHA_NODE", "http://a,http://b", 1);
	assert_int_equal(PARSE(&o, &e, "node", "list"), ERR_OK);
	assert_string_equal(o.nodes, "http://a,http://b");
	assert_int_equal(PARSE(&o, &e, "-n", "c", "node", "list"), ERR_OK);
	assert_string_equal(o.nodes, "c");
	unsetenv("MHA_NODE");
	options_init(&o);
	assert_string_equal(o.nodes, "http://127.0.0.1:7400");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(options_stand_before_and_after_the_words),
	        cmocka_unit_test(f_is_a_format_before_sql_and_a_file_after_it),
	        cmocka_unit_test(watch_takes_an_optional_number),
	        cmocka_unit_test(numbers_are_checked),
	        cmocka_unit_test(a_wrong_option_is_named_with_the_nearest_that_exists),
	        cmocka_unit_test(too_many_words_are_refused),
	        cmocka_unit_test(the_environment_names_the_nodes_unless_the_line_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
