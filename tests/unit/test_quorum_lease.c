#include "core/control/quorum_lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define L    1500
#define SAFE (L * 98 / 100 - 1) /* what is left of L for the holder */
#define RES  "group:main"

static const struct voter_set three = {7, 0x7};

/* A voter past its first L. */
static struct lease_voter grown_voter(void)
{
	struct lease_voter v;

	lease_voter_init(&v, -L, L);
	lease_voter_set(&v, &three);
	return v;
}

static enum lease_answer ask(struct lease_voter *v, int64_t now, uint64_t value)
{
	return lease_voter_ask(v, now, RES, value, 7, NULL);
}

static void voter_grants_the_first_who_asks(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 1), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void voter_renews_the_same_value(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 1), LEASE_GRANTED);
	assert_int_equal(ask(&v, 1000, 1), LEASE_GRANTED);
	assert_int_equal(ask(&v, 1000 + L - 1, 2), LEASE_BUSY);
	lease_voter_done(&v);
}

static void voter_is_busy_until_the_other_grant_has_lapsed(void **state)
{
	struct lease_voter v = grown_voter();
	int64_t busy = -1;

	(void)state;
	assert_int_equal(ask(&v, 100, 1), LEASE_GRANTED);
	assert_int_equal(lease_voter_ask(&v, 300, RES, 2, 7, &busy), LEASE_BUSY);
	assert_int_equal(busy, L - 200);
	assert_int_equal(ask(&v, 100 + L - 1, 2), LEASE_BUSY);
	assert_int_equal(ask(&v, 100 + L, 2), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void voter_stops_renewing_once_a_higher_value_was_asked_for(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 1), LEASE_GRANTED);
	assert_int_equal(ask(&v, 10, 2), LEASE_BUSY);
	assert_int_equal(ask(&v, 20, 1), LEASE_STALE);
	/* The refused renewal did not prolong the grant. */
	assert_int_equal(ask(&v, L, 2), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void voter_never_goes_back_to_a_lower_value(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 5), LEASE_GRANTED);
	assert_int_equal(ask(&v, 100 * L, 4), LEASE_STALE);
	assert_int_equal(ask(&v, 100 * L, 5), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void voter_that_has_just_started_grants_nothing_for_one_term(void **state)
{
	struct lease_voter v;
	int64_t busy = -1;

	(void)state;
	lease_voter_init(&v, 1000, L);
	assert_int_equal(lease_voter_ask(&v, 1200, RES, 1, 0, &busy), LEASE_STARTING);
	assert_int_equal(busy, L - 200);
	assert_int_equal(ask(&v, 1000 + L - 1, 1), LEASE_STARTING);
	assert_int_equal(ask(&v, 1000 + L, 1), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void voter_refuses_a_request_under_an_older_voter_set(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(lease_voter_ask(&v, 0, RES, 1, 6, NULL), LEASE_OLD_SET);
	assert_int_equal(lease_voter_ask(&v, 0, RES, 1, 8, NULL), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void request_under_an_older_set_does_not_disturb_the_holder(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 1), LEASE_GRANTED);
	assert_int_equal(lease_voter_ask(&v, 5, RES, 2, 6, NULL), LEASE_OLD_SET);
	assert_int_equal(ask(&v, 10, 1), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void voter_takes_only_a_newer_set(void **state)
{
	struct lease_voter v = grown_voter();
	struct voter_set older = {6, 0x1f}, newer = {8, 0xf};

	(void)state;
	assert_false(lease_voter_set(&v, &older));
	assert_false(lease_voter_set(&v, &three));
	assert_int_equal(v.set.members, 0x7);
	assert_true(lease_voter_set(&v, &newer));
	assert_int_equal(v.set.members, 0xf);
	lease_voter_done(&v);
}

static void release_lets_the_next_one_in_at_once(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 1), LEASE_GRANTED);
	lease_voter_release(&v, RES, 1);
	assert_int_equal(ask(&v, 1, 2), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void release_of_another_value_changes_nothing(void **state)
{
	struct lease_voter v = grown_voter();

	(void)state;
	assert_int_equal(ask(&v, 0, 2), LEASE_GRANTED);
	lease_voter_release(&v, RES, 1);
	lease_voter_release(&v, RES, 3);
	lease_voter_release(&v, "group:other", 2);
	assert_int_equal(ask(&v, 1, 3), LEASE_BUSY);
	lease_voter_done(&v);
}

static void resources_do_not_disturb_each_other(void **state)
{
	struct lease_voter v = grown_voter();
	char name[32];

	(void)state;
	for (uint64_t i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "group:%u", (unsigned)i);
		assert_int_equal(lease_voter_ask(&v, 0, name, i + 1, 7, NULL), LEASE_GRANTED);
	}
	for (uint64_t i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "group:%u", (unsigned)i);
		assert_int_equal(lease_voter_ask(&v, 1, name, i + 2, 7, NULL), LEASE_BUSY);
	}
	lease_voter_done(&v);
}

static void voter_with_a_full_table_refuses_new_resources_and_keeps_the_old(void **state)
{
	struct lease_voter v = grown_voter();
	char name[32];
	int64_t busy = 0;

	(void)state;
	for (int i = 0; i < LEASE_MAX_RESOURCES; i++) {
		snprintf(name, sizeof name, "r%d", i);
		assert_int_equal(lease_voter_ask(&v, 0, name, 1, 7, NULL), LEASE_GRANTED);
	}
	assert_int_equal(lease_voter_ask(&v, 0, "one-more", 1, 7, &busy), LEASE_BUSY);
	assert_int_equal(busy, L);
	assert_int_equal(lease_voter_ask(&v, 0, "r0", 1, 7, NULL), LEASE_GRANTED);
	lease_voter_done(&v);
}

static void over_long_resource_name_is_refused_and_not_cut_into_anothers(void **state)
{
	struct lease_voter v = grown_voter();
	char name[LEASE_RESOURCE_SIZE + 2];

	(void)state;
	for (size_t i = 0; i + 1 < sizeof name; i++)
		name[i] = 'x';
	name[sizeof name - 1] = '\0';
	assert_int_equal(lease_voter_ask(&v, 0, name, 1, 7, NULL), LEASE_BUSY);
	lease_voter_done(&v);
}

/* A holder of value 1 that has sent round 1 at t = 1000. */
static struct lease_holder asking_holder(void)
{
	struct lease_holder h = {0};

	lease_hold(&h, RES, 1, L);
	lease_round_sent(&h, 1000, 1, &three);
	return h;
}

static void holder_is_valid_when_a_majority_has_granted(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	assert_false(lease_is_valid(&h, 1000));
	assert_false(lease_answered(&h, 0, 1, 1, &three));
	assert_false(lease_is_valid(&h, 1001));
	assert_true(lease_answered(&h, 2, 1, 1, &three));
	assert_true(lease_is_valid(&h, 1001));
}

static void lease_counts_from_the_sending_and_ends_two_percent_early(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_answered(&h, 0, 1, 1, &three);
	lease_answered(&h, 1, 1, 1, &three);
	assert_int_equal(h.until_ms, 1000 + SAFE);
	assert_true(lease_is_valid(&h, 1000 + SAFE - 1));
	assert_false(lease_is_valid(&h, 1000 + SAFE));
}

/* The header's argument in numbers, for each profile: slowest holder, fastest voter, and a voter whose clock was just about to
 * show the next ms. */
static void holder_ends_before_the_voter_whatever_the_clocks_do(void **state)
{
	static const int64_t terms[] = {800, 1500, 4000};

	(void)state;
	for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
		struct lease_holder h = {0};

		lease_hold(&h, RES, 1, terms[i]);
		lease_round_sent(&h, 0, 1, &three);
		lease_answered(&h, 0, 1, 1, &three);
		lease_answered(&h, 1, 1, 1, &three);
		assert_true((double)h.until_ms / 0.99 < (double)(terms[i] - 1) / 1.01);
	}
}

static void one_voter_answering_twice_is_no_majority(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	assert_false(lease_answered(&h, 0, 1, 1, &three));
	assert_false(lease_answered(&h, 0, 1, 1, &three));
	assert_false(lease_is_valid(&h, 1001));
}

static void half_of_an_even_set_is_no_majority(void **state)
{
	struct voter_set four = {8, 0xf};
	struct lease_holder h = {0};

	(void)state;
	lease_hold(&h, RES, 1, L);
	lease_round_sent(&h, 0, 1, &four);
	assert_false(lease_answered(&h, 0, 1, 1, &four));
	assert_false(lease_answered(&h, 1, 1, 1, &four));
	assert_true(lease_answered(&h, 3, 1, 1, &four));
}

static void answers_to_different_rounds_are_not_added_up(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_round_sent(&h, 1200, 2, &three);
	assert_false(lease_answered(&h, 0, 1, 1, &three));
	assert_false(lease_answered(&h, 1, 1, 2, &three));
	assert_false(lease_is_valid(&h, 1201));
}

static void late_answers_to_an_old_round_never_shorten_the_lease(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_round_sent(&h, 1200, 2, &three);
	lease_answered(&h, 0, 1, 2, &three);
	assert_true(lease_answered(&h, 1, 1, 2, &three));
	lease_answered(&h, 0, 1, 1, &three);
	assert_false(lease_answered(&h, 1, 1, 1, &three));
	assert_int_equal(h.until_ms, 1200 + SAFE);
}

static void answer_to_a_round_that_left_the_ring_is_ignored(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	for (uint64_t n = 2; n <= LEASE_ROUNDS + 1; n++)
		lease_round_sent(&h, 1000 + (int64_t)n, n, &three);
	assert_false(lease_answered(&h, 0, 1, 1, &three));
	assert_false(lease_answered(&h, 1, 1, 1, &three));
	assert_false(lease_is_valid(&h, 1001));
}

static void answer_for_another_value_is_ignored(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_answered(&h, 0, 2, 1, &three);
	lease_answered(&h, 1, 2, 1, &three);
	assert_false(lease_is_valid(&h, 1001));
}

static void answer_to_a_round_never_sent_is_ignored(void **state)
{
	struct lease_holder h = {0};

	(void)state;
	lease_hold(&h, RES, 1, L);
	/* An empty ring looks like round 0 under set 0. */
	for (int voter = 0; voter < 3; voter++)
		assert_false(lease_answered(&h, voter, 1, 0, &(struct voter_set){0, 0x7}));
	assert_false(lease_is_valid(&h, 1));
}

static void node_that_is_no_voter_does_not_count(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_answered(&h, 0, 1, 1, &three);
	assert_false(lease_answered(&h, 3, 1, 1, &three));
	assert_false(lease_answered(&h, -1, 1, 1, &three));
	assert_false(lease_answered(&h, 99, 1, 1, &three));
	assert_false(lease_is_valid(&h, 1001));
}

static void round_sent_under_an_older_set_does_not_count_under_the_newer(void **state)
{
	struct lease_holder h = asking_holder();
	struct voter_set newer = {8, 0xf};

	(void)state;
	for (int voter = 0; voter < 3; voter++)
		assert_false(lease_answered(&h, voter, 1, 1, &newer));
	assert_false(lease_is_valid(&h, 1001));
}

static void higher_value_starts_anew(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_answered(&h, 0, 1, 1, &three);
	lease_answered(&h, 1, 1, 1, &three);
	lease_hold(&h, RES, 2, L);
	assert_false(lease_is_valid(&h, 1001));
	/* Not even with answers that carry the new value: the old round asked for the old one. */
	lease_answered(&h, 0, 2, 1, &three);
	lease_answered(&h, 1, 2, 1, &three);
	assert_false(lease_is_valid(&h, 1001));
}

static void same_or_lower_value_changes_nothing(void **state)
{
	struct lease_holder h = {0};

	(void)state;
	lease_hold(&h, RES, 2, L);
	lease_round_sent(&h, 1000, 1, &three);
	lease_answered(&h, 0, 2, 1, &three);
	lease_answered(&h, 1, 2, 1, &three);
	lease_hold(&h, RES, 2, L);
	lease_hold(&h, RES, 1, L);
	assert_true(lease_is_valid(&h, 1001));
	assert_int_equal(h.value, 2);
}

static void dropped_lease_is_not_valid_any_more(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_answered(&h, 0, 1, 1, &three);
	lease_answered(&h, 1, 1, 1, &three);
	lease_drop(&h);
	assert_false(lease_is_valid(&h, 1001));
}

/* The voters may have released what they granted before the drop. */
static void grants_from_before_a_drop_do_not_count_after_it(void **state)
{
	struct lease_holder h = asking_holder();

	(void)state;
	lease_drop(&h);
	lease_hold(&h, RES, 1, L);
	assert_false(lease_answered(&h, 0, 1, 1, &three));
	assert_false(lease_answered(&h, 1, 1, 1, &three));
	assert_false(lease_is_valid(&h, 1001));
}

/* Two candidates and three voters, all clocks true: the second is let in by nobody who could still be counted on by the first.
 */
static void second_holder_gets_a_majority_only_after_the_first_has_ended(void **state)
{
	struct lease_voter voters[3];
	struct lease_holder first = {0}, second = {0};
	uint64_t round = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		voters[i] = grown_voter();
	lease_hold(&first, RES, 1, L);
	lease_round_sent(&first, 0, 1, &three);
	for (int i = 0; i < 2; i++) /* the third never hears of the first */
		if (ask(&voters[i], 5, 1) == LEASE_GRANTED)
			lease_answered(&first, i, 1, 1, &three);
	lease_hold(&second, RES, 2, L);
	for (int64_t now = 10; now < 2 * L; now += 10) {
		lease_round_sent(&second, now, ++round, &three);
		for (int i = 0; i < 3; i++)
			if (ask(&voters[i], now, 2) == LEASE_GRANTED)
				lease_answered(&second, i, 2, round, &three);
		assert_false(lease_is_valid(&first, now) && lease_is_valid(&second, now));
	}
	assert_true(lease_is_valid(&second, 2 * L));
	for (int i = 0; i < 3; i++)
		lease_voter_done(&voters[i]);
}

static void set_is_settled_one_term_after_a_majority_has_granted_under_it(void **state)
{
	struct lease_settling s = {0};

	(void)state;
	assert_false(lease_is_settled(&s, 10 * L, 7, L));
	lease_settling_note(&s, 1000, 7);
	lease_settling_note(&s, 1200, 7);
	assert_false(lease_is_settled(&s, 1000 + L, 7, L));
	assert_true(lease_is_settled(&s, 1000 + L + 1, 7, L));
}

static void set_that_no_majority_knows_is_not_settled_however_old_it_is(void **state)
{
	struct lease_settling s = {0};

	(void)state;
	lease_settling_note(&s, 1000, 7);
	assert_false(lease_is_settled(&s, 100 * L, 8, L));
	lease_settling_note(&s, 100 * L, 8);
	assert_false(lease_is_settled(&s, 101 * L, 8, L));
	lease_settling_note(&s, 101 * L, 7);
	assert_true(lease_is_settled(&s, 101 * L + 1, 8, L));
	assert_false(lease_is_settled(&s, 101 * L + 1, 7, L));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(voter_grants_the_first_who_asks),
	        cmocka_unit_test(voter_renews_the_same_value),
	        cmocka_unit_test(voter_is_busy_until_the_other_grant_has_lapsed),
	        cmocka_unit_test(voter_stops_renewing_once_a_higher_value_was_asked_for),
	        cmocka_unit_test(voter_never_goes_back_to_a_lower_value),
	        cmocka_unit_test(voter_that_has_just_started_grants_nothing_for_one_term),
	        cmocka_unit_test(voter_refuses_a_request_under_an_older_voter_set),
	        cmocka_unit_test(request_under_an_older_set_does_not_disturb_the_holder),
	        cmocka_unit_test(voter_takes_only_a_newer_set),
	        cmocka_unit_test(release_lets_the_next_one_in_at_once),
	        cmocka_unit_test(release_of_another_value_changes_nothing),
	        cmocka_unit_test(resources_do_not_disturb_each_other),
	        cmocka_unit_test(voter_with_a_full_table_refuses_new_resources_and_keeps_the_old),
	        cmocka_unit_test(over_long_resource_name_is_refused_and_not_cut_into_anothers),
	        cmocka_unit_test(holder_is_valid_when_a_majority_has_granted),
	        cmocka_unit_test(lease_counts_from_the_sending_and_ends_two_percent_early),
	        cmocka_unit_test(holder_ends_before_the_voter_whatever_the_clocks_do),
	        cmocka_unit_test(one_voter_answering_twice_is_no_majority),
	        cmocka_unit_test(half_of_an_even_set_is_no_majority),
	        cmocka_unit_test(answers_to_different_rounds_are_not_added_up),
	        cmocka_unit_test(late_answers_to_an_old_round_never_shorten_the_lease),
	        cmocka_unit_test(answer_to_a_round_that_left_the_ring_is_ignored),
	        cmocka_unit_test(answer_for_another_value_is_ignored),
	        cmocka_unit_test(answer_to_a_round_never_sent_is_ignored),
	        cmocka_unit_test(node_that_is_no_voter_does_not_count),
	        cmocka_unit_test(round_sent_under_an_older_set_does_not_count_under_the_newer),
	        cmocka_unit_test(higher_value_starts_anew),
	        cmocka_unit_test(same_or_lower_value_changes_nothing),
	        cmocka_unit_test(dropped_lease_is_not_valid_any_more),
	        cmocka_unit_test(grants_from_before_a_drop_do_not_count_after_it),
	        cmocka_unit_test(second_holder_gets_a_majority_only_after_the_first_has_ended),
	        cmocka_unit_test(set_is_settled_one_term_after_a_majority_has_granted_under_it),
	        cmocka_unit_test(set_that_no_majority_knows_is_not_settled_however_old_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
