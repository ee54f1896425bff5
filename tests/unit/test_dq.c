/* The client, the node and the admin commands against a real dqlite node in this process, alone in its cluster. */
#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/migrate.h"
#include "store/node.h"
#include "store/node_dqlite.h"
#include "store_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NODE_NAME "n1"
#define NEVER_MS  2000 /* more than three longest election timeouts of the fast profile */

static struct {
	char dir[64];
	uv_loop_t loop;
	struct config config;
	struct node *node;
	struct admin *admin;
	struct dq *dq;
	struct answer answer;
} t;

static const char *const init_args[] = {"test", FIXTURE_UUID, "fast"};

static const char *in_dir(const char *rest)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/" NODE_NAME "/store/%s", t.dir, rest);
	return path;
}

static void start_node(void)
{
	struct err e = ERR_INIT;

	if (node_start(&t.loop, &t.config, &t.node, &e) != 0)
		fail_msg("%s", e.text);
	t.admin = admin_new(&t.loop, t.node, &t.config);
	t.dq = dq_new(&t.loop, node_local_address(t.node), "config");
}

static void set_cb(void *arg)
{
	*(bool *)arg = true;
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static void stop_node(void)
{
	bool dq_done = false, admin_done = false;

	dq_close(t.dq, set_cb, &dq_done);
	admin_close(t.admin, set_cb, &admin_done);
	node_stop(t.node);
	assert_true(fixture_wait(&t.loop, is_set, &dq_done, 5000));
	assert_true(fixture_wait(&t.loop, is_set, &admin_done, 5000));
}

static struct answer *call(const char *name, const char *const *args, size_t n)
{
	memset(&t.answer, 0, sizeof t.answer);
	admin_call(t.admin, name, args, n, answer_admin_cb, &t.answer);
	assert_false(t.answer.is_done);
	answer_wait(&t.loop, &t.answer);
	return &t.answer;
}

static struct answer *show(const char *what)
{
	memset(&t.answer, 0, sizeof t.answer);
	admin_show(t.admin, what, answer_admin_cb, &t.answer);
	answer_wait(&t.loop, &t.answer);
	return &t.answer;
}

static void exec_ok(const char *sql)
{
	if (fixture_exec(&t.loop, t.dq, sql, &t.answer) != 0)
		fail_msg("%s: %d %s", sql, t.answer.code, t.answer.message);
}

static const char *query_one(const char *sql)
{
	if (fixture_query(&t.loop, t.dq, sql, &t.answer) != 0)
		fail_msg("%s: %d %s", sql, t.answer.code, t.answer.message);
	return t.answer.cells[0];
}

static bool is_leader(void *unused)
{
	(void)unused;
	return node_leader(t.node)->is_self;
}

static int setup_fresh(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	fixture_make_dir(t.dir, sizeof t.dir);
	fixture_config(&t.config, NODE_NAME, "127.0.0.1", fixture_port(0), t.dir);
	uv_loop_init(&t.loop);
	start_node();
	return 0;
}

static int setup_member(void **state)
{
	setup_fresh(state);
	if (call("mha_init", init_args, 3)->code != 0)
		fail_msg("%s", t.answer.message);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (t.node != NULL)
		stop_node();
	uv_run(&t.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&t.loop), 0);
	fixture_config_done(&t.config);
	fixture_remove_dir(t.dir);
	return 0;
}

/* --- fresh --- */

static void fresh_node_says_that_it_is_not_initialised(void **state)
{
	(void)state;
	assert_false(node_is_member(t.node));
	assert_int_equal(show("node")->code, 0);
	assert_string_equal(t.answer.cells[0], NODE_NAME);
	assert_string_equal(t.answer.cells[3], "");
	assert_string_equal(t.answer.cells[5], "0");
	assert_string_equal(t.answer.cells[7], "f");
	assert_string_equal(show("members")->sqlstate, "57P03");
	assert_string_equal(call("mha_migrate", NULL, 0)->sqlstate, "57P03");
	assert_int_equal(fixture_exec(&t.loop, t.dq, "SELECT 1", &t.answer), DQ_DISCONNECTED);
	assert_false(t.answer.was_sent);
}

static void bad_arguments_leave_a_node_fresh(void **state)
{
	static const char *const bad_uuid[] = {"test", "no-uuid", "fast"};
	static const char *const bad_profile[] = {"test", FIXTURE_UUID, "odd"};
	static const char *const other_cluster[] = {"other", FIXTURE_UUID, "fast"};

	(void)state;
	assert_string_equal(call("mha_init", bad_uuid, 3)->sqlstate, "22023");
	assert_string_equal(call("mha_init", bad_profile, 3)->sqlstate, "22023");
	assert_string_equal(call("mha_init", other_cluster, 3)->sqlstate, "55000");
	assert_string_equal(call("mha_init", init_args, 2)->sqlstate, "42883");
	assert_string_equal(call("mha_nonsense", NULL, 0)->sqlstate, "42883");
	assert_string_equal(show("nonsense")->sqlstate, "42704");
	assert_false(node_is_member(t.node));
}

static void init_makes_a_leader_with_the_newest_schema(void **state)
{
	struct dq *mha;
	const struct migration *last = migrations_mha;

	(void)state;
	assert_int_equal(call("mha_init", init_args, 3)->code, 0);
	assert_true(node_leader(t.node)->is_self);
	assert_string_equal(show("node")->cells[3], FIXTURE_UUID);
	assert_string_equal(t.answer.cells[4], "fast");
	assert_string_equal(t.answer.cells[7], "t");
	assert_int_equal(show("members")->rows, 1);
	assert_string_equal(t.answer.cells[2], "voter");
	mha = dq_new(&t.loop, node_local_address(t.node), "mha");
	assert_int_equal(fixture_query(&t.loop, mha, "SELECT count(*), max(version) FROM schema_version", &t.answer), 0);
	while (last->version != 0)
		last++;
	assert_int_equal(atoi(t.answer.cells[0]), last - migrations_mha);
	dq_close(mha, NULL, NULL);
	assert_string_equal(call("mha_init", init_args, 3)->sqlstate, "55000");
	assert_int_equal(call("mha_migrate", NULL, 0)->code, 0);
}

static void joined_node_waits_and_never_elects_itself(void **state)
{
	static const char *const args[] = {FIXTURE_UUID, "fast"};
	static const char *const other[] = {"11111111-2b3c-4d5e-8f90-0123456789ab", "fast"};

	(void)state;
	assert_int_equal(call("mha_join", args, 2)->code, 0);
	assert_int_equal(call("mha_join", args, 2)->code, 0);
	assert_string_equal(call("mha_join", other, 2)->sqlstate, "55000");
	assert_string_equal(call("mha_init", init_args, 3)->sqlstate, "55000");
	assert_false(fixture_wait(&t.loop, is_leader, NULL, NEVER_MS));
	assert_int_equal(node_leader(t.node)->id, 0);
	/* Nor after a restart: it is still only waiting to be added. */
	stop_node();
	start_node();
	assert_false(fixture_wait(&t.loop, is_leader, NULL, NEVER_MS));
}

/* --- what a start refuses --- */

static void expect_refusal(const char *text)
{
	struct node *n = NULL;
	struct err e = ERR_INIT;

	assert_int_not_equal(node_start(&t.loop, &t.config, &n, &e), 0);
	if (strstr(e.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, text);
	assert_null(n);
}

static void directory_in_use_is_refused(void **state)
{
	(void)state;
	expect_refusal("in use by another mha-stored");
}

static void wiped_member_is_refused(void **state)
{
	(void)state;
	stop_node();
	fixture_remove_dir(in_dir("raft"));
	expect_refusal("its data in");
	expect_refusal("its data in"); /* the attempt itself leaves nothing that would pass for data */
	t.node = NULL;
}

static void data_without_identity_is_refused(void **state)
{
	(void)state;
	stop_node();
	assert_int_equal(unlink(in_dir("node.json")), 0);
	expect_refusal("node.json is missing");
	t.node = NULL;
}

static void other_names_and_addresses_are_refused(void **state)
{
	char *name = t.config.node, *cluster = t.config.cluster;

	(void)state;
	stop_node();
	t.config.node = "n2";
	expect_refusal("belongs to node \"n1\"");
	t.config.node = name;
	t.config.cluster = "other";
	expect_refusal("belongs to cluster \"test\"");
	t.config.cluster = cluster;
	t.config.ports.raft++;
	expect_refusal("the cluster knows node \"n1\" at");
	t.config.ports.raft--;
	t.node = NULL;
}

static void port_in_use_is_named(void **state)
{
	struct sockaddr_in sin;
	uv_tcp_t other;
	char address[32];

	(void)state;
	stop_node();
	uv_ip4_addr("127.0.0.1", t.config.ports.raft, &sin);
	uv_tcp_init(&t.loop, &other);
	assert_int_equal(uv_tcp_bind(&other, (struct sockaddr *)&sin, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&other, 1, NULL), 0);
	snprintf(address, sizeof address, "127.0.0.1:%u", t.config.ports.raft);
	expect_refusal(address);
	uv_close((uv_handle_t *)&other, NULL);
	uv_run(&t.loop, UV_RUN_DEFAULT); /* it lives on this stack */
	t.node = NULL;
}

static void file_in_place_of_the_directory_is_named(void **state)
{
	(void)state;
	stop_node();
	fixture_remove_dir(in_dir("raft"));
	fclose(fopen(in_dir("raft"), "w"));
	unlink(in_dir("node.json"));
	expect_refusal("is not a directory");
	t.node = NULL;
}

static void interrupted_init_starts_fresh_again(void **state)
{
	struct err e = ERR_INIT;
	FILE *f;

	(void)state;
	stop_node();
	f = fopen(in_dir("node.json"), "w");
	fprintf(f,
	        "{\"name\":\"" NODE_NAME "\",\"id\":\"77\",\"cluster\":\"test\",\"cluster_uuid\":\"" FIXTURE_UUID
	        "\",\"profile\":\"fast\",\"address\":\"127.0.0.1:%u\",\"state\":\"initialising\"}",
	        t.config.ports.raft);
	fclose(f);
	assert_int_equal(node_start(&t.loop, &t.config, &t.node, &e), 0);
	assert_false(node_is_member(t.node));
	node_stop(t.node);
	start_node();
	assert_int_equal(call("mha_init", init_args, 3)->code, 0);
}

static void empty_directory_with_a_random_id_elects_nobody(void **state)
{
	char local[DQLITE_LOCAL_CAP];
	struct config nobody = {0};
	struct node_dqlite_params p = {.id = 0x123456789abcdef, .dir = t.dir, .latency_ms = 20, .sql = "@none", .config = &nobody};
	struct node_dqlite *d = NULL;
	struct err e = ERR_INIT;
	char address[32];
	int64_t end_ms;
	struct dq *dq;

	(void)state;
	snprintf(address, sizeof address, "127.0.0.1:%u", fixture_port(1));
	p.address = address;
	assert_int_equal(node_dqlite_start(&p, &d, &e), 0);
	dq = dq_new(&t.loop, node_dqlite_local_address(p.id, local), NULL);
	for (end_ms = clock_now_ms() + NEVER_MS; clock_now_ms() < end_ms;) {
		memset(&t.answer, 0, sizeof t.answer);
		dq_leader(dq, answer_dq_cb, &t.answer);
		answer_wait(&t.loop, &t.answer);
		assert_int_equal(t.answer.code, 0);
		assert_string_equal(t.answer.cells[0], "0");
	}
	dq_close(dq, NULL, NULL);
	node_dqlite_stop(d);
}

/* --- SQL --- */

static void values_of_every_type_come_back(void **state)
{
	struct dq_value v[5] = {{.type = DQ_INTEGER},
	                        {.type = DQ_FLOAT},
	                        {.type = DQ_TEXT},
	                        {.type = DQ_BLOB},
	                        {.type = DQ_NULL}};

	(void)state;
	v[0].u.i = INT64_MIN;
	v[1].u.f = 2.5;
	v[2].u.s.data = "h\xc3\xa4";
	v[2].u.s.len = 3;
	v[3].u.s.data = "abc";
	v[3].u.s.len = 3;
	memset(&t.answer, 0, sizeof t.answer);
	dq_query(t.dq, "SELECT ?, ?, ?, hex(?), ?", v, 5, answer_dq_cb, &t.answer);
	answer_wait(&t.loop, &t.answer);
	assert_int_equal(t.answer.code, 0);
	assert_string_equal(t.answer.cells[0], "-9223372036854775808");
	assert_string_equal(t.answer.cells[1], "2.5");
	assert_string_equal(t.answer.cells[2], "h\xc3\xa4");
	assert_string_equal(t.answer.cells[3], "616263");
	assert_string_equal(t.answer.cells[4], "NULL");
}

static void three_hundred_parameters_arrive(void **state)
{
	struct dq_value v[300];
	struct buf sql = {0};

	(void)state;
	buf_puts(&sql, "SELECT ?");
	for (int i = 0; i < 300; i++) {
		v[i].type = DQ_INTEGER;
		v[i].u.i = i;
		if (i > 0)
			buf_puts(&sql, "+?");
	}
	memset(&t.answer, 0, sizeof t.answer);
	dq_query(t.dq, sql.data, v, 300, answer_dq_cb, &t.answer);
	answer_wait(&t.loop, &t.answer);
	assert_string_equal(t.answer.cells[0], "44850");
	buf_done(&sql);
}

static void long_results_come_in_parts_and_in_order(void **state)
{
	(void)state;
	query_one("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 3000) SELECT i FROM n");
	assert_int_equal(t.answer.rows, 3000);
	assert_true(t.answer.calls > 1);
	assert_string_equal(t.answer.cells[1000], "1001");
}

static void large_values_pass_both_ways(void **state)
{
	size_t len = 3000000;
	struct dq_value v = {.type = DQ_TEXT};
	char *text = malloc(len);

	(void)state;
	memset(text, 'x', len);
	v.u.s.data = text;
	v.u.s.len = len;
	exec_ok("CREATE TABLE big (b TEXT)");
	memset(&t.answer, 0, sizeof t.answer);
	dq_exec(t.dq, "INSERT INTO big VALUES (?)", &v, 1, answer_dq_cb, &t.answer);
	answer_wait(&t.loop, &t.answer);
	assert_int_equal(t.answer.code, 0);
	assert_string_equal(query_one("SELECT length(b) FROM big"), "3000000");
	query_one("SELECT b FROM big");
	assert_int_equal(t.answer.rows, 1);
	free(text);
}

static void errors_carry_their_code_and_text(void **state)
{
	(void)state;
	assert_int_equal(fixture_exec(&t.loop, t.dq, "NONSENSE", &t.answer), 1);
	assert_non_null(strstr(t.answer.message, "syntax error"));
	exec_ok("CREATE TABLE u (i INTEGER PRIMARY KEY)");
	exec_ok("INSERT INTO u VALUES (1)");
	assert_int_equal(t.answer.changes, 1);
	assert_int_equal(fixture_exec(&t.loop, t.dq, "INSERT INTO u VALUES (1)", &t.answer), 1555);
	assert_int_equal(fixture_query(&t.loop, t.dq, "SELECT * FROM nothing", &t.answer), 1);
	assert_string_equal(query_one("SELECT count(*) FROM u"), "1"); /* the connection still serves */
}

static void requests_queue_in_order(void **state)
{
	static struct answer answers[50];

	(void)state;
	memset(answers, 0, sizeof answers);
	exec_ok("CREATE TABLE q (i INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER)");
	for (int i = 0; i < 50; i++) {
		struct dq_value v = {.type = DQ_INTEGER};

		v.u.i = i;
		dq_exec(t.dq, "INSERT INTO q (v) VALUES (?)", &v, 1, answer_dq_cb, &answers[i]);
	}
	answer_wait(&t.loop, &answers[49]);
	for (int i = 0; i < 50; i++)
		assert_true(answers[i].is_done && answers[i].code == 0);
	assert_string_equal(query_one("SELECT count(*) FROM q WHERE v = i - 1"), "50");
}

static void second_writer_is_told_busy(void **state)
{
	struct dq *other = dq_new(&t.loop, node_local_address(t.node), "config");

	(void)state;
	exec_ok("CREATE TABLE w (i)");
	exec_ok("BEGIN IMMEDIATE");
	exec_ok("INSERT INTO w VALUES (1)");
	assert_int_equal(fixture_exec(&t.loop, other, "BEGIN IMMEDIATE", &t.answer), 5);
	exec_ok("COMMIT");
	assert_int_equal(fixture_exec(&t.loop, other, "BEGIN IMMEDIATE", &t.answer), 0);
	assert_int_equal(fixture_exec(&t.loop, other, "ROLLBACK", &t.answer), 0);
	dq_close(other, NULL, NULL);
}

static void reset_rolls_the_transaction_back(void **state)
{
	static struct answer pending;

	(void)state;
	memset(&pending, 0, sizeof pending);
	exec_ok("CREATE TABLE r (i)");
	exec_ok("BEGIN IMMEDIATE");
	exec_ok("INSERT INTO r VALUES (1)");
	dq_exec(t.dq, "INSERT INTO r VALUES (2)", NULL, 0, answer_dq_cb, &pending);
	dq_reset(t.dq);
	assert_false(pending.is_done);
	assert_string_equal(query_one("SELECT count(*) FROM r"), "0");
	assert_true(pending.is_done);
	assert_int_equal(pending.code, DQ_DISCONNECTED);
}

static void closing_completes_what_waits(void **state)
{
	static struct answer a;
	struct dq *other = dq_new(&t.loop, node_local_address(t.node), "config");
	bool done = false;

	(void)state;
	memset(&a, 0, sizeof a);
	dq_exec(other, "SELECT 1", NULL, 0, answer_dq_cb, &a);
	dq_close(other, set_cb, &done);
	assert_false(a.is_done);
	assert_true(fixture_wait(&t.loop, is_set, &done, 5000));
	assert_int_equal(a.code, DQ_DISCONNECTED);
}

static void statement_after_a_lost_transaction_is_not_run(void **state)
{
	struct err e = ERR_INIT;
	(void)state;
	exec_ok("CREATE TABLE l (i)");
	exec_ok("BEGIN IMMEDIATE");
	exec_ok("INSERT INTO l VALUES (1)");
	/* The node goes away and comes back between two statements; the client is the same. */
	node_stop(t.node);
	assert_int_equal(node_start(&t.loop, &t.config, &t.node, &e), 0);
	assert_true(fixture_wait(&t.loop, is_leader, NULL, 10000));
	assert_int_equal(fixture_exec(&t.loop, t.dq, "INSERT INTO l VALUES (2)", &t.answer), DQ_DISCONNECTED);
	assert_false(t.answer.was_sent);
	assert_string_equal(query_one("SELECT count(*) FROM l"), "0");
}

static void data_survives_a_restart(void **state)
{
	(void)state;
	exec_ok("CREATE TABLE s (i)");
	exec_ok("INSERT INTO s VALUES (42)");
	stop_node();
	start_node();
	assert_true(node_is_member(t.node));
	assert_true(fixture_wait(&t.loop, is_leader, NULL, 10000));
	assert_string_equal(query_one("SELECT i FROM s"), "42");
}

static void network_front_serves_the_same_node(void **state)
{
	struct dq *tcp = dq_new(&t.loop, node_raft_address(t.node), "config");

	(void)state;
	exec_ok("CREATE TABLE f (i)");
	assert_int_equal(fixture_exec(&t.loop, tcp, "INSERT INTO f VALUES (1)", &t.answer), 0);
	assert_string_equal(query_one("SELECT count(*) FROM f"), "1");
	assert_int_equal(fixture_query(&t.loop, tcp,
	                               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000) SELECT i "
	                               "FROM n",
	                               &t.answer),
	                 0);
	assert_int_equal(t.answer.rows, 20000);
	dq_close(tcp, NULL, NULL);
}

static void nobody_at_the_address_is_told_within_the_deadline(void **state)
{
	struct dq *tcp = dq_new(&t.loop, "127.0.0.1:1", NULL);
	int64_t start_ms = clock_now_ms();

	(void)state;
	memset(&t.answer, 0, sizeof t.answer);
	dq_leader(tcp, answer_dq_cb, &t.answer);
	answer_wait(&t.loop, &t.answer);
	assert_int_equal(t.answer.code, DQ_DISCONNECTED);
	assert_false(t.answer.was_sent);
	assert_true(clock_now_ms() - start_ms < 5000);
	dq_close(tcp, NULL, NULL);
}

/* --- a second node --- */

static bool knows_the_leader(void *arg)
{
	const struct node_leader *l = node_leader(arg);

	return l->id == node_id(t.node) && strcmp(l->address, node_raft_address(t.node)) == 0 && !l->is_self;
}

static void standby_learns_the_leader_from_the_others(void **state)
{
	struct config_node nodes[] = {{.name = "n2", .address = "127.0.0.2", .raft_port = fixture_port(2)},
	                              {.name = NODE_NAME, .address = "127.0.0.1", .raft_port = fixture_port(0)}};
	const char *args[2];
	struct config second;
	struct node *n = NULL;
	struct err e = ERR_INIT;
	char id[24];

	(void)state;
	fixture_config(&second, "n2", "127.0.0.2", fixture_port(2), t.dir);
	second.nodes = nodes;
	second.nodes_count = 2;
	assert_int_equal(node_start(&t.loop, &second, &n, &e), 0);
	assert_int_equal(node_join(n, FIXTURE_UUID, "fast", &e), 0);
	snprintf(id, sizeof id, "%llu", (unsigned long long)node_id(n));
	args[0] = id;
	args[1] = node_raft_address(n);
	assert_int_equal(call("mha_add", args, 2)->code, 0);
	args[1] = "standby";
	assert_int_equal(call("mha_assign", args, 2)->code, 0);
	assert_int_equal(show("members")->rows, 2);
	assert_true(fixture_wait(&t.loop, knows_the_leader, n, 20000));
	node_stop(n);
	uv_run(&t.loop, UV_RUN_NOWAIT);
	fixture_config_done(&second);
}

/* --- migrations --- */

struct migrated {
	bool is_done;
	struct err e;
	unsigned applied;
};

static void migrated_cb(void *arg, const struct err *e, unsigned applied)
{
	struct migrated *m = arg;

	m->e = *e;
	m->applied = applied;
	m->is_done = true;
}

static struct migrated migrate(const struct migration *list)
{
	struct migrated m = {0};

	migrate_run(t.dq, list, migrated_cb, &m);
	assert_true(fixture_wait(&t.loop, is_set, &m.is_done, 10000));
	return m;
}

static void failing_migration_leaves_nothing_behind(void **state)
{
	static const struct migration bad[] = {
	        {1, "good", "CREATE TABLE m1 (i);\n-- a comment at the end\n"},
	        {2, "bad", "CREATE TABLE m2 (i); INSERT INTO m2 VALUES (1); INSERT INTO nothing VALUES (1);"},
	        {0, NULL, NULL},
	};
	static const struct migration good[] = {{1, "good", "oops"}, {2, "better", "CREATE TABLE m2 (i)"}, {0, NULL, NULL}};
	struct migrated m;

	(void)state;
	m = migrate(bad);
	assert_int_equal(m.e.code, ERR_SQL);
	assert_int_equal(m.applied, 1);
	assert_non_null(strstr(m.e.text, "2 (bad)"));
	assert_string_equal(query_one("SELECT count(*) FROM sqlite_schema WHERE name = 'm2'"), "0");
	m = migrate(good);
	assert_int_equal(m.e.code, 0);
	assert_int_equal(m.applied, 1);
	assert_string_equal(query_one("SELECT group_concat(version || name) FROM schema_version"), "1good,2better");
}

static void newer_store_is_refused(void **state)
{
	static const struct migration one[] = {{1, "one", "CREATE TABLE m1 (i)"}, {0, NULL, NULL}};
	struct migrated m;

	(void)state;
	m = migrate(one);
	assert_int_equal(m.e.code, 0);
	exec_ok("INSERT INTO schema_version VALUES (2, 'future', 0)");
	m = migrate(one);
	assert_int_equal(m.e.code, ERR_REFUSED);
	assert_non_null(strstr(m.e.text, "newer program"));
}

/* --- lease --- */

static void lease_counts_only_while_leader(void **state)
{
	(void)state;
	assert_false(admin_lease_is_valid(t.admin));
	admin_set_lease(t.admin, 5, clock_now_ns() + 1000 * CLOCK_NS_PER_MS);
	assert_true(admin_lease_is_valid(t.admin));
	assert_false(admin_lease_seen_since_leader(t.admin));
}

static void lease_seen_once_is_enough_until_leadership_changes(void **state)
{
	(void)state;
	assert_false(admin_lease_seen_since_leader(t.admin));
	admin_set_lease(t.admin, 5, clock_now_ns() + 1000 * CLOCK_NS_PER_MS);
	assert_true(admin_lease_seen_since_leader(t.admin));
	admin_set_lease(t.admin, 4, clock_now_ns() + 9000 * CLOCK_NS_PER_MS); /* an older controller may say nothing */
	admin_set_lease(t.admin, 5, 0);
	assert_false(admin_lease_is_valid(t.admin));
	assert_true(admin_lease_seen_since_leader(t.admin));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define FRESH(test)  cmocka_unit_test_setup_teardown(test, setup_fresh, teardown)
#define MEMBER(test) cmocka_unit_test_setup_teardown(test, setup_member, teardown)
	        FRESH(fresh_node_says_that_it_is_not_initialised),
	        FRESH(bad_arguments_leave_a_node_fresh),
	        FRESH(init_makes_a_leader_with_the_newest_schema),
	        FRESH(joined_node_waits_and_never_elects_itself),
	        FRESH(interrupted_init_starts_fresh_again),
	        FRESH(empty_directory_with_a_random_id_elects_nobody),
	        FRESH(file_in_place_of_the_directory_is_named),
	        MEMBER(directory_in_use_is_refused),
	        MEMBER(wiped_member_is_refused),
	        MEMBER(data_without_identity_is_refused),
	        MEMBER(other_names_and_addresses_are_refused),
	        MEMBER(port_in_use_is_named),
	        MEMBER(values_of_every_type_come_back),
	        MEMBER(three_hundred_parameters_arrive),
	        MEMBER(long_results_come_in_parts_and_in_order),
	        MEMBER(large_values_pass_both_ways),
	        MEMBER(errors_carry_their_code_and_text),
	        MEMBER(requests_queue_in_order),
	        MEMBER(second_writer_is_told_busy),
	        MEMBER(reset_rolls_the_transaction_back),
	        MEMBER(closing_completes_what_waits),
	        MEMBER(statement_after_a_lost_transaction_is_not_run),
	        MEMBER(data_survives_a_restart),
	        MEMBER(network_front_serves_the_same_node),
	        MEMBER(nobody_at_the_address_is_told_within_the_deadline),
	        MEMBER(standby_learns_the_leader_from_the_others),
	        MEMBER(failing_migration_leaves_nothing_behind),
	        MEMBER(newer_store_is_refused),
	        FRESH(lease_counts_only_while_leader),
	        MEMBER(lease_seen_once_is_enough_until_leadership_changes),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
