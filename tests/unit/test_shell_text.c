#include "shell/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <time.h>

static void width_counts_columns_not_bytes(void **state)
{
	(void)state;
	assert_int_equal(text_width("größe"), 5);
	assert_int_equal(text_width("日本"), 4);
	assert_int_equal(text_width("e\xcc\x81"), 1); /* a combining accent takes no column */
	assert_int_equal(text_width("\xff"), 1);
	assert_int_equal(text_width(""), 0);
}

static void a_prefix_never_cuts_a_character(void **state)
{
	(void)state;
	assert_int_equal(text_prefix("größe", 3), 4);
	assert_int_equal(text_prefix("日本", 3), 3);
	assert_int_equal(text_prefix("ab", 10), 2);
	assert_int_equal(text_prefix("ab", 0), 0);
}

static void data_cannot_steer_the_terminal(void **state)
{
	struct buf b = {0};

	(void)state;
	text_add_safe(&b, "a\033[31m\n\t\x7f\xff\xc2\x9bö");
	assert_string_equal(b.data, "a\\x1b[31m\\n\\t\\x7f\\xff?ö");
	buf_done(&b);
}

static void invalid_bytes_are_replaced_in_json_text(void **state)
{
	struct buf b = {0};

	(void)state;
	text_add_utf8(&b, "a\xff\nö");
	assert_string_equal(b.data, "a\xef\xbf\xbd\nö");
	buf_done(&b);
}

static void sizes_are_short(void **state)
{
	char b[16];

	(void)state;
	assert_string_equal(text_bytes(0, b), "0 B");
	assert_string_equal(text_bytes(1023, b), "1023 B");
	assert_string_equal(text_bytes(1536, b), "1.5 kB");
	assert_string_equal(text_bytes(UINT64_MAX, b), "16384.0 PB");
}

static void times_are_shown_in_the_local_zone(void **state)
{
	char b[40];

	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	assert_string_equal(text_local_time("2026-11-23T18:50:21.123Z", b), "2026-11-23 19:50:21.123");
	assert_string_equal(text_local_time("2026-07-23T23:50:21Z", b), "2026-07-24 01:50:21.000");
	assert_string_equal(text_local_time("yesterday", b), "yesterday");
	assert_string_equal(text_local_time("2026-11-23T18:50:21", b), "2026-11-23T18:50:21");
}

static void the_nearest_word_is_found_or_none(void **state)
{
	static const char *const verbs[] = {"init", "status", "events", NULL};

	(void)state;
	assert_string_equal(text_nearest("stauts", verbs), "status");
	assert_string_equal(text_nearest("stat", verbs), "status");
	assert_string_equal(text_nearest("initialise", (const char *const[]){"initialize", NULL}), "initialize");
	assert_null(text_nearest("remove", verbs));
	assert_null(text_nearest("x", verbs));
	assert_null(text_nearest("a word that is much longer than any verb could be", verbs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(width_counts_columns_not_bytes),
	        cmocka_unit_test(a_prefix_never_cuts_a_character),
	        cmocka_unit_test(data_cannot_steer_the_terminal),
	        cmocka_unit_test(invalid_bytes_are_replaced_in_json_text),
	        cmocka_unit_test(sizes_are_short),
	        cmocka_unit_test(times_are_shown_in_the_local_zone),
	        cmocka_unit_test(the_nearest_word_is_found_or_none),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
