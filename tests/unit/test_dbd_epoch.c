#include "drivers/epoch.h"

#include "drivers/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/mha-test-epoch-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/epoch", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_tree(dir, true, NULL);
}

static void a_missing_file_is_zero(void **state)
{
	struct epochs v = {9, 9};

	(void)state;
	assert_int_equal(epoch_read(path, &v, NULL), ERR_OK);
	assert_int_equal(v.seen, 0);
	assert_int_equal(v.promoted, 0);
}

static void what_was_raised_is_read_back(void **state)
{
	struct epochs v;

	(void)state;
	assert_int_equal(epoch_raise(path, (struct epochs){7, 5}, NULL), ERR_OK);
	assert_int_equal(epoch_read(path, &v, NULL), ERR_OK);
	assert_int_equal(v.seen, 7);
	assert_int_equal(v.promoted, 5);
}

static void neither_number_is_ever_lowered(void **state)
{
	struct epochs v;

	(void)state;
	assert_int_equal(epoch_raise(path, (struct epochs){3, 6}, NULL), ERR_OK);
	assert_int_equal(epoch_raise(path, (struct epochs){8, 0}, NULL), ERR_OK);
	assert_int_equal(epoch_read(path, &v, NULL), ERR_OK);
	assert_int_equal(v.seen, 8);
	assert_int_equal(v.promoted, 6);
}

static void an_undone_promotion_is_forgotten_and_the_seen_epoch_is_not(void **state)
{
	struct epochs v;

	(void)state;
	assert_int_equal(epoch_raise(path, (struct epochs){9, 9}, NULL), ERR_OK);
	assert_int_equal(epoch_forget_promotion(path, NULL), ERR_OK);
	assert_int_equal(epoch_read(path, &v, NULL), ERR_OK);
	assert_int_equal(v.seen, 9);
	assert_int_equal(v.promoted, 0);
}

static void a_damaged_file_is_an_error_and_not_zero(void **state)
{
	struct epochs v = {1, 1};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(file_write(path, "x\n", 2, NULL), ERR_OK);
	assert_int_equal(epoch_read(path, &v, &e), ERR_IO);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(epoch_raise(path, (struct epochs){99, 0}, &e), ERR_IO);
	assert_int_equal(unlink(path), 0);
}

static void an_epoch_that_cannot_be_stored_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(epoch_raise("/nonexistent/epoch", (struct epochs){1, 0}, NULL), ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_missing_file_is_zero),
	        cmocka_unit_test(what_was_raised_is_read_back),
	        cmocka_unit_test(neither_number_is_ever_lowered),
	        cmocka_unit_test(an_undone_promotion_is_forgotten_and_the_seen_epoch_is_not),
	        cmocka_unit_test(a_damaged_file_is_an_error_and_not_zero),
	        cmocka_unit_test(an_epoch_that_cannot_be_stored_is_an_error),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
