#include "core/control/voters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A cluster as a word per node: v voter, s standby, . no member; then any of: a arbiter, l leaving, d silent for long (gone),
 * o silent a little, 1-9 failure domain. Node 0 leads. */
static int parse(const char *text, struct voters_node *nodes)
{
	int n = 0;

	memset(nodes, 0, MAX_NODES * sizeof *nodes);
	for (; *text != '\0'; text += strspn(text, " ")) {
		struct voters_node *x = &nodes[n++];

		x->domain = -1;
		x->is_ready = true;
		for (; *text != ' ' && *text != '\0'; text++) {
			x->is_member |= *text == 'v' || *text == 's';
			x->is_voter |= *text == 'v';
			x->is_arbiter |= *text == 'a';
			x->is_leaving |= *text == 'l';
			if (*text == 'd' || *text == 'o') {
				x->is_ready = false;
				x->silent_ms = *text == 'd' ? VOTERS_GONE_DEFAULT_MS : 5000;
			}
			if (*text >= '1' && *text <= '9')
				x->domain = *text - '0';
		}
	}
	return n;
}

static const struct voters_policy policy = {.gone_ms = VOTERS_GONE_DEFAULT_MS};

static void assert_step(const char *cluster, enum voters_change change, int node)
{
	struct voters_node nodes[MAX_NODES];
	struct voters_step s;

	voters_next(nodes, parse(cluster, nodes), 0, &policy, &s);
	if (s.change != change || s.node != node)
		fail_msg("%s: change %d of node %d (%s)", cluster, s.change, s.node, s.reason);
	assert_int_equal(s.reason[0] == '\0', change == VOTERS_KEEP);
}

/* Carry out what is said until nothing more is; the votes at the end as a word. */
static void assert_settles(const char *cluster, const char *expected)
{
	struct voters_node nodes[MAX_NODES];
	int n = parse(cluster, nodes), steps, i;
	char votes[MAX_NODES + 1] = "";
	struct voters_step s;

	for (steps = 0; steps < 20; steps++) {
		voters_next(nodes, n, 0, &policy, &s);
		if (s.change == VOTERS_KEEP)
			break;
		assert_true(nodes[s.node].is_member);
		assert_int_equal(nodes[s.node].is_voter, s.change == VOTERS_REMOVE);
		nodes[s.node].is_voter = s.change == VOTERS_ADD;
	}
	assert_true(steps < 20);
	for (i = 0; i < n; i++)
		votes[i] = nodes[i].is_voter ? 'v' : '-';
	assert_string_equal(votes, expected);
}

static void a_cluster_grows_to_three_and_five_voters(void **state)
{
	(void)state;
	assert_step("v", VOTERS_KEEP, NODE_NONE);
	assert_step("v s", VOTERS_KEEP, NODE_NONE);
	assert_step("v s s", VOTERS_ADD, 1);
	assert_step("v v s", VOTERS_ADD, 2);
	assert_settles("v s s", "vvv");
	assert_settles("v v v s", "vvv-");
	assert_settles("v v v s s", "vvvvv");
	assert_settles("v v v v v s s", "vvvvv--");
}

static void one_voter_gets_no_single_companion(void **state)
{
	(void)state;
	assert_step("v s so", VOTERS_KEEP, NODE_NONE);
	assert_step("v s .", VOTERS_KEEP, NODE_NONE);
}

static void an_arbiter_votes_first(void **state)
{
	(void)state;
	assert_step("v s sa", VOTERS_ADD, 2);
	assert_settles("v s sa", "vvv");
	assert_settles("v v v v v sa s", "vvvvv--");
	assert_settles("v v v s sa s", "vvvvv-");
}

static void a_leaving_voter_is_replaced_first(void **state)
{
	(void)state;
	assert_step("v v vl s", VOTERS_ADD, 3);
	assert_settles("v v vl s", "vv-v");
	assert_step("v v vl", VOTERS_REMOVE, 2);
	assert_settles("v v vl", "vv-");
	assert_settles("v v v vl vl", "vvv--");
	assert_settles("v v v v vl", "vvv--");
}

static void the_leader_leaves_last_and_the_last_voter_never(void **state)
{
	(void)state;
	assert_step("vl vl v", VOTERS_REMOVE, 1);
	assert_step("vl v v", VOTERS_REMOVE, 0);
	assert_step("vl", VOTERS_KEEP, NODE_NONE);
	assert_step("vl vd", VOTERS_KEEP, NODE_NONE);
}

static void a_silent_voter_keeps_its_vote_until_it_is_gone_for_good(void **state)
{
	(void)state;
	assert_step("v v vo s", VOTERS_KEEP, NODE_NONE);
	assert_step("v v vd s", VOTERS_ADD, 3);
	assert_step("v v vd v", VOTERS_REMOVE, 2);
	assert_settles("v v vd s", "vv-v");
	assert_step("v v vd", VOTERS_KEEP, NODE_NONE);
	assert_step("v v v vd vd", VOTERS_KEEP, NODE_NONE);
	assert_step("v v vd so", VOTERS_KEEP, NODE_NONE);
}

static void nobody_is_replaced_when_the_policy_says_never(void **state)
{
	struct voters_node nodes[MAX_NODES];
	const struct voters_policy never = {0};
	struct voters_step s;

	(void)state;
	voters_next(nodes, parse("v v vd s", nodes), 0, &never, &s);
	assert_int_equal(s.change, VOTERS_KEEP);
}

static void two_voters_stay_two(void **state)
{
	(void)state;
	assert_step("v v", VOTERS_KEEP, NODE_NONE);
	assert_step("v v .", VOTERS_KEEP, NODE_NONE);
}

static void voters_are_spread_over_failure_domains(void **state)
{
	(void)state;
	assert_step("v1 s1 s2 s3", VOTERS_ADD, 2);
	assert_settles("v1 s1 s2 s3", "v-vv");
	assert_settles("v1 v1 v2 s3", "v-vv");
	assert_settles("v1 v2 v3 s3", "vvv-");
	assert_settles("v1 v1 v1 s1", "vvv-");
	/* a missing voter is worth more than a spread */
	assert_step("v1 v1 vo2 s3", VOTERS_ADD, 3);
}

static void every_cluster_settles_and_loses_no_majority(void **state)
{
	static const char *const kinds[] = {"v",  "s",  "vl", "sl", "vd", "sd", "vo", "so",
	                                    "va", "sa", "v1", "s1", "v2", "s2", "."};
	unsigned seed, i, steps;

	(void)state;
	for (seed = 1; seed < 20000; seed++) {
		struct voters_node nodes[MAX_NODES];
		char text[128] = "v";
		struct voters_step s;
		int n;

		srand(seed);
		for (i = 0; i < 1U + (unsigned)rand() % 8; i++) {
			strcat(text, " ");
			strcat(text, kinds[(unsigned)rand() % (sizeof kinds / sizeof kinds[0])]);
		}
		n = parse(text, nodes);
		for (steps = 0; steps < 40; steps++) {
			int voters = 0;

			voters_next(nodes, n, 0, &policy, &s);
			if (s.change == VOTERS_KEEP)
				break;
			nodes[s.node].is_voter = s.change == VOTERS_ADD;
			for (i = 0; i < (unsigned)n; i++)
				voters += nodes[i].is_voter;
			if (voters == 0 || !nodes[0].is_voter || nodes[s.node].is_voter != (s.change == VOTERS_ADD) ||
			    (s.change == VOTERS_ADD && !nodes[s.node].is_ready))
				fail_msg("seed %u: %s: node %d, %d voters", seed, text, s.node, voters);
		}
		if (steps == 40)
			fail_msg("seed %u: %s does not settle", seed, text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_cluster_grows_to_three_and_five_voters),
	        cmocka_unit_test(one_voter_gets_no_single_companion),
	        cmocka_unit_test(an_arbiter_votes_first),
	        cmocka_unit_test(a_leaving_voter_is_replaced_first),
	        cmocka_unit_test(the_leader_leaves_last_and_the_last_voter_never),
	        cmocka_unit_test(a_silent_voter_keeps_its_vote_until_it_is_gone_for_good),
	        cmocka_unit_test(nobody_is_replaced_when_the_policy_says_never),
	        cmocka_unit_test(two_voters_stay_two),
	        cmocka_unit_test(voters_are_spread_over_failure_domains),
	        cmocka_unit_test(every_cluster_settles_and_loses_no_majority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
