#include "shell/complete.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define OFFERS(line, status, expected) assert_string_equal(offers(line, status), expected)

/* What is offered, joined by blanks; static. */
static const char *offers(const char *line, const json_t *status)
{
	static char text[512];
	const char *words[32], *word;
	size_t n, i, len = 0;

	text[0] = '\0';
	n = complete_line(line, status, words, 32, &word);
	for (i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? " " : "", words[i]);
	return text;
}

static void nouns_and_verbs_are_offered_where_they_can_stand(void **state)
{
	(void)state;
	OFFERS("cl", NULL, "cluster");
	OFFERS("", NULL, "cluster node group store vip cert sql version help quit");
	OFFERS("cluster ", NULL, "init status events policy set");
	OFFERS("  group p", NULL, "pause");
	OFFERS("nonsense ", NULL, "");
	OFFERS("select cl", NULL, "");
}

static void options_of_the_command_only_are_offered(void **state)
{
	(void)state;
	OFFERS("group failover main --", NULL, "--format --yes --to --force");
	OFFERS("cluster events --fo", NULL, "--format --follow");
	OFFERS("vip list --to", NULL, "");
}

static void names_come_from_the_last_status(void **state)
{
	json_t *status =
	        json_pack("{s:[{s:s},{s:s}],s:[{s:s}]}", "nodes", "name", "n1", "name", "n2", "groups", "name", "main");

	(void)state;
	OFFERS("group failover ", status, "main");
	OFFERS("group failover main --to ", status, "n1 n2");
	OFFERS("group failover --to n1 x", status, "");
	OFFERS("group list ", status, "");
	json_decref(status);
}

static void the_unfinished_word_is_pointed_at(void **state)
{
	const char *words[4], *word;

	(void)state;
	assert_int_equal(complete_line("cluster st", NULL, words, 4, &word), 1);
	assert_string_equal(word, "st");
	assert_int_equal(complete_line("", NULL, words, 4, &word), 4); /* never more than asked for */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(nouns_and_verbs_are_offered_where_they_can_stand),
	        cmocka_unit_test(options_of_the_command_only_are_offered),
	        cmocka_unit_test(names_come_from_the_last_status),
	        cmocka_unit_test(the_unfinished_word_is_pointed_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
