#include "drivers/peer_list.h"

#include "core/base/str.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct dbd_msg a_message(const char *first, const char *second)
{
	struct dbd_msg m = {.type = DBD_PEERS, .peer_count = 2};

	assert_true(str_copy(m.peers[0], sizeof m.peers[0], first));
	assert_true(str_copy(m.peers[1], sizeof m.peers[1], second));
	return m;
}

static void numeric_addresses_of_both_families_are_taken(void **state)
{
	struct dbd_msg m = a_message("10.77.0.11", "fd00::12");
	struct peer_list l;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(peer_list_take(&m, &l, &e), ERR_OK);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.address[1], "fd00::12");
}

/* Each of them would change the meaning of a line in a server's access rules. */
static void anything_else_is_refused_by_name(void **state)
{
	static const char *const wrong[] =
	        {"", "n1", "0.0.0.0/0 trust", "10.77.0.12/0", "10.77.0.12\nhost all all 0.0.0.0/0 trust", "fe80::1%eth0"};
	struct peer_list l = {.count = 7};
	struct err e = ERR_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct dbd_msg m = a_message("10.77.0.11", wrong[i]);

		assert_int_equal(peer_list_take(&m, &l, &e), ERR_INVAL);
		assert_non_null(strstr(e.text, wrong[i]));
		assert_int_equal(l.count, 7);
	}
}

static void counts_and_unended_texts_are_refused(void **state)
{
	struct dbd_msg m = a_message("10.77.0.11", "10.77.0.12");
	struct peer_list l;
	struct err e = ERR_INIT;

	(void)state;
	m.peer_count = DBD_MAX_PEERS + 1;
	assert_int_equal(peer_list_take(&m, &l, &e), ERR_INVAL);
	m.peer_count = 2;
	memset(m.peers[1], '1', sizeof m.peers[1]);
	assert_int_equal(peer_list_take(&m, &l, &e), ERR_INVAL);
}

static void a_saved_list_is_read_back_and_a_damaged_one_refused(void **state)
{
	struct dbd_msg m = a_message("10.77.0.11", "fd00::12");
	struct peer_list l, back;
	struct err e = ERR_INIT;
	char path[] = "/tmp/test_peer_list.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(peer_list_take(&m, &l, &e), ERR_OK);
	assert_int_equal(peer_list_save(path, &l, &e), ERR_OK);
	assert_int_equal(peer_list_load(path, &back, &e), ERR_OK);
	assert_true(peer_list_is_same(&l, &back));
	l.count = 0;
	assert_int_equal(peer_list_save(path, &l, &e), ERR_OK);
	assert_int_equal(peer_list_load(path, &back, &e), ERR_OK);
	assert_int_equal(back.count, 0);
	assert_false(peer_list_is_same(&back, &(struct peer_list){.count = 1}));
	close(fd);
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "10.77.0.11\nall\n", 15), 15);
	close(fd);
	assert_int_equal(peer_list_load(path, &back, &e), ERR_INVAL);
	unlink(path);
	assert_int_equal(peer_list_load(path, &back, &e), ERR_NOTFOUND);
}

static void the_configuration_s_data_nodes_count_until_others_are_named(void **state)
{
	struct config_node nodes[] = {
	        {.name = "n1", .address = "10.77.0.11", .role = "data"},
	        {.name = "n2", .address = "10.77.0.12", .role = "data", .is_removed = true},
	        {.name = "arb", .address = "10.77.0.13", .role = "arbiter"},
	        {.name = "n3", .address = "10.77.0.14", .role = "data"},
	};
	struct config c = {.nodes = nodes, .nodes_count = 4};
	struct peer_list l;

	(void)state;
	peer_list_from_config(&c, &l);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.address[0], "10.77.0.11");
	assert_string_equal(l.address[1], "10.77.0.14");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(numeric_addresses_of_both_families_are_taken),
	        cmocka_unit_test(anything_else_is_refused_by_name),
	        cmocka_unit_test(counts_and_unended_texts_are_refused),
	        cmocka_unit_test(a_saved_list_is_read_back_and_a_damaged_one_refused),
	        cmocka_unit_test(the_configuration_s_data_nodes_count_until_others_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
