/* Against a real PostgreSQL, which speaks the same protocol as the store. */
#include "core/run/store_session.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/spawn.h"
#include "core/base/str.h"

#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define LIMIT_MS 20000
#define PORT     5999

static char dir[64], bin[200], data[100];
static const char *os_user; /* NULL: as the caller */
static struct config config;
static struct spawned server;
static uv_loop_t loop;
static struct store_session *session;

static struct {
	unsigned connects, disconnects, notifies, answers;
	char reason[256], channel[64], payload[64];
	unsigned answers_at_disconnect;
} seen;

struct answer {
	bool is_there;
	enum store_outcome outcome;
	char value[64], sqlstate[8], message[256];
	int rows;
	unsigned order;
};

static bool run_program(const char *const *argv)
{
	struct spawn_opts o = SPAWN_INIT;
	struct spawned s;
	struct err e = ERR_INIT;
	int status = 1;

	o.argv = argv;
	o.user = os_user;
	o.cwd = "/";
	if (spawn_start(&o, &s, &e) != ERR_OK) {
		print_message("%s\n", e.text);
		return false;
	}
	waitpid(s.pid, &status, 0);
	close(s.pidfd);
	return status == 0;
}

static void start_server(void)
{
	char program[256], port[8];
	const char *argv[] = {program,
	                      "-D",
	                      data,
	                      "-k",
	                      dir,
	                      "-p",
	                      port,
	                      "-c",
	                      "listen_addresses=",
	                      "-c",
	                      "fsync=off",
	                      "-c",
	                      "log_min_messages=fatal",
	                      NULL};
	struct spawn_opts o = SPAWN_INIT;
	struct err e = ERR_INIT;

	snprintf(program, sizeof program, "%s/postgres", bin);
	snprintf(port, sizeof port, "%d", PORT);
	o.argv = argv;
	o.user = os_user;
	o.cwd = "/";
	o.parent_death_signal = SIGQUIT;
	if (spawn_start(&o, &server, &e) != ERR_OK)
		fail_msg("%s", e.text);
}

static void stop_server(int signal_number)
{
	if (server.pid == 0)
		return;
	kill(server.pid, signal_number);
	waitpid(server.pid, NULL, 0);
	close(server.pidfd);
	server.pid = 0;
}

static bool find_server(void)
{
	glob_t g;

	if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &g) != 0)
		return false;
	str_copy(bin, sizeof bin, g.gl_pathv[g.gl_pathc - 1]);
	*strrchr(bin, '/') = '\0';
	globfree(&g);
	if (geteuid() == 0) {
		os_user = "postgres";
		return getpwnam(os_user) != NULL;
	}
	return true;
}

static bool make_server(void)
{
	char program[256];
	const char *argv[] = {program, "-D", data, "-A", "trust", "-U", "tester", "--no-sync", "--locale=C", NULL};
	struct passwd *pw;

	str_copy(dir, sizeof dir, "/tmp/mha-session-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return false;
	pw = os_user != NULL ? getpwnam(os_user) : NULL;
	if (pw != NULL && chown(dir, pw->pw_uid, pw->pw_gid) != 0)
		return false;
	chmod(dir, 0755);
	snprintf(data, sizeof data, "%s/data", dir);
	snprintf(program, sizeof program, "%s/initdb", bin);
	return run_program(argv);
}

static int remove_server(void **state)
{
	const char *argv[] = {"/bin/rm", "-rf", dir, NULL};

	(void)state;
	stop_server(SIGQUIT);
	os_user = NULL;
	return run_program(argv) ? 0 : -1;
}

static void on_connected(void *arg)
{
	(void)arg;
	seen.connects++;
}

static void on_disconnected(void *arg, const char *reason)
{
	(void)arg;
	seen.disconnects++;
	seen.answers_at_disconnect = seen.answers;
	str_copy(seen.reason, sizeof seen.reason, reason);
}

static void on_notify(void *arg, const char *channel, const char *payload)
{
	(void)arg;
	seen.notifies++;
	str_copy(seen.channel, sizeof seen.channel, channel);
	str_copy(seen.payload, sizeof seen.payload, payload);
}

static void on_answer(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct answer *a = arg;

	assert_false(a->is_there);
	assert_true((res != NULL) == (outcome == STORE_DONE));
	a->is_there = true;
	a->outcome = outcome;
	a->order = ++seen.answers;
	if (res != NULL) {
		a->rows = PQntuples(res);
		if (a->rows > 0)
			str_copy(a->value, sizeof a->value, PQgetvalue(res, 0, 0));
	}
	str_copy(a->sqlstate, sizeof a->sqlstate, sqlstate);
	str_copy(a->message, sizeof a->message, message);
}

static int start(void **state)
{
	struct store_handlers h = {NULL, on_connected, on_disconnected, on_notify};

	(void)state;
	memset(&seen, 0, sizeof seen);
	setenv("PGUSER", "tester", 1);
	config.run_dir = dir;
	config.ports.sql = PORT;
	uv_loop_init(&loop);
	session = store_session_new(&loop, &config, "postgres", &h);
	return 0;
}

static int end(void **state)
{
	int64_t until = clock_now_ms() + LIMIT_MS;

	(void)state;
	store_session_close(session);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0 && clock_now_ms() < until)
		usleep(1000);
	return uv_loop_close(&loop);
}

static bool run_until(const unsigned *counter, unsigned wanted)
{
	int64_t until = clock_now_ms() + LIMIT_MS;

	while (*counter < wanted && clock_now_ms() < until) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(300);
	}
	return *counter >= wanted;
}

static void query(const char *sql, int deadline_ms, struct answer *a)
{
	memset(a, 0, sizeof *a);
	store_session_query(session, sql, deadline_ms, on_answer, a);
	assert_false(a->is_there); /* never from inside the call */
}

static void connect_now(void)
{
	if (server.pid == 0)
		start_server();
	assert_true(run_until(&seen.connects, 1));
	assert_true(store_session_is_connected(session));
}

static void before_it_is_connected_a_query_fails_with_08003(void **state)
{
	struct answer a;

	(void)state;
	stop_server(SIGINT);
	query("SELECT 1", 1000, &a);
	assert_true(run_until(&seen.answers, 1));
	assert_int_equal(a.outcome, STORE_FAILED);
	assert_string_equal(a.sqlstate, "08003");
	assert_non_null(strstr(a.message, "not connected to the store"));
}

static void it_connects_by_itself_when_the_server_comes(void **state)
{
	int64_t begun;

	(void)state;
	stop_server(SIGINT);
	(void)run_until(&seen.connects, 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	begun = clock_now_ms();
	connect_now();
	print_message("connected %d ms after the server was started\n", (int)(clock_now_ms() - begun));
	assert_int_equal(seen.disconnects, 0);
}

static void statements_are_answered_in_their_order(void **state)
{
	struct answer a[4];

	(void)state;
	connect_now();
	query("SELECT 'one'", 5000, &a[0]);
	query("SELECT 1; SELECT 'two'", 5000, &a[1]);
	query("SELECT current_setting('application_name')", 5000, &a[2]);
	query("SELECT generate_series(1, 50000)", 5000, &a[3]);
	assert_true(run_until(&seen.answers, 4));
	assert_int_equal(a[0].outcome, STORE_DONE);
	assert_string_equal(a[0].value, "one");
	assert_string_equal(a[1].value, "two");
	assert_string_equal(a[2].value, "mha-control");
	assert_int_equal(a[3].rows, 50000);
	assert_true(a[0].order < a[1].order && a[1].order < a[2].order && a[2].order < a[3].order);
}

static void large_text_is_sent_whole(void **state)
{
	size_t len = 8 * 1024 * 1024;
	struct buf sql = {0};
	struct answer a;

	(void)state;
	buf_puts(&sql, "SELECT length('");
	while (sql.len < len)
		buf_puts(&sql, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	buf_puts(&sql, "')");
	connect_now();
	query(sql.data, 20000, &a);
	assert_true(run_until(&seen.answers, 1));
	assert_int_equal(a.outcome, STORE_DONE);
	assert_int_equal(strtoul(a.value, NULL, 10), sql.len - strlen("SELECT length('')"));
	buf_done(&sql);
}

static void failed_statement_has_its_sqlstate_and_the_next_one_works(void **state)
{
	struct answer a, b, c;

	(void)state;
	connect_now();
	query("SELECT 1; SELECT * FROM no_such_table", 5000, &a);
	query("DO $$ BEGIN RAISE EXCEPTION 'unsure' USING ERRCODE='08007'; END $$", 5000, &b);
	query("SELECT 'fine'", 5000, &c);
	assert_true(run_until(&seen.answers, 3));
	assert_int_equal(a.outcome, STORE_FAILED);
	assert_string_equal(a.sqlstate, "42P01");
	assert_string_equal(a.message, "relation \"no_such_table\" does not exist");
	assert_int_equal(b.outcome, STORE_UNKNOWN);
	assert_string_equal(b.message, "unsure");
	assert_string_equal(c.value, "fine");
}

static void notify_arrives(void **state)
{
	struct answer a, b;

	(void)state;
	connect_now();
	query("LISTEN mha_leader", 5000, &a);
	query("NOTIFY mha_leader, '{\"id\":\"1\"}'", 5000, &b);
	assert_true(run_until(&seen.notifies, 1));
	assert_string_equal(seen.channel, "mha_leader");
	assert_string_equal(seen.payload, "{\"id\":\"1\"}");
	assert_true(run_until(&seen.answers, 2));
}

static void passed_deadline_is_unknown_and_the_session_comes_back(void **state)
{
	struct answer a, b;
	int64_t begun;

	(void)state;
	connect_now();
	begun = clock_now_ms();
	query("SELECT pg_sleep(10)", 200, &a);
	query("SELECT 1", 5000, &b);
	assert_true(run_until(&seen.answers, 2));
	assert_true(clock_now_ms() - begun < 5000);
	assert_int_equal(a.outcome, STORE_UNKNOWN);
	assert_non_null(strstr(a.message, "the store did not answer in time"));
	assert_int_equal(b.outcome, STORE_FAILED); /* it was never sent */
	assert_string_equal(b.sqlstate, "08003");
	assert_true(run_until(&seen.disconnects, 1));
	assert_int_equal(seen.answers_at_disconnect, 2);
	assert_true(run_until(&seen.connects, 2));
	query("SELECT 'again'", 5000, &b);
	assert_true(run_until(&seen.answers, 3));
	assert_string_equal(b.value, "again");
}

static void killed_server_is_unknown_for_the_statement_in_flight(void **state)
{
	struct answer a;
	int64_t begun;

	(void)state;
	connect_now();
	query("SELECT pg_sleep(10)", 15000, &a);
	uv_run(&loop, UV_RUN_NOWAIT);
	stop_server(SIGQUIT);
	begun = clock_now_ms();
	assert_true(run_until(&seen.disconnects, 1));
	assert_true(clock_now_ms() - begun < 5000); /* not by the statement's deadline */
	assert_true(a.is_there);
	assert_int_equal(a.outcome, STORE_UNKNOWN);
	begun = clock_now_ms();
	start_server();
	assert_true(run_until(&seen.connects, 2));
	print_message("connected again %d ms after the server was started\n", (int)(clock_now_ms() - begun));
}

static void frozen_server_is_given_up_after_a_second(void **state)
{
	char path[108];
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int64_t begun = clock_now_ms();
	struct answer a;

	(void)state;
	stop_server(SIGINT);
	/* It accepts (the kernel does) and never says a word. */
	snprintf(path, sizeof path, "%s/.s.PGSQL.%d", dir, PORT);
	str_copy(sa.sun_path, sizeof sa.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	chmod(path, 0777);
	assert_int_equal(listen(fd, 5), 0);
	while (clock_now_ms() - begun < 300) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(500);
	}
	query("SELECT 1", 100, &a);
	assert_true(run_until(&seen.answers, 1));
	assert_string_equal(a.sqlstate, "08003");
	/* The mute one stays; the attempt that hangs in it must end by its own deadline for the real one to be found. */
	unlink(path);
	connect_now();
	assert_int_equal(seen.disconnects, 0);
	close(fd);
}

static void close_answers_what_is_pending(void **state)
{
	struct answer a, b;

	(void)state;
	connect_now();
	query("SELECT pg_sleep(10)", 15000, &a);
	query("SELECT 1", 15000, &b);
	store_session_close(session);
	assert_int_equal(a.outcome, STORE_UNKNOWN);
	assert_int_equal(b.outcome, STORE_UNKNOWN);
	assert_true(a.is_there && b.is_there);
	assert_int_equal(seen.disconnects, 0);
	session = NULL;
}

#define test(f) cmocka_unit_test_setup_teardown(f, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(before_it_is_connected_a_query_fails_with_08003),
	        test(it_connects_by_itself_when_the_server_comes),
	        test(statements_are_answered_in_their_order),
	        test(large_text_is_sent_whole),
	        test(failed_statement_has_its_sqlstate_and_the_next_one_works),
	        test(notify_arrives),
	        test(passed_deadline_is_unknown_and_the_session_comes_back),
	        test(killed_server_is_unknown_for_the_statement_in_flight),
	        test(frozen_server_is_given_up_after_a_second),
	        test(close_answers_what_is_pending),
	};

	log_init("test_store_session", "");
	if (!find_server()) {
		print_message("SKIPPED: no PostgreSQL server programs on this machine: install postgresql\n");
		return 0;
	}
	if (!make_server()) {
		print_error("initdb failed\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, remove_server);
}
