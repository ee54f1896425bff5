/* Three real nodes in processes of their own on loopback addresses: the leader is killed again and again, and nothing that was
 * acknowledged may be missing afterwards. The parent is a plain client that reaches the nodes through their network fronts. */
#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/node.h"
#include "store/node_identity.h"
#include "store/stepdown.h"
#include "store_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NODES            3
#define ROUNDS           4
#define WRITES_PER_ROUND 40
#define ELECTION_GOAL_MS 1000 /* at the fast profile; the best of the rounds must meet it, whatever else the machine does */
#define LIMIT_MS         30000
#define WRITES_MAX       4000
#define PACE_US          5000 /* between writes that are being refused */

struct member {
	pid_t pid; /* 0: not running */
	uint64_t id;
	char name[16], host[24], address[40];
	struct dq *cluster, *sql;
};

static struct {
	char dir[64];
	uint16_t port;
	uv_loop_t loop;
	struct member nodes[NODES];
	struct answer answer;
	bool is_acknowledged[WRITES_MAX];
	int next_write;
} t;

/* --- the child: a node, and nothing else --- */

enum start { START_INIT, START_JOIN, START_AGAIN };

struct child {
	uv_loop_t loop;
	uv_signal_t term;
	struct config config;
	struct node *node;
};

static void stepped_down_cb(void *arg)
{
	struct child *c = arg;

	node_stop(c->node);
	_exit(0);
}

static void term_cb(uv_signal_t *handle, int number)
{
	struct child *c = handle->data;

	(void)number;
	stepdown_run(&c->loop, c->node, &c->config, stepped_down_cb, c);
}

static void run_node(const struct member *m, enum start how)
{
	static struct child c;
	struct err e = ERR_INIT;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fixture_config(&c.config, m->name, m->host, t.port, t.dir);
	uv_loop_init(&c.loop);
	rc = node_start(&c.loop, &c.config, &c.node, &e);
	if (rc == 0 && how == START_INIT)
		rc = node_init(c.node, "test", FIXTURE_UUID, "fast", &e);
	if (rc == 0 && how == START_JOIN)
		rc = node_join(c.node, FIXTURE_UUID, "fast", &e);
	if (rc != 0) {
		fprintf(stderr, "%s: %s\n", m->name, e.text);
		_exit(3);
	}
	uv_signal_init(&c.loop, &c.term);
	c.term.data = &c;
	uv_signal_start(&c.term, term_cb, SIGTERM);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	_exit(4);
}

/* --- the parent --- */

static void start_member(struct member *m, enum start how)
{
	snprintf(m->address, sizeof m->address, "%s:%u", m->host, t.port);
	m->pid = fork(); /* no thread runs here but this one */
	assert_true(m->pid >= 0);
	if (m->pid == 0)
		run_node(m, how);
}

static void kill_member(struct member *m)
{
	int status;

	if (m->pid == 0)
		return;
	assert_int_equal(waitpid(m->pid, &status, WNOHANG), 0); /* it must not have died by itself */
	kill(m->pid, SIGKILL);
	assert_int_equal(waitpid(m->pid, &status, 0), m->pid);
	m->pid = 0;
}

static void ask(struct dq *d, void (*request)(struct dq *, dq_cb, void *))
{
	memset(&t.answer, 0, sizeof t.answer);
	request(d, answer_dq_cb, &t.answer);
	answer_wait(&t.loop, &t.answer);
}

/* The one that says of itself that it leads; NULL when none does just now. */
static struct member *find_leader(void)
{
	for (int i = 0; i < NODES; i++) {
		struct member *m = &t.nodes[i];

		if (m->pid == 0)
			continue;
		ask(m->cluster, dq_leader);
		if (t.answer.code == 0 && strtoull(t.answer.cells[0], NULL, 10) == m->id)
			return m;
	}
	return NULL;
}

static struct member *wait_for_leader(void)
{
	int64_t end_ms = clock_now_ms() + LIMIT_MS;
	struct member *leader = NULL;

	while (leader == NULL && clock_now_ms() < end_ms) {
		leader = find_leader();
		if (leader == NULL)
			usleep(2000);
	}
	if (leader == NULL)
		fail_msg("no leader within %d ms", LIMIT_MS);
	return leader;
}

static void read_id(struct member *m)
{
	char path[160];
	struct identity id;
	struct err e = ERR_INIT;
	int64_t end_ms = clock_now_ms() + LIMIT_MS;

	snprintf(path, sizeof path, "%s/%s/store/node.json", t.dir, m->name);
	while (identity_load(path, &id, &e) != 0 && clock_now_ms() < end_ms)
		usleep(2000);
	m->id = id.id;
}

/* Membership changes answer BUSY while another is under way, and the new node may not listen yet. */
static void change(struct member *leader, struct member *m, bool is_assign)
{
	int64_t end_ms = clock_now_ms() + LIMIT_MS;

	do {
		memset(&t.answer, 0, sizeof t.answer);
		if (is_assign)
			dq_assign(leader->cluster, m->id, 0, answer_dq_cb, &t.answer);
		else
			dq_add(leader->cluster, m->id, m->address, answer_dq_cb, &t.answer);
		answer_wait(&t.loop, &t.answer);
	} while (t.answer.code != 0 && clock_now_ms() < end_ms);
	if (t.answer.code != 0)
		fail_msg("%s %s: %d %s", is_assign ? "assign" : "add", m->name, t.answer.code, t.answer.message);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	fixture_make_dir(t.dir, sizeof t.dir);
	t.port = fixture_port(0);
	uv_loop_init(&t.loop);
	for (int i = 0; i < NODES; i++) {
		struct member *m = &t.nodes[i];

		snprintf(m->name, sizeof m->name, "n%d", i + 1);
		snprintf(m->host, sizeof m->host, "127.0.0.%d", 11 + i);
		start_member(m, i == 0 ? START_INIT : START_JOIN);
		m->cluster = dq_new(&t.loop, m->address, NULL);
		m->sql = dq_new(&t.loop, m->address, "config");
		read_id(m);
	}
	assert_ptr_equal(wait_for_leader(), &t.nodes[0]);
	for (int i = 1; i < NODES; i++) {
		change(&t.nodes[0], &t.nodes[i], false);
		change(&t.nodes[0], &t.nodes[i], true);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < NODES; i++) {
		kill_member(&t.nodes[i]);
		dq_close(t.nodes[i].cluster, NULL, NULL);
		dq_close(t.nodes[i].sql, NULL, NULL);
	}
	uv_run(&t.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&t.loop), 0);
	fixture_remove_dir(t.dir);
	return 0;
}

/* A row of its own; true when it was acknowledged. */
static bool write_one(struct member *leader)
{
	char sql[80];
	int number = t.next_write++;

	assert_true(number < WRITES_MAX);
	snprintf(sql, sizeof sql, "INSERT INTO w (i) VALUES (%d)", number);
	t.is_acknowledged[number] = fixture_exec(&t.loop, leader->sql, sql, &t.answer) == 0;
	return t.is_acknowledged[number];
}

static void write_some(struct member *leader)
{
	for (int i = 0; i < WRITES_PER_ROUND; i++)
		write_one(leader);
}

/* One more write is in flight while the leader dies. Returns the milliseconds until another leader has acknowledged a write. */
static int64_t kill_leader_and_write(struct member *leader)
{
	static struct answer in_flight;
	int number = t.next_write++;
	int64_t start_ms = clock_now_ms();
	char sql[80];

	memset(&in_flight, 0, sizeof in_flight);
	snprintf(sql, sizeof sql, "INSERT INTO w (i) VALUES (%d)", number);
	dq_exec(leader->sql, sql, NULL, 0, answer_dq_cb, &in_flight);
	kill_member(leader);
	answer_wait(&t.loop, &in_flight);
	t.is_acknowledged[number] = in_flight.code == 0;
	while (!write_one(wait_for_leader())) {
		if (clock_now_ms() - start_ms > LIMIT_MS)
			fail_msg("no write within %d ms: %d %s", LIMIT_MS, t.answer.code, t.answer.message);
		usleep(PACE_US);
	}
	return clock_now_ms() - start_ms;
}

static void assert_nothing_lost(struct member *leader)
{
	int missing = 0;

	for (int i = 0; i < t.next_write; i++) {
		char sql[80];

		if (!t.is_acknowledged[i])
			continue;
		snprintf(sql, sizeof sql, "SELECT count(*) FROM w WHERE i = %d", i);
		assert_int_equal(fixture_query(&t.loop, leader->sql, sql, &t.answer), 0);
		if (strcmp(t.answer.cells[0], "1") != 0)
			missing++;
	}
	assert_int_equal(missing, 0);
}

/* Up to date: what the leader has, this node's own copy must be able to take over. Proved by making it the leader. */
static void transfer_to(struct member *m)
{
	int64_t end_ms = clock_now_ms() + LIMIT_MS;

	while (find_leader() != m && clock_now_ms() < end_ms) {
		struct member *leader = wait_for_leader();

		memset(&t.answer, 0, sizeof t.answer);
		dq_transfer(leader->cluster, m->id, answer_dq_cb, &t.answer);
		answer_wait(&t.loop, &t.answer);
	}
	assert_ptr_equal(wait_for_leader(), m);
}

static void killed_leaders_lose_nothing(void **state)
{
	int64_t best_ms = LIMIT_MS;
	struct member *leader = &t.nodes[0];

	(void)state;
	assert_int_equal(fixture_exec(&t.loop, leader->sql, "CREATE TABLE w (i INTEGER PRIMARY KEY)", &t.answer), 0);
	for (int round = 0; round < ROUNDS; round++) {
		int64_t ms;

		leader = wait_for_leader();
		write_some(leader);
		ms = kill_leader_and_write(leader);
		print_message("round %d: %s killed, the next write was acknowledged after %lld ms\n", round, leader->name,
		              (long long)ms);
		best_ms = ms < best_ms ? ms : best_ms;
		assert_nothing_lost(wait_for_leader());
		start_member(leader, START_AGAIN);
	}
	for (int i = 0; i < NODES; i++) {
		transfer_to(&t.nodes[i]);
		assert_true(write_one(&t.nodes[i]));
		assert_nothing_lost(&t.nodes[i]);
	}
	assert_true(best_ms < ELECTION_GOAL_MS);
}

static void clients_outlive_a_leadership_that_leaves_and_returns(void **state)
{
	struct member *a = wait_for_leader(), *b = a == &t.nodes[1] ? &t.nodes[2] : &t.nodes[1];
	struct dq *in_tx = dq_new(&t.loop, a->address, "config");
	struct dq *early = dq_new(&t.loop, b->address, "config");

	(void)state;
	assert_int_equal(fixture_exec(&t.loop, a->sql, "CREATE TABLE w (i INTEGER PRIMARY KEY)", &t.answer), 0);
	assert_int_equal(fixture_exec(&t.loop, early, "INSERT INTO w VALUES (1)", &t.answer), DQ_NOT_LEADER);
	assert_int_equal(fixture_exec(&t.loop, in_tx, "BEGIN IMMEDIATE", &t.answer), 0);
	assert_int_equal(fixture_exec(&t.loop, in_tx, "INSERT INTO w VALUES (2)", &t.answer), 0);
	transfer_to(b);
	assert_int_equal(fixture_exec(&t.loop, a->sql, "INSERT INTO w VALUES (3)", &t.answer), DQ_NOT_LEADER);
	assert_int_equal(fixture_exec(&t.loop, early, "INSERT INTO w VALUES (4)", &t.answer), 0);
	transfer_to(a);
	assert_int_equal(fixture_exec(&t.loop, a->sql, "INSERT INTO w VALUES (5)", &t.answer), 0);
	/* The transaction ended with the first leadership: its next statement must not run outside it. */
	assert_int_not_equal(fixture_exec(&t.loop, in_tx, "INSERT INTO w VALUES (6)", &t.answer), 0);
	assert_int_equal(fixture_query(&t.loop, a->sql, "SELECT group_concat(i) FROM w", &t.answer), 0);
	assert_string_equal(t.answer.cells[0], "4,5");
	assert_int_equal(fixture_exec(&t.loop, in_tx, "INSERT INTO w VALUES (7)", &t.answer), 0);
	dq_close(in_tx, NULL, NULL);
	dq_close(early, NULL, NULL);
}

static void minority_acknowledges_nothing(void **state)
{
	struct member *leader = wait_for_leader();
	int64_t end_ms = clock_now_ms() + 2000;

	(void)state;
	assert_int_equal(fixture_exec(&t.loop, leader->sql, "CREATE TABLE w (i INTEGER PRIMARY KEY)", &t.answer), 0);
	for (int i = 0; i < NODES; i++)
		if (&t.nodes[i] != leader)
			kill_member(&t.nodes[i]);
	while (clock_now_ms() < end_ms) {
		assert_false(write_one(leader));
		usleep(PACE_US);
	}
	for (int i = 0; i < NODES; i++)
		if (&t.nodes[i] != leader)
			start_member(&t.nodes[i], START_AGAIN);
	while (!write_one(wait_for_leader())) {
		assert_true(clock_now_ms() - end_ms < LIMIT_MS);
		usleep(PACE_US);
	}
}

static void clean_stop_hands_the_leadership_over(void **state)
{
	struct member *old = wait_for_leader();
	int64_t start_ms;
	int status;

	(void)state;
	assert_int_equal(fixture_exec(&t.loop, old->sql, "CREATE TABLE w (i INTEGER PRIMARY KEY)", &t.answer), 0);
	write_some(old);
	start_ms = clock_now_ms();
	kill(old->pid, SIGTERM);
	assert_int_equal(waitpid(old->pid, &status, 0), old->pid);
	old->pid = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	while (!write_one(wait_for_leader())) {
		assert_true(clock_now_ms() - start_ms < LIMIT_MS);
		usleep(PACE_US);
	}
	print_message("stopped cleanly: the next write was acknowledged after %lld ms\n",
	              (long long)(clock_now_ms() - start_ms));
	assert_nothing_lost(wait_for_leader());
}

/* The node whose data vanished refuses to start, and no second cluster comes of it. */
static void wiped_voter_does_not_come_back(void **state)
{
	struct member *wiped = &t.nodes[2];
	char path[160];
	int status;

	(void)state;
	kill_member(wiped);
	snprintf(path, sizeof path, "%s/%s/store/raft", t.dir, wiped->name);
	fixture_remove_dir(path);
	start_member(wiped, START_AGAIN);
	assert_int_equal(waitpid(wiped->pid, &status, 0), wiped->pid);
	wiped->pid = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(killed_leaders_lose_nothing, setup, teardown),
	        cmocka_unit_test_setup_teardown(clients_outlive_a_leadership_that_leaves_and_returns, setup, teardown),
	        cmocka_unit_test_setup_teardown(minority_acknowledges_nothing, setup, teardown),
	        cmocka_unit_test_setup_teardown(clean_stop_hands_the_leadership_over, setup, teardown),
	        cmocka_unit_test_setup_teardown(wiped_voter_does_not_come_back, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
