#include "shell/prompt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void prompt_is(json_t *status, bool in_transaction, const char *expected)
{
	struct buf b = {0};

	prompt_text(&b, status, in_transaction);
	assert_string_equal(b.data, expected);
	buf_done(&b);
	json_decref(status);
}

static json_t *make_status(bool quorum, const char *leader, const char *node_state, const char *group_state)
{
	return json_pack("{s:s,s:b,s:s?,s:[{s:s}],s:[{s:s,s:[{s:s}]}]}", "cluster", "lab", "quorum", (int)quorum, "leader",
	                 leader, "nodes", "state", node_state, "groups", "state", group_state, "instances", "state",
	                 strcmp(group_state, "steady") == 0 ? "running" : "stopped");
}

static void the_prompt_says_who_leads_and_whether_all_is_well(void **state)
{
	json_t *status;

	(void)state;
	prompt_is(make_status(true, "n1", "online", "steady"), false, "lab[leader:n1 ok]> ");
	prompt_is(make_status(true, "n1", "online", "steady"), true, "lab[leader:n1 ok]*> ");
	prompt_is(make_status(true, "n1", "offline", "steady"), false, "lab[leader:n1 degraded]> ");
	prompt_is(make_status(true, "n1", "online", "promoting"), false, "lab[leader:n1 degraded]> ");
	prompt_is(make_status(false, "n1", "online", "steady"), false, "lab[no quorum]> ");
	prompt_is(make_status(true, NULL, "online", "steady"), false, "lab[no quorum]> ");
	status = make_status(true, "n1", "online", "steady");
	json_object_set_new(json_array_get(json_object_get(json_array_get(json_object_get(status, "groups"), 0), "instances"),
	                                   0),
	                    "state", json_string("not receiving"));
	prompt_is(status, false, "lab[leader:n1 degraded]> ");
	prompt_is(NULL, false, "mha[no answer]> ");
}

static void sql_is_told_from_commands_by_its_first_word(void **state)
{
	(void)state;
	assert_true(prompt_is_sql("select 1"));
	assert_true(prompt_is_sql("SELECT(1)"));
	assert_true(prompt_is_sql("-- a comment"));
	assert_true(prompt_is_sql("(select 1)"));
	assert_true(prompt_is_sql("with x as (select 1) select * from x;"));
	assert_false(prompt_is_sql("cluster status"));
	assert_false(prompt_is_sql("selec 1"));
	assert_false(prompt_is_sql("\\d"));
	assert_false(prompt_is_sql(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_prompt_says_who_leads_and_whether_all_is_well),
	        cmocka_unit_test(sql_is_told_from_commands_by_its_first_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
