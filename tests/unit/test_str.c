#include "core/base/err.h"
#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EURO "\xe2\x82\xac"
#define LOST "\xef\xbf\xbd"

static void a_copy_is_cut_between_characters(void **state)
{
	char dst[6];

	(void)state;
	assert_false(str_copy(dst, sizeof dst, "abc" EURO));
	assert_string_equal(dst, "abc");
	assert_true(str_copy(dst, sizeof dst, "ab" EURO));
	assert_string_equal(dst, "ab" EURO);
	assert_false(str_copy(dst, sizeof dst, "ab" EURO "c"));
	assert_string_equal(dst, "ab" EURO);
}

static void an_error_is_cut_between_characters(void **state)
{
	struct err e = ERR_INIT;
	char text[2 * sizeof e.text + 4];
	size_t i, shift;

	(void)state;
	for (shift = 0; shift < 3; shift++) {
		char *utf8;

		memset(text, 'x', shift);
		for (i = shift; i + 3 < sizeof text; i += 3)
			memcpy(text + i, EURO, 3);
		text[i] = '\0';
		assert_int_equal(err_set(&e, ERR_INVAL, "%s", text), ERR_INVAL);
		assert_true(strlen(e.text) > sizeof e.text - 4);
		utf8 = str_utf8(e.text);
		assert_string_equal(utf8, e.text);
		free(utf8);
		(void)err_wrap(&e, "yz");
		utf8 = str_utf8(e.text);
		assert_string_equal(utf8, e.text);
		free(utf8);
	}
}

static void check_utf8(const char *from, const char *to)
{
	char *text = str_utf8(from);

	assert_string_equal(text, to);
	free(text);
}

static void what_is_not_utf8_is_replaced(void **state)
{
	(void)state;
	check_utf8("", "");
	check_utf8("plain", "plain");
	check_utf8("\x7f\xc2\x80" EURO "\xf0\x9f\x90\x98\xf4\x8f\xbf\xbf",
	           "\x7f\xc2\x80" EURO "\xf0\x9f\x90\x98\xf4\x8f\xbf\xbf");
	check_utf8("there is no node \"\xe2\x82\"", "there is no node \"" LOST "\"");
	check_utf8("cut \xe2\x82", "cut ");
	check_utf8("cut \xf0\x9f\x90", "cut ");
	check_utf8("\xff", LOST);
	check_utf8("a\x80z", "a" LOST "z");
	check_utf8("\xc0\xaf", LOST LOST);               /* overlong */
	check_utf8("\xed\xa0\x80.", LOST LOST LOST "."); /* a surrogate */
	check_utf8("\xf4\x90\x80\x80.", LOST LOST LOST LOST ".");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_copy_is_cut_between_characters),
	        cmocka_unit_test(an_error_is_cut_between_characters),
	        cmocka_unit_test(what_is_not_utf8_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
