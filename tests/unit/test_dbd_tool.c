#include "drivers/tool.h"

#include "core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static int run(const char *script, const char *input, int limit_ms, struct buf *out, struct err *e)
{
	const char *argv[] = {"/bin/sh", "-c", script, NULL};
	struct tool t = {.argv = argv, .input = input, .limit_ms = limit_ms};

	return tool_run(&t, out, e);
}

static void output_and_input_go_through(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(run("cat; echo err >&2", "in\n", 5000, &b, NULL), ERR_OK);
	assert_string_equal(b.data, "in\nerr\n");
	buf_done(&b);
}

static void without_input_it_reads_nothing_of_ours(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(run("cat", "once", 5000, &b, NULL), ERR_OK);
	assert_int_equal(run("cat", NULL, 5000, &b, NULL), ERR_OK);
	assert_string_equal(b.data, "once");
	buf_done(&b);
}

static void a_failure_carries_the_line_that_tells_why(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run("echo x: error: no room; echo x: hint: more; exit 3", NULL, 5000, NULL, &e), ERR_IO);
	assert_non_null(strstr(e.text, "exit 3"));
	assert_non_null(strstr(e.text, "error: no room"));
	assert_null(strstr(e.text, "hint"));
	assert_int_equal(run("echo first; echo last; exit 1", NULL, 5000, NULL, &e), ERR_IO);
	assert_non_null(strstr(e.text, "last"));
	assert_int_equal(run("exit 1", NULL, 5000, NULL, &e), ERR_IO);
	assert_non_null(strstr(e.text, "it said nothing"));
}

static void a_tool_that_hangs_is_killed_at_its_limit(void **state)
{
	int64_t start_ms = clock_now_ms();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run("exec sleep 60", NULL, 200, NULL, &e), ERR_TIMEOUT);
	assert_true(clock_now_ms() - start_ms < 5000);
}

static void a_child_that_keeps_the_pipe_open_does_not_hold_it_up(void **state)
{
	int64_t start_ms = clock_now_ms();

	(void)state;
	assert_int_equal(run("sleep 3 & exit 0", NULL, 20000, NULL, NULL), ERR_OK);
	assert_true(clock_now_ms() - start_ms < 2500);
}

static void a_missing_program_is_named(void **state)
{
	const char *argv[] = {"/nonexistent/tool", NULL};
	struct tool t = {.argv = argv, .limit_ms = 1000};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(tool_run(&t, NULL, &e), ERR_NOTFOUND);
	assert_non_null(strstr(e.text, "/nonexistent/tool"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(output_and_input_go_through),
	        cmocka_unit_test(without_input_it_reads_nothing_of_ours),
	        cmocka_unit_test(a_failure_carries_the_line_that_tells_why),
	        cmocka_unit_test(a_tool_that_hangs_is_killed_at_its_limit),
	        cmocka_unit_test(a_child_that_keeps_the_pipe_open_does_not_hold_it_up),
	        cmocka_unit_test(a_missing_program_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
