#include "core/run/child_sock.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define LIMIT_MS 10000

struct msg {
	uint32_t seq;
	char text[60];
};

static uv_loop_t loop;
static char dir[64], path[108];
static int listen_fd = -1, server_fd = -1;
static struct child_sock *sock;

static struct {
	unsigned ups, downs, messages;
	pid_t pid;
	char reason[256];
	struct msg last;
	bool close_in_message;
} seen;

static void on_up(void *arg, pid_t pid)
{
	(void)arg;
	seen.ups++;
	seen.pid = pid;
}

static void on_down(void *arg, const char *reason)
{
	(void)arg;
	seen.downs++;
	str_copy(seen.reason, sizeof seen.reason, reason);
}

static void on_message(void *arg, const void *msg)
{
	(void)arg;
	seen.messages++;
	memcpy(&seen.last, msg, sizeof seen.last);
	if (seen.close_in_message)
		child_sock_close(sock);
}

static void listen_again(void)
{
	struct err e = ERR_INIT;

	if (seq_listen(path, &listen_fd, &e) != ERR_OK)
		fail_msg("%s", e.text);
}

static void stop_listening(void)
{
	if (server_fd >= 0)
		close(server_fd);
	if (listen_fd >= 0)
		close(listen_fd);
	server_fd = listen_fd = -1;
	unlink(path);
}

static int start(void **state)
{
	struct child_handlers h = {NULL, on_up, on_down, on_message};

	(void)state;
	memset(&seen, 0, sizeof seen);
	str_copy(dir, sizeof dir, "/tmp/mha-child-sock-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	uv_loop_init(&loop);
	sock = child_sock_new(&loop, path, sizeof(struct msg), &h);
	return 0;
}

static int end(void **state)
{
	int64_t until = clock_now_ms() + LIMIT_MS;

	(void)state;
	if (!seen.close_in_message)
		child_sock_close(sock);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0 && clock_now_ms() < until)
		usleep(1000);
	stop_listening();
	rmdir(dir);
	return uv_loop_close(&loop);
}

static bool run_until(const unsigned *counter, unsigned wanted)
{
	int64_t until = clock_now_ms() + LIMIT_MS;

	while (*counter < wanted && clock_now_ms() < until) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(500);
	}
	return *counter >= wanted;
}

static void accept_one(void)
{
	struct seq_peer peer;

	assert_int_equal(seq_accept(listen_fd, &server_fd, &peer, NULL), ERR_OK);
	assert_true(server_fd >= 0);
}

static void it_connects_when_the_other_side_appears_and_again_when_it_is_restarted(void **state)
{
	int64_t begun;
	unsigned round;

	(void)state;
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_false(child_sock_is_up(sock));
	assert_int_equal(child_sock_peer(sock), 0);
	for (round = 1; round <= 3; round++) {
		listen_again();
		begun = clock_now_ms();
		assert_true(run_until(&seen.ups, round));
		print_message("up %d ms after it listened\n", (int)(clock_now_ms() - begun));
		assert_true(child_sock_is_up(sock));
		assert_int_equal(seen.pid, getpid());
		assert_int_equal(child_sock_peer(sock), getpid());
		accept_one();
		stop_listening();
		assert_true(run_until(&seen.downs, round));
		assert_string_equal(seen.reason, "the peer closed the connection");
		assert_false(child_sock_is_up(sock));
	}
}

static void messages_go_both_ways(void **state)
{
	struct msg m = {7, "hello"}, got;
	uint32_t i;

	(void)state;
	listen_again();
	assert_true(run_until(&seen.ups, 1));
	accept_one();
	assert_true(child_sock_send(sock, &m));
	assert_int_equal(seq_recv(server_fd, &got, sizeof got, NULL), ERR_OK);
	assert_int_equal(got.seq, 7);
	for (i = 1; i <= 5; i++) {
		m.seq = i;
		assert_int_equal(seq_send(server_fd, &m, sizeof m, NULL), ERR_OK);
	}
	assert_true(run_until(&seen.messages, 5));
	assert_int_equal(seen.last.seq, 5);
	assert_string_equal(seen.last.text, "hello");
}

static void side_that_does_not_read_is_given_up_and_connected_again(void **state)
{
	struct msg m = {1, "x"};
	unsigned sent = 0;

	(void)state;
	assert_false(child_sock_send(sock, &m));
	listen_again();
	assert_true(run_until(&seen.ups, 1));
	accept_one();
	while (sent < 100000 && child_sock_send(sock, &m))
		sent++;
	assert_true(sent > 0 && sent < 100000);
	assert_false(child_sock_is_up(sock));
	assert_int_equal(seen.downs, 0); /* never from inside the call */
	assert_true(run_until(&seen.downs, 1));
	assert_string_equal(seen.reason, "the peer does not read its messages");
	assert_true(run_until(&seen.ups, 2));
}

static void packet_of_another_size_ends_the_connection(void **state)
{
	(void)state;
	listen_again();
	assert_true(run_until(&seen.ups, 1));
	accept_one();
	assert_int_equal(seq_send(server_fd, "short", 5, NULL), ERR_OK);
	assert_true(run_until(&seen.downs, 1));
	assert_non_null(strstr(seen.reason, "a packet of 5 bytes where 64 are expected"));
	assert_int_equal(seen.messages, 0);
}

static void it_may_be_closed_from_inside_a_message(void **state)
{
	struct msg m = {1, "x"};

	(void)state;
	seen.close_in_message = true;
	listen_again();
	assert_true(run_until(&seen.ups, 1));
	accept_one();
	assert_int_equal(seq_send(server_fd, &m, sizeof m, NULL), ERR_OK);
	assert_int_equal(seq_send(server_fd, &m, sizeof m, NULL), ERR_OK);
	assert_true(run_until(&seen.messages, 1));
	assert_int_equal(seen.messages, 1);
}

#define test(f) cmocka_unit_test_setup_teardown(f, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(it_connects_when_the_other_side_appears_and_again_when_it_is_restarted),
	        test(messages_go_both_ways),
	        test(side_that_does_not_read_is_given_up_and_connected_again),
	        test(packet_of_another_size_ends_the_connection),
	        test(it_may_be_closed_from_inside_a_message),
	};

	log_init("test_child_sock", "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
