#include "link_fixture.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const char *const addresses[] = {"127.7.0.1", "127.7.0.2", "127.7.0.3"};
static uv_loop_t loop;
static struct fixture_node nodes[3];

static int start_loop(void **state)
{
	unsigned i;

	(void)state;
	uv_loop_init(&loop);
	for (i = 0; i < 3; i++)
		fixture_config(&nodes[i], i, NULL, addresses, 3);
	return 0;
}

static int end_loop(void **state)
{
	int64_t until = clock_now_ms() + FIXTURE_LIMIT_MS;
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++)
		fixture_done(&nodes[i]);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0 && clock_now_ms() < until)
		usleep(1000);
	return uv_loop_close(&loop);
}

static bool all_linked(void *arg)
{
	unsigned i, j, count = *(unsigned *)arg;

	for (i = 0; i < count; i++)
		for (j = 0; j < count; j++)
			if (i != j && !link_is_up(nodes[i].hub, nodes[j].config.node))
				return false;
	return true;
}

static void start_linked(unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		fixture_start(&nodes[i], &loop);
	assert_true(fixture_run(&loop, all_linked, &count));
}

static bool has_frame(void *arg)
{
	return ((struct fixture_node *)arg)->frames > 0;
}

static bool has_refusal(void *arg)
{
	return ((struct fixture_node *)arg)->refusals > 0;
}

static bool has_down(void *arg)
{
	return ((struct fixture_node *)arg)->downs > 0;
}

static bool has_two_ups(void *arg)
{
	return ((struct fixture_node *)arg)->ups >= 2;
}

static void three_hubs_link_and_carry_frames_both_ways(void **state)
{
	int64_t begun = clock_now_ms();

	(void)state;
	start_linked(3);
	print_message("three hubs in one process linked after %d ms\n", (int)(clock_now_ms() - begun));
	assert_true(link_send(nodes[0].hub, "n3", "{\"a\":1}", 7));
	assert_true(link_send(nodes[2].hub, "n1", "{\"b\":2}", 7));
	assert_true(fixture_run(&loop, has_frame, &nodes[0]));
	assert_true(fixture_run(&loop, has_frame, &nodes[2]));
	assert_string_equal(nodes[0].frame, "{\"b\":2}");
	assert_string_equal(nodes[0].peer, "n3");
	assert_string_equal(nodes[2].frame, "{\"a\":1}");
	assert_int_equal(nodes[0].ups, 2);
	assert_int_equal(nodes[0].downs, 0);
}

static void hello_is_carried_to_the_other_side(void **state)
{
	unsigned count = 2;

	(void)state;
	fixture_start(&nodes[0], &loop);
	link_set_hello(nodes[0].hub, "{\"cluster\":\"x\"}");
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, all_linked, &count));
	assert_string_equal(nodes[1].hello, "{\"cluster\":\"x\"}");
	assert_string_equal(nodes[0].hello, "{}");
}

static void large_frame_arrives_whole(void **state)
{
	size_t len = 200 * 1024;
	char *text = mem_alloc(len + 1);

	(void)state;
	memset(text, 'x', len);
	text[0] = text[len - 1] = '"';
	start_linked(2);
	assert_true(link_send(nodes[0].hub, "n2", text, len));
	assert_true(fixture_run(&loop, has_frame, &nodes[1]));
	assert_int_equal(nodes[1].frame_len, len);
	assert_memory_equal(nodes[1].frame, text, len);
	free(text);
}

static void queue_of_more_than_256_kib_drops_the_link(void **state)
{
	size_t len = 200 * 1024;
	char *text = mem_alloc(len);

	(void)state;
	memset(text, 'x', len);
	start_linked(2);
	/* The loop does not turn in between, so nothing is written. */
	assert_true(link_send(nodes[0].hub, "n2", text, len));
	assert_false(link_send(nodes[0].hub, "n2", text, len));
	assert_int_equal(nodes[0].downs, 1);
	assert_false(link_is_up(nodes[0].hub, "n2"));
	assert_true(fixture_run(&loop, has_two_ups, &nodes[0]));
	free(text);
}

static void refused_hello_is_told_with_its_reason_and_never_up(void **state)
{
	(void)state;
	nodes[1].refuse_with = "another cluster";
	fixture_start(&nodes[0], &loop);
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, has_refusal, &nodes[0]));
	assert_string_equal(nodes[0].reason, "another cluster");
	assert_string_equal(nodes[0].peer, "n2");
	assert_int_equal(nodes[0].ups, 0);
	assert_int_equal(nodes[1].ups, 0);
	/* The reason is gone: the next dial links. */
	nodes[1].refuse_with = NULL;
	{
		unsigned count = 2;

		assert_true(fixture_run(&loop, all_linked, &count));
	}
	assert_int_equal(nodes[0].downs, 0);
}

static void refusal_by_the_dialling_side_is_told_too(void **state)
{
	(void)state;
	nodes[0].refuse_with = "two nodes of this name";
	fixture_start(&nodes[0], &loop);
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, has_refusal, &nodes[1]));
	assert_string_equal(nodes[1].reason, "two nodes of this name");
	assert_string_equal(nodes[1].peer, "n1");
	assert_int_equal(nodes[1].ups, 0);
}

static void unknown_node_is_refused(void **state)
{
	static const char *const names[] = {"a9", "n2"};
	static const char *const where[] = {"127.7.0.9", "127.7.0.2"};

	(void)state;
	fixture_config(&nodes[0], 0, names, where, 2);
	fixture_start(&nodes[0], &loop);
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, has_refusal, &nodes[0]));
	assert_string_equal(nodes[0].reason, "node \"a9\" is not among the nodes in the configuration of \"n2\"");
	assert_int_equal(nodes[1].ups, 0);
}

static void wrong_node_at_an_address_is_refused(void **state)
{
	static const char *const names[] = {"n1", "n2", "n3"};
	static const char *const where[] = {"127.7.0.1", "127.7.0.9", "127.7.0.2"};

	(void)state;
	fixture_config(&nodes[0], 0, names, where, 3); /* believes that n3 lives where n2 does */
	fixture_start(&nodes[0], &loop);
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, has_refusal, &nodes[1]));
	assert_non_null(strstr(nodes[1].reason, "there should be \"n3\", not \"n2\""));
}

static void silent_peer_is_dropped_after_1500_ms(void **state)
{
	int64_t up_at;

	(void)state;
	start_linked(2);
	up_at = nodes[0].up_at_ms;
	assert_true(fixture_run(&loop, has_down, &nodes[0]));
	assert_string_equal(nodes[0].reason, "nothing received for 1500 ms");
	assert_true(nodes[0].down_at_ms - up_at >= 1450);
	print_message("dropped %d ms after the last frame\n", (int)(nodes[0].down_at_ms - up_at));
	assert_true(fixture_run(&loop, has_two_ups, &nodes[0]));
}

static void stopped_hub_is_noticed_at_once_and_linked_again_when_it_is_back(void **state)
{
	unsigned round, count = 2;

	(void)state;
	start_linked(2);
	for (round = 0; round < 2; round++) {
		struct fixture_node *gone = &nodes[round], *left = &nodes[1 - round];
		int64_t begun = clock_now_ms();

		left->downs = 0;
		fixture_stop(gone);
		assert_true(fixture_run(&loop, has_down, left));
		print_message("down after %d ms", (int)(left->down_at_ms - begun));
		fixture_run_for(&loop, 400);
		begun = clock_now_ms();
		fixture_start(gone, &loop);
		assert_true(fixture_run(&loop, all_linked, &count));
		print_message(", up %d ms after the start\n", (int)(clock_now_ms() - begun));
		assert_true(clock_now_ms() - begun < 2000);
	}
}

static void frame_that_is_not_utf8_closes_the_link(void **state)
{
	(void)state;
	start_linked(2);
	assert_true(link_send(nodes[0].hub, "n2", "\"\xff\xfe\"", 4));
	assert_true(fixture_run(&loop, has_down, &nodes[1]));
	assert_string_equal(nodes[1].reason, "it sent a frame that is not UTF-8 text");
	assert_int_equal(nodes[1].frames, 0);
}

static const char upgrade[] = "GET /v1/peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: mha-peer-1\r\n\r\n";

/* A client's text frame, masked with zeros. */
static void add_frame(struct buf *b, const char *text, size_t len)
{
	unsigned char head[14] = {0x81};
	size_t n = 2, i;

	if (len < 126) {
		head[1] = (unsigned char)(0x80 | len);
	} else {
		head[1] = 0x80 | 127;
		for (i = 0; i < 8; i++)
			head[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
		n = 10;
	}
	buf_add(b, head, n + 4);
	buf_add(b, text, len);
}

static void add_hello(struct buf *b, const char *name)
{
	char text[100];
	int len = snprintf(text, sizeof text, "{\"node\":\"%s\",\"hello\":{}}", name);

	buf_puts(b, upgrade);
	add_frame(b, text, (size_t)len);
	add_frame(b, "{\"welcome\":true}", 16);
}

/* A connection of the test's own, to say things bit by bit. */
static int connect_raw(const char *address)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &sa.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

static void say_text(int fd, const char *text)
{
	struct buf b = {0};

	add_frame(&b, text, strlen(text));
	assert_int_equal(send(fd, b.data, b.len, MSG_NOSIGNAL), b.len);
	buf_done(&b);
}

static bool has_seen_first_hello(void *arg)
{
	return strcmp(((struct fixture_node *)arg)->hello, "{\"link\":1}") == 0;
}

/* What the dialler had sent on a connection that it has given up may arrive after it has dialled again. */
static void older_connection_delivers_nothing_after_a_newer_hello(void **state)
{
	int old, newer;

	(void)state;
	fixture_start(&nodes[1], &loop);
	old = connect_raw(addresses[1]);
	assert_int_equal(send(old, upgrade, strlen(upgrade), MSG_NOSIGNAL), strlen(upgrade));
	say_text(old, "{\"node\":\"n1\",\"hello\":{\"link\":1}}");
	assert_true(fixture_run(&loop, has_seen_first_hello, &nodes[1]));
	newer = connect_raw(addresses[1]);
	assert_int_equal(send(newer, upgrade, strlen(upgrade), MSG_NOSIGNAL), strlen(upgrade));
	say_text(newer, "{\"node\":\"n1\",\"hello\":{\"link\":2}}");
	say_text(newer, "{\"welcome\":true}");
	say_text(newer, "{\"t\":\"ask\"}");
	assert_true(fixture_run(&loop, has_frame, &nodes[1]));
	(void)!send(old, "\x81\x90\0\0\0\0{\"welcome\":true}\x81\x8f\0\0\0\0{\"t\":\"release\"}", 43, MSG_NOSIGNAL);
	fixture_run_for(&loop, 300);
	assert_int_equal(nodes[1].ups, 1);
	assert_int_equal(nodes[1].downs, 0);
	assert_int_equal(nodes[1].frames, 1);
	assert_string_equal(nodes[1].frame, "{\"t\":\"ask\"}");
	close(old);
	close(newer);
}

static bool n1_is_refused_by_n2(void *arg)
{
	(void)arg;
	return nodes[0].refusals > 0;
}

static void node_that_is_added_while_running_is_linked_and_a_removed_one_refused(void **state)
{
	unsigned count = 2;

	(void)state;
	nodes[0].config.nodes_count = nodes[1].config.nodes_count = 1;
	nodes[1].config.nodes = nodes[1].nodes + 1; /* n2 knows itself only */
	nodes[1].nodes[2] = nodes[1].nodes[0];
	fixture_start(&nodes[0], &loop);
	fixture_start(&nodes[1], &loop);
	fixture_run_for(&loop, 300);
	assert_int_equal(nodes[0].ups + nodes[0].refusals, 0); /* n1 knows nobody to dial */
	nodes[0].config.nodes_count = 2;
	link_peers_changed(nodes[0].hub);
	assert_true(fixture_run(&loop, n1_is_refused_by_n2, NULL));
	nodes[1].config.nodes_count = 2;
	link_peers_changed(nodes[1].hub);
	assert_true(fixture_run(&loop, all_linked, &count));
	nodes[1].nodes[2].is_removed = true;
	nodes[0].refusals = 0;
	link_peers_changed(nodes[1].hub);
	assert_string_equal(nodes[1].reason, "the node was removed from the cluster");
	assert_false(link_is_up(nodes[1].hub, "n1"));
	assert_true(fixture_run(&loop, n1_is_refused_by_n2, NULL));
	assert_non_null(strstr(nodes[0].reason, "was removed from the cluster"));
}

static void node_that_has_moved_is_dialled_at_its_new_address(void **state)
{
	unsigned count = 2;

	(void)state;
	start_linked(2);
	nodes[0].nodes[1].address = (char *)(uintptr_t)addresses[2];
	link_peers_changed(nodes[0].hub);
	assert_string_equal(nodes[0].reason, "the node's address has changed");
	fixture_run_for(&loop, 300);
	assert_false(link_is_up(nodes[0].hub, "n2")); /* nobody is there yet */
	fixture_stop(&nodes[1]);
	nodes[1].config.address = (char *)(uintptr_t)addresses[2];
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, all_linked, &count));
}

static void oversized_frame_closes_the_link(void **state)
{
	struct buf b = {0};
	char *huge = mem_alloc(400 * 1024), *answer;

	(void)state;
	memset(huge, 'x', 400 * 1024);
	fixture_start(&nodes[1], &loop);
	add_hello(&b, "n1");
	add_frame(&b, huge, 400 * 1024);
	answer = fixture_exchange(&loop, addresses[1], b.data, b.len);
	assert_int_equal(nodes[1].ups, 1);
	assert_int_equal(nodes[1].downs, 1);
	assert_string_equal(nodes[1].reason, "it sent a frame of more than 256 KiB");
	assert_int_equal(nodes[1].frames, 0);
	free(answer);
	free(huge);
	buf_done(&b);
}

static void newer_link_of_a_peer_replaces_the_older(void **state)
{
	struct buf b = {0};
	int fd;
	pid_t pid;

	(void)state;
	start_linked(2);
	add_hello(&b, "n1");
	pid = fixture_exchange_start(addresses[1], b.data, b.len, &fd);
	assert_true(fixture_run(&loop, has_two_ups, &nodes[1]));
	assert_int_equal(nodes[1].downs, 1);
	assert_string_equal(nodes[1].reason, "replaced by a newer link");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	buf_done(&b);
}

static void link_at_another_path_or_without_the_subprotocol_is_not_accepted(void **state)
{
	static const char *const bad[] = {
	        "GET /other HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
	        "dGhlIHNhbXBsZSBub25jZQ==\r\n"
	        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mha-peer-1\r\n\r\n",
	        "GET /v1/peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
	        "dGhlIHNhbXBsZSBub25jZQ==\r\n"
	        "Sec-WebSocket-Version: 13\r\n\r\n",
	};
	unsigned i;

	(void)state;
	fixture_start(&nodes[1], &loop);
	for (i = 0; i < 2; i++) {
		char *answer = fixture_exchange(&loop, addresses[1], bad[i], strlen(bad[i]));

		assert_null(strstr(answer, "101 Switching"));
		free(answer);
	}
}

static void first_frame_that_is_no_hello_closes_the_link(void **state)
{
	struct buf b = {0};
	char *answer;

	(void)state;
	fixture_start(&nodes[1], &loop);
	buf_puts(&b, upgrade);
	add_frame(&b, "{\"x\":[", 6);
	answer = fixture_exchange(&loop, addresses[1], b.data, b.len);
	assert_non_null(strstr(answer, "101 Switching"));
	assert_int_equal(nodes[1].ups, 0);
	free(answer);
	buf_done(&b);
}

/* A listener that the kernel answers for and nobody serves: what a frozen process looks like. */
static int listen_mute(const char *address, int backlog)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	inet_pton(AF_INET, address, &sa.sin_addr);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void mute_host_is_given_up_and_dialled_again(void **state)
{
	unsigned i, count = 2;
	int64_t begun;

	(void)state;
	/* First one that takes connections and never speaks; then one whose queue is full, so that SYNs get lost. */
	for (i = 0; i < 2; i++) {
		int fd = listen_mute(addresses[1], i == 0 ? 16 : 0);

		if (i == 0)
			fixture_start(&nodes[0], &loop);
		fixture_run_for(&loop, 2500);
		assert_int_equal(nodes[0].ups, 0);
		close(fd);
	}
	begun = clock_now_ms();
	fixture_start(&nodes[1], &loop);
	assert_true(fixture_run(&loop, all_linked, &count));
	print_message("linked %d ms after the mute one had gone\n", (int)(clock_now_ms() - begun));
	assert_int_equal(nodes[0].downs, 0);
}

static bool is_stopped(void *arg)
{
	return ((struct fixture_node *)arg)->hub == NULL;
}

static void hub_may_be_stopped_from_inside_a_handler(void **state)
{
	(void)state;
	start_linked(2);
	nodes[1].stop_at_frame = true;
	assert_true(link_send(nodes[0].hub, "n2", "{}", 2));
	assert_true(link_send(nodes[0].hub, "n2", "{}", 2));
	assert_true(fixture_run(&loop, is_stopped, &nodes[1]));
	assert_true(fixture_run(&loop, has_down, &nodes[0]));
	assert_int_equal(nodes[1].frames, 1);
	assert_int_equal(nodes[1].downs, 0);
}

static void taken_port_is_an_error_that_names_it(void **state)
{
	struct link_handlers h = {0};
	struct link_hub *hub = NULL;
	struct err e = ERR_INIT;

	(void)state;
	fixture_start(&nodes[0], &loop);
	assert_int_equal(link_start(&loop, &nodes[0].config, &h, &hub, &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "another program listens at 127.7.0.1 port"));
	assert_null(hub);
}

static void idle_links_cost_little(void **state)
{
	struct rusage before, after;
	unsigned i, k;
	int64_t begun = clock_now_ms();
	long us;

	(void)state;
	start_linked(3);
	getrusage(RUSAGE_SELF, &before);
	for (k = 0; k < 10; k++) {
		for (i = 0; i < 3; i++) {
			link_send(nodes[i].hub, nodes[(i + 1) % 3].config.node, "{\"heartbeat\":1}", 15);
			link_send(nodes[i].hub, nodes[(i + 2) % 3].config.node, "{\"heartbeat\":1}", 15);
		}
		fixture_run_for(&loop, 200);
	}
	getrusage(RUSAGE_SELF, &after);
	us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000L +
	     (after.ru_utime.tv_usec - before.ru_utime.tv_usec) + (after.ru_stime.tv_usec - before.ru_stime.tv_usec);
	print_message("three hubs, heartbeats every 200 ms: %ld us of CPU in %d ms (the test's own 2 ms timer included)\n", us,
	              (int)(clock_now_ms() - begun));
	assert_true(us < 1000000);
	for (i = 0; i < 3; i++)
		assert_int_equal(nodes[i].downs, 0);
}

#define test(f) cmocka_unit_test_setup_teardown(f, start_loop, end_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(three_hubs_link_and_carry_frames_both_ways),
	        test(hello_is_carried_to_the_other_side),
	        test(large_frame_arrives_whole),
	        test(queue_of_more_than_256_kib_drops_the_link),
	        test(refused_hello_is_told_with_its_reason_and_never_up),
	        test(refusal_by_the_dialling_side_is_told_too),
	        test(unknown_node_is_refused),
	        test(wrong_node_at_an_address_is_refused),
	        test(silent_peer_is_dropped_after_1500_ms),
	        test(stopped_hub_is_noticed_at_once_and_linked_again_when_it_is_back),
	        test(frame_that_is_not_utf8_closes_the_link),
	        test(oversized_frame_closes_the_link),
	        test(older_connection_delivers_nothing_after_a_newer_hello),
	        test(node_that_is_added_while_running_is_linked_and_a_removed_one_refused),
	        test(node_that_has_moved_is_dialled_at_its_new_address),
	        test(newer_link_of_a_peer_replaces_the_older),
	        test(link_at_another_path_or_without_the_subprotocol_is_not_accepted),
	        test(first_frame_that_is_no_hello_closes_the_link),
	        test(mute_host_is_given_up_and_dialled_again),
	        test(hub_may_be_stopped_from_inside_a_handler),
	        test(taken_port_is_an_error_that_names_it),
	        test(idle_links_cost_little),
	};

	log_init("test_link", "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
