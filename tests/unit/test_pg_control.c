#include "drivers/postgresql/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static const char *control(const char *state, const char *checkpoint, const char *min, unsigned min_tli)
{
	static char text[1024];

	snprintf(text, sizeof text,
	         "pg_control version number:            1300\n"
	         "Database system identifier:           7432198765432109876\n"
	         "Database cluster state:               %s\n"
	         "Latest checkpoint location:           %s\n"
	         "Latest checkpoint's REDO location:    0/1000028\n"
	         "Latest checkpoint's TimeLineID:       3\n"
	         "Minimum recovery ending location:     %s\n"
	         "Min recovery ending loc's timeline:   %u\n",
	         state, checkpoint, min, min_tli);
	return text;
}

static void a_clean_primary_is_at_its_checkpoint(void **state)
{
	struct pg_control c;

	(void)state;
	assert_int_equal(pg_parse_control(control("shut down", "A/1000060", "0/0", 0), &c, NULL), ERR_OK);
	assert_true(c.is_clean);
	assert_int_equal(c.position, UINT64_C(0xA01000060));
	assert_int_equal(c.timeline, 3);
	assert_string_equal(c.system_id, "7432198765432109876");
}

static void a_standby_is_at_its_recovery_point(void **state)
{
	struct pg_control c;

	(void)state;
	assert_int_equal(pg_parse_control(control("shut down in recovery", "0/1000060", "0/2000000", 4), &c, NULL), ERR_OK);
	assert_true(c.is_clean);
	assert_int_equal(c.position, 0x2000000);
	assert_int_equal(c.timeline, 4);
}

static void a_crashed_server_is_not_clean(void **state)
{
	struct pg_control c;

	(void)state;
	assert_int_equal(pg_parse_control(control("in production", "0/1", "0/0", 0), &c, NULL), ERR_OK);
	assert_false(c.is_clean);
	assert_int_equal(pg_parse_control(control("in archive recovery", "0/1", "0/0", 0), &c, NULL), ERR_OK);
	assert_false(c.is_clean);
	assert_int_equal(pg_parse_control(control("shutting down", "0/1", "0/0", 0), &c, NULL), ERR_OK);
	assert_false(c.is_clean);
}

static void other_text_is_refused_and_leaves_the_output_alone(void **state)
{
	struct pg_control c = {.timeline = 77};

	(void)state;
	assert_int_equal(pg_parse_control("", &c, NULL), ERR_PROTOCOL);
	assert_int_equal(pg_parse_control(control("shut down", "nonsense", "0/0", 0), &c, NULL), ERR_PROTOCOL);
	assert_int_equal(pg_parse_control("Database system identifier: 1\n", &c, NULL), ERR_PROTOCOL);
	assert_int_equal(c.timeline, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_clean_primary_is_at_its_checkpoint),
	        cmocka_unit_test(a_standby_is_at_its_recovery_point),
	        cmocka_unit_test(a_crashed_server_is_not_clean),
	        cmocka_unit_test(other_text_is_refused_and_leaves_the_output_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
