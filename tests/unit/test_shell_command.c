#include "shell/command.h"
#include "shell/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static int find(unsigned given, const char *a, const char *b, const char *c, struct err *e)
{
	struct options o = {.given = given, .words = {a, b, c}, .word_count = (a != NULL) + (b != NULL) + (c != NULL)};
	const struct command *command;
	const char *const *args;

	return command_find(&o, &command, &args, e);
}

static void arguments_begin_after_noun_and_verb(void **state)
{
	struct options o = {.words = {"group", "failover", "main"}, .word_count = 3},
	               help = {.words = {"help", "group"}, .word_count = 2};
	const struct command *c;
	const char *const *args;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(command_find(&o, &c, &args, &e), ERR_OK);
	assert_ptr_equal(c->run, group_failover);
	assert_string_equal(args[0], "main");
	assert_int_equal(command_find(&help, &c, &args, &e), ERR_OK);
	assert_ptr_equal(c->run, shell_help);
	assert_string_equal(args[0], "group");
}

static void a_mistyped_word_is_answered_with_the_nearest(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(find(0, "cluser", "status", NULL, &e), ERR_INVAL);
	assert_string_equal(e.text, "there is no command \"cluser\": did you mean \"cluster\"?");
	assert_int_equal(find(0, "group", "switch", "main", &e), ERR_INVAL);
	assert_string_equal(e.text, "there is no command \"group switch\": did you mean \"group switchover\"?");
	assert_int_equal(find(0, "cluster", "explode", NULL, &e), ERR_INVAL);
	assert_string_equal(e.text, "cluster has no verb \"explode\": it has init, status, events, policy, set");
	assert_int_equal(find(0, "cluster", NULL, NULL, &e), ERR_INVAL);
	assert_string_equal(e.text, "cluster needs a verb: init, status, events, policy, set");
}

static void wrong_use_is_named(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(find(0, "group", "failover", NULL, &e), ERR_INVAL);
	assert_string_equal(e.text, "group failover needs GROUP");
	assert_int_equal(find(0, "vip", "list", "all", &e), ERR_INVAL);
	assert_string_equal(e.text, "vip list: what is \"all\"?");
	assert_int_equal(find(OPT_FORCE, "group", "switchover", "main", &e), ERR_INVAL);
	assert_string_equal(e.text, "group switchover does not take --force");
	assert_int_equal(find(OPT_WATCH, "cluster", "init", NULL, &e), ERR_INVAL);
	assert_int_equal(find(OPT_YES | OPT_FORMAT, "cluster", "init", NULL, &e), ERR_OK);
}

static void every_command_stands_in_the_help(void **state)
{
	const struct command *c;
	struct err e = ERR_INIT;
	struct buf b = {0}, one = {0};
	size_t i;

	(void)state;
	assert_int_equal(command_help(&b, NULL, NULL, &e), ERR_OK);
	for (i = 0; (c = command_at(i)) != NULL; i++) {
		assert_non_null(strstr(b.data, c->help));
		buf_clear(&one);
		assert_int_equal(command_help(&one, c->noun, c->verb, &e), ERR_OK);
		assert_non_null(strstr(one.data, c->help));
	}
	assert_int_equal(command_help(&one, "nothing", NULL, &e), ERR_INVAL);
	buf_done(&b);
	buf_done(&one);
}

static void exit_codes_are_the_promised_ones(void **state)
{
	(void)state;
	assert_int_equal(shell_exit_of(ERR_OK), 0);
	assert_int_equal(shell_exit_of(ERR_SQL), 1);
	assert_int_equal(shell_exit_of(ERR_NOTFOUND), 1);
	assert_int_equal(shell_exit_of(ERR_INVAL), 2);
	assert_int_equal(shell_exit_of(ERR_UNREACHABLE), 3);
	assert_int_equal(shell_exit_of(ERR_NOQUORUM), 4);
	assert_int_equal(shell_exit_of(ERR_REFUSED), 5);
	assert_int_equal(shell_exit_of(ERR_EXISTS), 5);
	assert_int_equal(shell_exit_of(ERR_TIMEOUT), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(arguments_begin_after_noun_and_verb),
	        cmocka_unit_test(a_mistyped_word_is_answered_with_the_nearest),
	        cmocka_unit_test(wrong_use_is_named),
	        cmocka_unit_test(every_command_stands_in_the_help),
	        cmocka_unit_test(exit_codes_are_the_promised_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
