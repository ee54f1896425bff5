#include "core/base/roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define N2                                                                                                                     \
	"{\"name\":\"n2\",\"address\":\"10.0.0.2\",\"role\":\"data\",\"failure_domain\":\"\",\"raft_id\":\"7\",\"peer_port\":" \
	"7400,"                                                                                                                \
	"\"raft_port\":7401,\"sql_port\":5433,\"removed\":false}"
#define WITH(nodes) "{\"version\":1,\"number\":5,\"uuid\":\"u\",\"nodes\":[" nodes "]}"

static char dir[] = "/tmp/mha-roster-XXXXXX";

static struct config *load_config(void)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;
	char path[64];
	FILE *f;

	snprintf(path, sizeof path, "%s/node.yaml", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "cluster: lab\nnode: n1\naddress: 10.0.0.1\nstate_dir: %s\n", dir);
	fclose(f);
	assert_int_equal(config_load(path, &c, &e), ERR_OK);
	return c;
}

static void a_roster_survives_its_file(void **state)
{
	struct config *c = load_config();
	struct roster in, out;
	struct err e = ERR_INIT;
	struct stat st;
	char path[80];

	(void)state;
	assert_int_equal(roster_parse(WITH(N2), &in, &e), ERR_OK);
	assert_int_equal(roster_save(c, &in, &e), ERR_OK);
	memset(&out, 0, sizeof out);
	assert_int_equal(roster_load(c, &out, &e), ERR_OK);
	assert_int_equal(out.number, 5);
	assert_string_equal(out.nodes[0].address, "10.0.0.2");
	assert_int_equal(out.nodes[0].peer_port, 7400);
	snprintf(path, sizeof path, "%s/roster/nodes.json", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	config_free(c);
}

static void no_file_is_no_error_at_the_start(void **state)
{
	struct config *c = load_config();
	struct err e = ERR_INIT;
	char path[80];

	(void)state;
	snprintf(path, sizeof path, "%s/roster/nodes.json", dir);
	unlink(path);
	assert_int_equal(roster_apply(c, &e), ERR_OK);
	assert_int_equal(c->nodes_count, 1);
	config_free(c);
}

static void nodes_are_merged_in_stable_places(void **state)
{
	struct config *c = load_config();
	struct roster r;
	struct err e = ERR_INIT;
	const struct config_node *n2;

	(void)state;
	assert_int_equal(roster_parse(WITH(N2), &r, &e), ERR_OK);
	assert_int_equal(roster_merge(&r, c, &e), ERR_OK);
	assert_int_equal(c->nodes_count, 2);
	n2 = config_find_node(c, "n2");
	assert_non_null(n2);
	strcpy(r.nodes[0].address, "10.0.0.22");
	r.nodes[0].is_removed = true;
	assert_int_equal(roster_merge(&r, c, &e), ERR_OK);
	assert_int_equal(c->nodes_count, 2);
	assert_ptr_equal(config_find_node(c, "n2"), n2);
	assert_string_equal(n2->address, "10.0.0.22");
	assert_true(n2->is_removed);
	config_free(c);
}

static void this_node_keeps_its_own_address(void **state)
{
	struct config *c = load_config();
	struct roster r;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(roster_parse(WITH(N2), &r, &e), ERR_OK);
	strcpy(r.nodes[0].name, "n1");
	assert_int_equal(roster_merge(&r, c, &e), ERR_OK);
	assert_int_equal(c->nodes_count, 1);
	assert_string_equal(c->nodes[0].address, "10.0.0.1");
	config_free(c);
}

static void bad_texts_are_refused_by_name(void **state)
{
	static const struct {
		const char *text, *word;
	} cases[] = {
	        {"", "JSON"},
	        {"[]", "JSON"},
	        {"{\"number\":1,\"uuid\":\"u\"}", "nodes"},
	        {"{\"number\":0,\"uuid\":\"u\",\"nodes\":[]}", "number"},
	        {"{\"number\":-1,\"uuid\":\"u\",\"nodes\":[]}", "number"},
	        {"{\"number\":1,\"nodes\":[]}", "uuid"},
	        {WITH("{}"), "name"},
	        {WITH(N2 "," N2), "twice"},
	        {WITH("{\"name\":\"../x\",\"address\":\"10.0.0.2\",\"role\":\"data\",\"failure_domain\":\"\",\"raft_id\":\"7\","
	              "\"peer_port\":1,\"raft_port\":1,\"sql_port\":1}"),
	         "../x"},
	        {WITH("{\"name\":\"n2\",\"address\":\"host\",\"role\":\"data\",\"failure_domain\":\"\",\"raft_id\":\"7\","
	              "\"peer_port\":1,\"raft_port\":1,\"sql_port\":1}"),
	         "host"},
	        {WITH("{\"name\":\"n2\",\"address\":\"10.0.0.2\",\"role\":\"king\",\"failure_domain\":\"\",\"raft_id\":\"7\","
	              "\"peer_port\":1,\"raft_port\":1,\"sql_port\":1}"),
	         "king"},
	        {WITH("{\"name\":\"n2\",\"address\":\"10.0.0.2\",\"role\":\"data\",\"failure_domain\":\"\",\"raft_id\":\"7\","
	              "\"peer_port\":65536,\"raft_port\":1,\"sql_port\":1}"),
	         "peer_port"},
	};
	struct roster r = {.number = 77};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err e = ERR_INIT;

		assert_int_equal(roster_parse(cases[i].text, &r, &e), ERR_INVAL);
		if (strstr(e.text, cases[i].word) == NULL)
			fail_msg("the message does not name \"%s\": %s", cases[i].word, e.text);
		assert_int_equal(r.number, 77);
	}
}

static void more_nodes_than_there_is_room_for_are_refused_whole(void **state)
{
	struct config *c = load_config();
	struct roster r = {.number = 1, .count = ROSTER_NODES_MAX};
	struct err e = ERR_INIT;
	unsigned i;

	(void)state;
	for (i = 0; i < r.count; i++) {
		snprintf(r.nodes[i].name, sizeof r.nodes[i].name, "m%u", i);
		strcpy(r.nodes[i].role, "data");
	}
	assert_int_equal(roster_merge(&r, c, &e), ERR_INVAL);
	assert_int_equal(c->nodes_count, 1);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_roster_survives_its_file),
	        cmocka_unit_test(no_file_is_no_error_at_the_start),
	        cmocka_unit_test(nodes_are_merged_in_stable_places),
	        cmocka_unit_test(this_node_keeps_its_own_address),
	        cmocka_unit_test(bad_texts_are_refused_by_name),
	        cmocka_unit_test(more_nodes_than_there_is_room_for_are_refused_whole),
	};
	char path[80];
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof path, "%s/roster", dir);
	mkdir(path, 0755);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(path, sizeof path, "%s/roster/nodes.json", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/roster", dir);
	rmdir(path);
	snprintf(path, sizeof path, "%s/node.yaml", dir);
	unlink(path);
	rmdir(dir);
	return failed;
}
