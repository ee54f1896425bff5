#include "core/run/link_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_refusal(const char *reason, const char *heard)
{
	char name[33] = "", *text = NULL, *frame = frame_refused(reason);

	assert_int_equal(frame_parse(frame, strlen(frame), name, &text), FRAME_REFUSED);
	assert_string_equal(text, heard);
	free(text);
	free(frame);
}

static void a_reason_arrives(void **state)
{
	(void)state;
	check_refusal("node \"n1\" is revoked", "node \"n1\" is revoked");
	check_refusal("", "no reason was given");
}

static void a_reason_that_was_cut_in_a_character_arrives(void **state)
{
	(void)state;
	check_refusal("the cluster is called \"caf\xc3", "the cluster is called \"caf");
	check_refusal("the cluster is called \"caf\xc3\"", "the cluster is called \"caf\xef\xbf\xbd\"");
	check_refusal("\xc3", "no reason was given");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_reason_arrives),
	        cmocka_unit_test(a_reason_that_was_cut_in_a_character_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
