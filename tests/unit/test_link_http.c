#include "link_fixture.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define HOST  "127.7.1.1"
#define CLOSE "Host: x\r\nConnection: close\r\n"

static uv_loop_t loop;
static struct fixture_node node;

static int start_loop(void **state)
{
	static const char *const addresses[] = {HOST};

	(void)state;
	uv_loop_init(&loop);
	fixture_config(&node, 0, NULL, addresses, 1);
	node.echo = true;
	fixture_start(&node, &loop);
	return 0;
}

static int end_loop(void **state)
{
	int64_t until = clock_now_ms() + FIXTURE_LIMIT_MS;

	(void)state;
	fixture_done(&node);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0 && clock_now_ms() < until)
		usleep(1000);
	return uv_loop_close(&loop);
}

static char *ask(const char *request)
{
	return fixture_exchange(&loop, HOST, request, strlen(request));
}

static void assert_answer(const char *request, const char *status, const char *body)
{
	char *answer = ask(request), *got = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, strlen(status)) != 0)
		fail_msg("expected %s, got: %s", status, answer);
	assert_non_null(got);
	assert_string_equal(got + 4, body);
	free(answer);
}

static void get_with_a_query_is_decoded(void **state)
{
	(void)state;
	assert_answer("GET /v1/status?x=1&q=a%20b%26c HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/v1/status|a b&c|");
	assert_answer("GET /v1/groups/main HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/v1/groups/main|-|");
	assert_answer("GET /x?quota=3 HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/x|-|");
}

static void post_brings_its_body(void **state)
{
	(void)state;
	assert_answer("POST /v1/cluster/init HTTP/1.1\r\n" CLOSE
	              "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
	              "200", "POST|/v1/cluster/init|-|{\"a\":1}");
	assert_answer("POST /p HTTP/1.1\r\n" CLOSE "Content-Length: 0\r\n\r\n", "200", "POST|/p|-|");
	assert_answer("POST /p HTTP/1.1\r\n" CLOSE "\r\n", "200", "POST|/p|-|");
	assert_answer("POST /p HTTP/1.1\r\n" CLOSE
	              "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\na=%20",
	              "200", "POST|/p|-|a=%20");
}

static void head_has_no_body(void **state)
{
	char *answer = ask("HEAD /health HTTP/1.1\r\n" CLOSE "\r\n");

	(void)state;
	assert_non_null(strstr(answer, "HTTP/1.1 200"));
	assert_non_null(strstr(answer, "content-length: 15"));
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	free(answer);
}

static void other_methods_are_405(void **state)
{
	char *answer = ask("DELETE /x HTTP/1.1\r\n" CLOSE "\r\n");

	(void)state;
	assert_non_null(strstr(answer, "HTTP/1.1 405"));
	free(answer);
}

static char *post_of(size_t len)
{
	struct buf b = {0};
	size_t i;

	buf_printf(&b, "POST /big HTTP/1.1\r\n" CLOSE "Content-Length: %zu\r\n\r\n", len);
	for (i = 0; i < len; i++)
		buf_puts(&b, "x");
	return b.data;
}

static void body_of_64_kib_is_taken_and_a_larger_one_is_413(void **state)
{
	static const size_t sizes[] = {64 * 1024, 64 * 1024 + 1, 300 * 1024};
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		char *request = post_of(sizes[i]), *answer = ask(request);

		assert_non_null(strstr(answer, i == 0 ? "HTTP/1.1 200" : "HTTP/1.1 413"));
		assert_int_equal(strlen(strstr(answer, "\r\n\r\n") + 4) > 60000, i == 0);
		free(answer);
		free(request);
	}
}

static void chunked_body_is_411(void **state)
{
	char *answer = ask("POST /x HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");

	(void)state;
	assert_non_null(strstr(answer, "HTTP/1.1 411"));
	free(answer);
}

static void connection_is_kept_for_the_next_request(void **state)
{
	char *answer = ask("GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\n" CLOSE "\r\n");

	(void)state;
	assert_non_null(strstr(answer, "GET|/one|-|"));
	assert_non_null(strstr(answer, "GET|/two|-|"));
	free(answer);
}

struct held_answer {
	int fd;
	struct buf text;
};

static bool is_answered(void *arg)
{
	struct held_answer *a = arg;
	char part[1024];
	ssize_t n;

	while ((n = read(a->fd, part, sizeof part)) > 0)
		buf_add(&a->text, part, (size_t)n);
	return n == 0;
}

static bool is_held(void *arg)
{
	(void)arg;
	return node.held_count > 0;
}

static void answer_may_come_later(void **state)
{
	static const char request[] = "GET /v1/status HTTP/1.1\r\n" CLOSE "\r\n";
	struct held_answer a = {0};
	pid_t pid;

	(void)state;
	node.echo = false;
	pid = fixture_exchange_start(HOST, request, sizeof request - 1, &a.fd);
	assert_true(fixture_run(&loop, is_held, NULL));
	fixture_run_for(&loop, 300);
	http_reply(node.held[0], 409, "application/json", "{}");
	assert_true(fixture_run(&loop, is_answered, &a));
	assert_non_null(strstr(a.text.data, "HTTP/1.1 409"));
	assert_non_null(strstr(a.text.data, "content-type: application/json\r\n"));
	close(a.fd);
	waitpid(pid, NULL, 0);
	buf_done(&a.text);
}

static void client_that_has_gone_does_not_disturb_the_answer(void **state)
{
	static const char request[] = "POST /slow HTTP/1.1\r\n" CLOSE "Content-Length: 2\r\n\r\n{}";
	int fd;
	pid_t pid;

	(void)state;
	node.echo = false;
	pid = fixture_exchange_start(HOST, request, sizeof request - 1, &fd);
	assert_true(fixture_run(&loop, is_held, NULL));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	fixture_run_for(&loop, 200);
	assert_string_equal(http_path(node.held[0]), "/slow");
	assert_string_equal(http_body(node.held[0]), "{}");
	http_reply(node.held[0], 200, "text/plain", "too late");
	/* The hub still serves. */
	node.echo = true;
	assert_answer("GET /after HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/after|-|");
}

static void large_answer_arrives_whole(void **state)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\n" CLOSE "\r\n";
	struct held_answer a = {0};
	size_t len = 3 * 1024 * 1024;
	char *body = mem_alloc(len + 1);
	pid_t pid;

	(void)state;
	memset(body, 'm', len);
	node.echo = false;
	pid = fixture_exchange_start(HOST, request, sizeof request - 1, &a.fd);
	assert_true(fixture_run(&loop, is_held, NULL));
	http_reply(node.held[0], 200, "text/plain", body);
	assert_true(fixture_run(&loop, is_answered, &a));
	assert_string_equal(strstr(a.text.data, "\r\n\r\n") + 4, body);
	close(a.fd);
	waitpid(pid, NULL, 0);
	buf_done(&a.text);
	free(body);
}

static void stop_with_waiting_requests_leaves_nothing_behind(void **state)
{
	static const char request[] = "GET /wait HTTP/1.1\r\n" CLOSE "\r\n";
	int fds[2];
	pid_t pids[2];
	unsigned i;

	(void)state;
	node.echo = false;
	for (i = 0; i < 2; i++) {
		pids[i] = fixture_exchange_start(HOST, request, sizeof request - 1, &fds[i]);
		node.held_count = 0;
		assert_true(fixture_run(&loop, is_held, NULL));
	}
	kill(pids[0], SIGKILL); /* one client has gone, one waits */
	waitpid(pids[0], NULL, 0);
	fixture_run_for(&loop, 100);
	fixture_stop(&node);
	fixture_run_for(&loop, 200);
	waitpid(pids[1], NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

static void many_waiting_requests_do_not_keep_others_out(void **state)
{
	static const char request[] = "GET /wait HTTP/1.1\r\n" CLOSE "\r\n";
	int fds[FIXTURE_HTTP_HELD];
	pid_t pids[FIXTURE_HTTP_HELD];
	unsigned i;

	(void)state;
	node.echo = false;
	for (i = 0; i < FIXTURE_HTTP_HELD; i++)
		pids[i] = fixture_exchange_start(HOST, request, sizeof request - 1, &fds[i]);
	fixture_run_for(&loop, 500);
	assert_int_equal(node.held_count, FIXTURE_HTTP_HELD);
	node.echo = true;
	assert_answer("GET /now HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/now|-|");
	for (i = 0; i < FIXTURE_HTTP_HELD; i++) {
		http_reply(node.held[i], 200, "text/plain", "done");
		close(fds[i]);
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

static void restarted_hub_listens_again_at_once(void **state)
{
	int64_t begun;

	(void)state;
	/* Its own side closed a connection: without SO_REUSEADDR the port would be taken for a minute. */
	assert_answer("GET /a HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/a|-|");
	fixture_stop(&node);
	begun = clock_now_ms();
	fixture_start(&node, &loop);
	print_message("listening again after %d ms\n", (int)(clock_now_ms() - begun));
	assert_answer("GET /b HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/b|-|");
}

static void ask_socket_as(uid_t uid, const char *body_begin)
{
	static const char request[] = "GET /who HTTP/1.1\r\n" CLOSE "\r\n";
	char path[108], *answer;

	fixture_client_uid = uid;
	answer = fixture_exchange(&loop, config_path_api(&node.config, path), request, sizeof request - 1);
	fixture_client_uid = 0;
	assert_non_null(strstr(answer, "\r\n\r\n"));
	assert_memory_equal(strstr(answer, "\r\n\r\n") + 4, body_begin, strlen(body_begin));
	free(answer);
}

static void unix_socket_knows_the_user_by_his_uid(void **state)
{
	char dir[] = "/tmp/test_link_http.XXXXXX", path[108];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	fixture_stop(&node);
	node.config.run_dir = dir;
	config_path_api(&node.config, path);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* left over from a crash */
	fixture_start(&node, &loop);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	if (geteuid() == 0) {
		ask_socket_as(0, "admin|root|the unix socket|");
		ask_socket_as(65534, "nobody||the unix socket|user nobody may not administer this node: be root");
	}
	fixture_stop(&node);
	assert_int_not_equal(stat(path, &st), 0);
	rmdir(dir);
}

static void peer_link_over_the_unix_socket_is_refused(void **state)
{
	static const char request[] = "GET /v1/peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	                              "Sec-WebSocket-Protocol: mha-peer-1\r\n\r\n";
	char dir[] = "/tmp/test_link_http.XXXXXX", path[108], *answer;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fixture_stop(&node);
	node.config.run_dir = dir;
	fixture_start(&node, &loop);
	answer = fixture_exchange(&loop, config_path_api(&node.config, path), request, sizeof request - 1);
	assert_null(strstr(answer, "101 Switching"));
	free(answer);
	fixture_stop(&node);
	rmdir(dir);
}

#define SILENT 600

static bool are_closed(void *arg)
{
	int *fds = arg;
	char byte;
	unsigned i;

	for (i = 0; i < SILENT; i++)
		if (recv(fds[i], &byte, 1, MSG_DONTWAIT) != 0)
			return false;
	return true;
}

/* They connect and say nothing; a request of somebody else is answered all the same. */
static void silent_connections_do_not_keep_others_out(void **state)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	static int fds[SILENT];
	unsigned i;

	(void)state;
	inet_pton(AF_INET, HOST, &sa.sin_addr);
	for (i = 0; i < SILENT; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof sa), 0);
		if (i % 64 == 63)
			fixture_run_for(&loop, 20);
	}
	assert_answer("GET /now HTTP/1.1\r\n" CLOSE "\r\n", "200", "GET|/now|-|");
	assert_true(fixture_run(&loop, are_closed, fds)); /* given up after 3 s */
	for (i = 0; i < SILENT; i++)
		close(fds[i]);
}

static struct {
	int status;
	char body[128];
} foreign;

static void take_answer(void *arg, int status, const char *content_type, const char *body)
{
	(void)content_type;
	assert_ptr_equal(arg, &foreign);
	foreign.status = status;
	str_copy(foreign.body, sizeof foreign.body, body);
}

static void request_of_another_node_is_served_like_any_other(void **state)
{
	struct http_copy copy = {.method = "POST",
	                         .path = "/v1/x",
	                         .body = "{}",
	                         .name = "alice",
	                         .from = "10.0.0.1",
	                         .args = {"q=1 2"},
	                         .args_count = 1,
	                         .who = HTTP_ADMIN};
	struct http_request *r = http_request_new(node.hub, &copy, take_answer, &foreign);
	struct http_copy again;
	const char *name;

	(void)state;
	assert_int_equal(http_who(r, &name), HTTP_ADMIN);
	assert_string_equal(name, "alice");
	assert_string_equal(http_query(r, "q"), "1 2");
	http_describe(r, &again);
	assert_string_equal(again.path, "/v1/x");
	assert_string_equal(again.from, "10.0.0.1");
	assert_int_equal(again.args_count, 1);
	http_reply(r, 409, "application/json", "{\"no\":1}");
	assert_int_equal(foreign.status, 409);
	assert_string_equal(foreign.body, "{\"no\":1}");
	copy.method = "BREW";
	assert_null(http_request_new(node.hub, &copy, take_answer, &foreign));
	copy.method = "GET";
	assert_non_null(http_request_new(node.hub, &copy, take_answer, &foreign)); /* freed when the hub stops */
}

#define test(f) cmocka_unit_test_setup_teardown(f, start_loop, end_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(get_with_a_query_is_decoded),
	        test(post_brings_its_body),
	        test(head_has_no_body),
	        test(other_methods_are_405),
	        test(body_of_64_kib_is_taken_and_a_larger_one_is_413),
	        test(chunked_body_is_411),
	        test(connection_is_kept_for_the_next_request),
	        test(answer_may_come_later),
	        test(client_that_has_gone_does_not_disturb_the_answer),
	        test(large_answer_arrives_whole),
	        test(stop_with_waiting_requests_leaves_nothing_behind),
	        test(many_waiting_requests_do_not_keep_others_out),
	        test(unix_socket_knows_the_user_by_his_uid),
	        test(peer_link_over_the_unix_socket_is_refused),
	        test(silent_connections_do_not_keep_others_out),
	        test(request_of_another_node_is_served_like_any_other),
	        test(restarted_hub_listens_again_at_once),
	};

	log_init("test_link_http", "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
