#include "drivers/postgresql/pg.h"

#include "drivers/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config_instance inst = {.group = "main",
                                      .replication_user = "replicator",
                                      .data_dir = "/nonexistent",
                                      .port = 5432};
static struct config cfg = {.node = "n1"};
static struct driver_ctx ctx = {.cfg = &cfg, .inst = &inst, .obj = "group main"};
static char dir[] = "/tmp/mha-test-pg-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	str_copy(ctx.state_dir, sizeof ctx.state_dir, dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_tree(dir, true, NULL);
}

static struct dbd_msg order_of(const char *node, const char *host, const char *members, uint16_t count)
{
	struct dbd_msg m = {.peer_port = 5432, .sync_count = count};

	str_copy(m.peer_node, sizeof m.peer_node, node);
	str_copy(m.peer_host, sizeof m.peer_host, host);
	str_copy(m.sync_members, sizeof m.sync_members, members);
	return m;
}

static void a_role_is_read_as_it_was_written(void **state)
{
	struct dbd_msg m = order_of("n2", "10.77.0.12", "n2,n3", 1);
	struct pg_role role = {0}, back;
	bool has_changed;

	(void)state;
	assert_int_equal(pg_role_read(&ctx, &back, NULL), ERR_OK);
	assert_string_equal(back.upstream, "");
	assert_int_equal(pg_role_set_upstream(&role, &m, NULL), ERR_OK);
	assert_int_equal(pg_role_set_sync(&role, &m, NULL), ERR_OK);
	assert_int_equal(pg_role_write(&ctx, &role, &has_changed, NULL), ERR_OK);
	assert_true(has_changed);
	assert_int_equal(pg_role_read(&ctx, &back, NULL), ERR_OK);
	assert_string_equal(back.upstream, "n2");
	assert_string_equal(back.host, "10.77.0.12");
	assert_int_equal(back.port, 5432);
	assert_string_equal(back.sync_members, "n2,n3");
	assert_int_equal(back.sync_count, 1);
	assert_int_equal(pg_role_write(&ctx, &back, &has_changed, NULL), ERR_OK);
	assert_false(has_changed);
}

static void sync_names_are_quoted_and_empty_for_none(void **state)
{
	struct pg_role role = {.sync_members = "n2,n-3", .sync_count = 2};
	struct buf b = {0};

	(void)state;
	pg_role_sync_names(&role, &b);
	assert_string_equal(b.data, "ANY 2 (\"n2\",\"n-3\")");
	buf_clear(&b);
	role.sync_members[0] = '\0';
	pg_role_sync_names(&role, &b);
	assert_int_equal(b.len, 0);
	buf_done(&b);
}

static void nobody_to_follow_is_an_empty_conninfo(void **state)
{
	struct pg_role role = {.host = "10.0.0.1", .port = 5432};
	struct buf b = {0};

	(void)state;
	pg_role_conninfo(&ctx, &role, &b);
	assert_int_equal(b.len, 0);
	str_copy(role.upstream, sizeof role.upstream, "n2");
	pg_role_conninfo(&ctx, &role, &b);
	assert_non_null(strstr(b.data, "host=10.0.0.1 port=5432 user=replicator application_name=n1"));
	buf_done(&b);
}

static void hostile_names_and_addresses_are_refused(void **state)
{
	static const char *const hosts[] = {"", "a b", "x' y", "x\n", "x\\"};
	static const char *const members[] = {"n2,", ",n2", "n2 n3", "n2\"", "N2", "n2,,n3"};
	struct pg_role role = {.upstream = "kept"};
	struct dbd_msg m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
		m = order_of("n2", hosts[i], "", 0);
		assert_int_equal(pg_role_set_upstream(&role, &m, NULL), ERR_INVAL);
	}
	m = order_of("", "10.0.0.1", "", 0);
	assert_int_equal(pg_role_set_upstream(&role, &m, NULL), ERR_INVAL);
	assert_string_equal(role.upstream, "kept");
	for (i = 0; i < sizeof members / sizeof members[0]; i++) {
		m = order_of("", "", members[i], 1);
		assert_int_equal(pg_role_set_sync(&role, &m, NULL), ERR_INVAL);
	}
	m = order_of("", "", "n2", 2);
	assert_int_equal(pg_role_set_sync(&role, &m, NULL), ERR_INVAL);
	m = order_of("", "", "", 1);
	assert_int_equal(pg_role_set_sync(&role, &m, NULL), ERR_INVAL);
}

static void auto_conf_loses_what_is_ours_and_keeps_the_rest(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_true(pg_strip_auto_conf("# comment\nwork_mem = '5MB'\nPrimary_ConnInfo = 'x'\n fsync=off\nport_x = 1\nport = 2",
	                               &b));
	assert_string_equal(b.data, "# comment\nwork_mem = '5MB'\nport_x = 1\n");
	buf_clear(&b);
	assert_false(pg_strip_auto_conf("work_mem = '5MB'\n", &b));
	buf_done(&b);
}

static void a_setting_that_was_too_low_is_learnt_from_the_log(void **state)
{
	static const char log[] = "LOG:  entering standby mode\n"
	                          "FATAL:  recovery aborted because of insufficient parameter settings\n"
	                          "2026 UTC [1] DETAIL:  max_connections = 30 is a lower setting than on the primary server, "
	                          "where its value was 100.\n";
	char path[DRIVER_PATH_SIZE];
	struct buf b = {0};

	(void)state;
	assert_false(pg_learn_needed(&ctx, "FATAL:  something else\n"));
	assert_true(pg_learn_needed(&ctx, log));
	assert_int_equal(file_read_tail(driver_path(&ctx, PG_NEEDED, path), 100, &b, NULL), ERR_OK);
	assert_string_equal(b.data, "max_connections = 100\n");
	buf_done(&b);
}

static void other_settings_are_learnt_anew(void **state)
{
	char path[DRIVER_PATH_SIZE];
	char *lines[] = {(char[]){"work_mem=1MB"}};

	(void)state;
	ctx.own = mem_alloc(sizeof(struct pg));
	inst.settings = lines;
	inst.settings_count = 1;
	assert_int_equal(pg_settings_write(&ctx, NULL), ERR_OK);
	assert_int_equal(file_write(driver_path(&ctx, PG_NEEDED, path), "", 0, NULL), ERR_OK);
	assert_int_equal(pg_settings_write(&ctx, NULL), ERR_OK);
	assert_true(file_exists(path));
	lines[0][9] = '2';
	assert_int_equal(pg_settings_write(&ctx, NULL), ERR_OK);
	assert_false(file_exists(driver_path(&ctx, PG_NEEDED, path)));
	free(ctx.own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_role_is_read_as_it_was_written),
	        cmocka_unit_test(sync_names_are_quoted_and_empty_for_none),
	        cmocka_unit_test(nobody_to_follow_is_an_empty_conninfo),
	        cmocka_unit_test(hostile_names_and_addresses_are_refused),
	        cmocka_unit_test(auto_conf_loses_what_is_ours_and_keeps_the_rest),
	        cmocka_unit_test(a_setting_that_was_too_low_is_learnt_from_the_log),
	        cmocka_unit_test(other_settings_are_learnt_anew),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
