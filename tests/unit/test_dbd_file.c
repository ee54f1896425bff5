#include "drivers/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/mha-test-file-XXXXXX";

static const char *in(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_tree(dir, true, NULL);
}

static void a_written_file_is_read_back_and_leaves_nothing_else(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(file_write(in("a"), "hello", 5, NULL), ERR_OK);
	assert_int_equal(file_read_tail(in("a"), 100, &b, NULL), ERR_OK);
	assert_string_equal(b.data, "hello");
	assert_false(file_exists(in("a.tmp")));
	buf_done(&b);
}

static void a_tail_is_the_end_of_the_file(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(file_write(in("a"), "0123456789", 10, NULL), ERR_OK);
	assert_int_equal(file_read_tail(in("a"), 3, &b, NULL), ERR_OK);
	assert_string_equal(b.data, "789");
	assert_int_equal(file_read_tail(in("missing"), 3, &b, NULL), ERR_NOTFOUND);
	buf_done(&b);
}

static void an_unchanged_file_is_not_written_again(void **state)
{
	bool has_changed = false;

	(void)state;
	assert_int_equal(file_update(in("u"), "one", &has_changed, NULL), ERR_OK);
	assert_true(has_changed);
	assert_int_equal(file_update(in("u"), "one", &has_changed, NULL), ERR_OK);
	assert_false(has_changed);
	assert_int_equal(file_update(in("u"), "on", &has_changed, NULL), ERR_OK);
	assert_true(has_changed);
	assert_int_equal(file_update(in("u"), "", &has_changed, NULL), ERR_OK);
	assert_true(has_changed);
}

static void a_tree_is_removed_without_following_links(void **state)
{
	(void)state;
	assert_int_equal(file_make_dirs(in("keep"), 0700, NULL), ERR_OK);
	assert_int_equal(file_write(in("keep/me"), "x", 1, NULL), ERR_OK);
	assert_int_equal(file_make_dirs(in("tree/a/b"), 0700, NULL), ERR_OK);
	assert_int_equal(symlink("../keep", in("tree/link")), 0);
	assert_false(file_is_empty_dir(in("tree")));
	assert_int_equal(file_remove_tree(in("tree"), false, NULL), ERR_OK);
	assert_true(file_is_empty_dir(in("tree")));
	assert_true(file_exists(in("keep/me")));
	assert_int_equal(file_remove_tree(in("tree"), true, NULL), ERR_OK);
	assert_false(file_exists(in("tree")));
	assert_int_equal(file_remove_tree(in("tree"), true, NULL), ERR_OK);
}

static void a_missing_file_is_removed_without_complaint(void **state)
{
	(void)state;
	assert_int_equal(file_remove(in("nothing"), NULL), ERR_OK);
	assert_true(file_is_empty_dir(in("nothing")));
}

static void an_error_names_the_file(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(file_write("/nonexistent/x", "", 0, &e), ERR_IO);
	assert_non_null(strstr(e.text, "/nonexistent/x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_written_file_is_read_back_and_leaves_nothing_else),
	        cmocka_unit_test(a_tail_is_the_end_of_the_file),
	        cmocka_unit_test(an_unchanged_file_is_not_written_again),
	        cmocka_unit_test(a_tree_is_removed_without_following_links),
	        cmocka_unit_test(a_missing_file_is_removed_without_complaint),
	        cmocka_unit_test(an_error_names_the_file),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
