#include "core/base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char good[] = "cluster: lab\nnode: n1\naddress: 127.0.0.1\ntls: {mode: insecure-plaintext}\nnodes:\n  - {name: n1, address: 127.0.0.1}\n"
                           "  - {name: n2, address: 127.0.0.2}\n";

static char path[] = "/tmp/mha-config-XXXXXX";

static int load(const char *head, const char *tail, struct config **ret, struct err *e)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(head, f);
	fputs(tail, f);
	fclose(f);
	return config_load(path, ret, e);
}

static void assert_refused(const char *head, const char *tail, const char *word)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;

	assert_int_not_equal(load(head, tail, &c, &e), ERR_OK);
	assert_null(c);
	if (strstr(e.text, word) == NULL)
		fail_msg("the message does not name \"%s\": %s", word, e.text);
	assert_non_null(strstr(e.text, path));
}

static void a_short_file_gets_its_defaults(void **state)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(load(good, "", &c, &e), ERR_OK);
	assert_int_equal(c->ports.peer, 7400);
	assert_int_equal(c->nodes[1].raft_port, 7401);
	assert_string_equal(c->role, "data");
	assert_null(c->sql.auth);
	config_free(c);
}

static void an_unknown_key_is_named(void **state)
{
	(void)state;
	assert_refused(good, "colour: blue\n", "colour");
}

static void a_wrong_type_is_named(void **state)
{
	(void)state;
	assert_refused(good, "ports: {peer: many}\n", "peer");
}

static void two_nodes_with_one_name_are_refused(void **state)
{
	(void)state;
	assert_refused(good, "  - {name: n2, address: 127.0.0.3}\n", "two nodes are named \"n2\"");
}

static void a_node_that_is_not_listed_is_refused(void **state)
{
	(void)state;
	assert_refused("cluster: lab\nnode: n9\naddress: 127.0.0.1\nnodes:\n  - {name: n1, address: 127.0.0.1}\n", "", "n9");
}

static void a_bad_owner_of_an_address_is_named(void **state)
{
	(void)state;
	assert_refused(good, "vips:\n  - {address: 10.0.0.1, owner: me}\n", "owner");
}

static void a_missing_file_is_named(void **state)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(config_load("/nonexistent/node.yaml", &c, &e), ERR_NOTFOUND);
	assert_non_null(strstr(e.text, "/nonexistent/node.yaml"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_short_file_gets_its_defaults),
	        cmocka_unit_test(an_unknown_key_is_named),
	        cmocka_unit_test(a_wrong_type_is_named),
	        cmocka_unit_test(two_nodes_with_one_name_are_refused),
	        cmocka_unit_test(a_node_that_is_not_listed_is_refused),
	        cmocka_unit_test(a_bad_owner_of_an_address_is_named),
	        cmocka_unit_test(a_missing_file_is_named),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
