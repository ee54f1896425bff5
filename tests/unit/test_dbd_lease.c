#include "drivers/lease.h"

#include "core/base/clock.h"
#include "drivers/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS CLOCK_NS_PER_MS

static char dir[] = "/tmp/mha-test-lease-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/lease", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_tree(dir, true, NULL);
}

static void the_next_guard_of_this_boot_continues_it(void **state)
{
	struct lease_file f = {0};

	(void)state;
	assert_int_equal(lease_open(path, &f, NULL), ERR_OK);
	assert_false(f.is_continued);
	f.map->expires_ns = 12345;
	f.map->seen_epoch = 6;
	f.map->may_write = 1;
	lease_close(&f);
	assert_int_equal(lease_open(path, &f, NULL), ERR_OK);
	assert_true(f.is_continued);
	assert_int_equal(f.map->expires_ns, 12345);
	assert_int_equal(f.map->seen_epoch, 6);
	assert_int_equal(f.map->may_write, 1);
	lease_close(&f);
}

static void one_of_another_boot_is_void(void **state)
{
	struct lease_file f = {0};

	(void)state;
	assert_int_equal(lease_open(path, &f, NULL), ERR_OK);
	f.map->expires_ns = INT64_MAX;
	f.map->boot_id[0] ^= 1;
	lease_close(&f);
	assert_int_equal(lease_open(path, &f, NULL), ERR_OK);
	assert_false(f.is_continued);
	assert_int_equal(f.map->expires_ns, 0);
	lease_close(&f);
}

static void a_damaged_file_is_void(void **state)
{
	struct lease_file f = {0};

	(void)state;
	assert_int_equal(file_write(path, "garbage", 7, NULL), ERR_OK);
	assert_int_equal(lease_open(path, &f, NULL), ERR_OK);
	assert_false(f.is_continued);
	assert_int_equal(f.map->may_write, 0);
	lease_close(&f);
}

static void two_guards_cannot_hold_it(void **state)
{
	struct lease_file first = {0}, second = {0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(lease_open(path, &first, NULL), ERR_OK);
	assert_int_equal(lease_open(path, &second, &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, path));
	lease_close(&first);
	assert_int_equal(lease_open(path, &second, NULL), ERR_OK);
	lease_close(&second);
}

static void grace_is_added_to_a_deadline_ahead_only(void **state)
{
	int64_t at = 0, now = 1000 * MS;

	(void)state;
	assert_int_equal(lease_expiry(now + 500 * MS, 200, now, &at, NULL), ERR_OK);
	assert_int_equal(at, now + 700 * MS);
	assert_int_equal(lease_expiry(now, 200, now, &at, NULL), ERR_OK);
	assert_int_equal(at, now);
	assert_int_equal(lease_expiry(now - 1, 5000, now, &at, NULL), ERR_OK);
	assert_int_equal(at, now);
}

static void a_lease_of_minutes_or_a_negative_grace_is_refused(void **state)
{
	int64_t at = 77, now = 1000 * MS;

	(void)state;
	assert_int_equal(lease_expiry(now + (LEASE_MAX_AHEAD_MS + 1) * MS, 0, now, &at, NULL), ERR_INVAL);
	assert_int_equal(lease_expiry(now + LEASE_MAX_AHEAD_MS * MS, 1, now, &at, NULL), ERR_INVAL);
	assert_int_equal(lease_expiry(INT64_MAX, INT32_MAX, now, &at, NULL), ERR_INVAL);
	assert_int_equal(lease_expiry(now + 1, -1, now, &at, NULL), ERR_INVAL);
	assert_int_equal(at, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_next_guard_of_this_boot_continues_it),
	        cmocka_unit_test(one_of_another_boot_is_void),
	        cmocka_unit_test(a_damaged_file_is_void),
	        cmocka_unit_test(two_guards_cannot_hold_it),
	        cmocka_unit_test(grace_is_added_to_a_deadline_ahead_only),
	        cmocka_unit_test(a_lease_of_minutes_or_a_negative_grace_is_refused),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
