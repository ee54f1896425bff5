#include "store/node_identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "0b9bd0a1-2b3c-4d5e-8f90-0123456789ab"

static char dir[64], path[96];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/mha-identity-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/node.json", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	chmod(dir, 0700);
	unlink(path);
	rmdir(dir);
	return 0;
}

static void write_text(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void new_identity_has_a_random_id(void **state)
{
	struct identity a, b;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(identity_create("n1", "127.0.0.1:7401", &a, &e), 0);
	assert_int_equal(identity_create("n1", "127.0.0.1:7401", &b, &e), 0);
	assert_true(a.id > 1 && a.id <= INT64_MAX);
	assert_true(a.id != b.id);
	assert_int_equal(a.state, IDENTITY_FRESH);
	assert_string_equal(a.cluster_uuid, "");
}

static void saved_identity_comes_back(void **state)
{
	struct identity a, b;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(identity_create("n1", "127.0.0.1:7401", &a, &e), 0);
	a.state = IDENTITY_MEMBER;
	strcpy(a.cluster, "lab");
	strcpy(a.cluster_uuid, UUID);
	strcpy(a.profile, "fast");
	assert_int_equal(identity_save(path, &a, &e), 0);
	assert_int_equal(identity_load(path, &b, &e), 0);
	assert_int_equal(b.id, a.id);
	assert_int_equal(b.state, IDENTITY_MEMBER);
	assert_string_equal(b.name, "n1");
	assert_string_equal(b.cluster, "lab");
	assert_string_equal(b.cluster_uuid, UUID);
	assert_string_equal(b.profile, "fast");
	assert_string_equal(b.address, "127.0.0.1:7401");
}

static void saving_leaves_no_second_file_behind(void **state)
{
	struct identity a;
	struct err e = ERR_INIT;
	char beside[128];

	(void)state;
	assert_int_equal(identity_create("n1", "127.0.0.1:7401", &a, &e), 0);
	assert_int_equal(identity_save(path, &a, &e), 0);
	snprintf(beside, sizeof beside, "%s.new", path);
	assert_int_not_equal(access(beside, F_OK), 0);
}

static void missing_file_is_told_apart(void **state)
{
	struct identity a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(identity_load(path, &a, &e), ERR_NOTFOUND);
}

static void unwritable_place_is_named(void **state)
{
	struct identity a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(identity_create("n1", "127.0.0.1:7401", &a, &e), 0);
	assert_int_equal(identity_save("/nowhere/at/all/node.json", &a, &e), ERR_IO);
	assert_non_null(strstr(e.text, "/nowhere/at/all/node.json"));
}

static void damaged_files_are_refused(void **state)
{
	static const char *const damaged[] = {
	        "",
	        "{",
	        "[]",
	        "{\"name\":\"n1\"}",
	        /* id 1 and dqlite's other well-known id would make a cluster out of an empty directory */
	        "{\"name\":\"n1\",\"id\":\"1\",\"cluster\":\"\",\"cluster_uuid\":\"\",\"profile\":\"\",\"address\":\"a\","
	        "\"state\":\"fresh\"}",
	        "{\"name\":\"n1\",\"id\":\"3297041220608546238\",\"cluster\":\"\",\"cluster_uuid\":\"\",\"profile\":\"\","
	        "\"address\":\"a\","
	        "\"state\":\"fresh\"}",
	        "{\"name\":\"n1\",\"id\":\"7\",\"cluster\":\"\",\"cluster_uuid\":\"\",\"profile\":\"\",\"address\":\"a\","
	        "\"state\":\"odd\"}",
	        "{\"name\":\"n1\",\"id\":\"7\",\"cluster\":\"c\",\"cluster_uuid\":\"\",\"profile\":\"fast\",\"address\":\"a\","
	        "\"state\":\"member\"}",
	        "{\"name\":\"n1\",\"id\":\"7\",\"cluster\":\"c\",\"cluster_uuid\":\"" UUID
	        "\",\"profile\":\"odd\",\"address\":\"a\",\"state\":\"member\"}",
	};
	struct identity a;

	(void)state;
	for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
		struct err e = ERR_INIT;

		write_text(damaged[i]);
		assert_int_equal(identity_load(path, &a, &e), ERR_INVAL);
		assert_non_null(strstr(e.text, path));
	}
}

static void uuids_are_checked_to_the_end(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(identity_check_uuid(UUID, &e), 0);
	assert_int_equal(identity_check_uuid("", &e), ERR_INVAL);
	assert_int_equal(identity_check_uuid(UUID "0", &e), ERR_INVAL);
	assert_int_equal(identity_check_uuid("0b9bd0a1-2b3c-4d5e-8f90-0123456789a", &e), ERR_INVAL);
	assert_int_equal(identity_check_uuid("0b9bd0a1-2b3c-4d5e-8f90-0123456789aG", &e), ERR_INVAL);
	assert_int_equal(identity_check_uuid("0b9bd0a1x2b3c-4d5e-8f90-0123456789ab", &e), ERR_INVAL);
}

static void profiles_have_their_latency(void **state)
{
	struct err e = ERR_INIT;
	unsigned ms;

	(void)state;
	assert_int_equal(identity_latency_ms("fast", &ms, &e), 0);
	assert_int_equal(ms, 20);
	assert_int_equal(identity_latency_ms("default", &ms, &e), 0);
	assert_int_equal(ms, 40);
	assert_int_equal(identity_latency_ms("relaxed", &ms, &e), 0);
	assert_int_equal(ms, 100);
	assert_int_equal(identity_latency_ms("", &ms, &e), ERR_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(new_identity_has_a_random_id),
	        cmocka_unit_test_setup_teardown(saved_identity_comes_back, make_dir, remove_dir),
	        cmocka_unit_test_setup_teardown(saving_leaves_no_second_file_behind, make_dir, remove_dir),
	        cmocka_unit_test_setup_teardown(missing_file_is_told_apart, make_dir, remove_dir),
	        cmocka_unit_test_setup_teardown(unwritable_place_is_named, make_dir, remove_dir),
	        cmocka_unit_test_setup_teardown(damaged_files_are_refused, make_dir, remove_dir),
	        cmocka_unit_test(uuids_are_checked_to_the_end),
	        cmocka_unit_test(profiles_have_their_latency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
