#include "link_fixture.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the four that it needs */
#include <cmocka.h>

uid_t fixture_client_uid;

uint16_t fixture_port(void)
{
	static uint16_t port; /* children must not choose again */

	if (port == 0)
		port = (uint16_t)(20000 + getpid() % 10000);
	return port;
}

void fixture_config(struct fixture_node *n, unsigned self, const char *const *names, const char *const *addresses,
                    unsigned count)
{
	static const char *const plain[] = {"n1", "n2", "n3", "n4"};
	unsigned i;

	memset(n, 0, sizeof *n);
	names = names != NULL ? names : plain;
	for (i = 0; i < count; i++) {
		n->nodes[i].name = (char *)(uintptr_t)names[i];
		n->nodes[i].address = (char *)(uintptr_t)addresses[i];
		n->nodes[i].peer_port = fixture_port();
	}
	n->config.tls.mode = (char *)(uintptr_t) "insecure-plaintext";
	n->config.node = n->nodes[self].name;
	n->config.address = n->nodes[self].address;
	n->config.ports.peer = fixture_port();
	n->config.nodes = n->nodes;
	n->config.nodes_count = count;
}

static void on_frame(void *arg, const char *peer, const char *json, size_t len)
{
	struct fixture_node *n = arg;

	n->frames++;
	str_copy(n->peer, sizeof n->peer, peer);
	free(n->frame);
	n->frame = mem_alloc(len + 1);
	memcpy(n->frame, json, len);
	n->frame_len = len;
	if (n->stop_at_frame)
		fixture_stop(n);
}

static void on_up(void *arg, const char *peer)
{
	struct fixture_node *n = arg;

	n->ups++;
	n->up_at_ms = clock_now_ms();
	str_copy(n->peer, sizeof n->peer, peer);
}

static void on_down(void *arg, const char *peer, const char *reason)
{
	struct fixture_node *n = arg;

	n->downs++;
	n->down_at_ms = clock_now_ms();
	str_copy(n->peer, sizeof n->peer, peer);
	str_copy(n->reason, sizeof n->reason, reason);
}

static void on_refused(void *arg, const char *peer, const char *reason)
{
	struct fixture_node *n = arg;

	n->refusals++;
	str_copy(n->peer, sizeof n->peer, peer);
	str_copy(n->reason, sizeof n->reason, reason);
}

static bool on_hello(void *arg, const char *peer, const char *hello_json, char *reason, size_t reason_size)
{
	struct fixture_node *n = arg;

	(void)peer;
	str_copy(n->hello, sizeof n->hello, hello_json);
	if (n->refuse_with == NULL)
		return true;
	str_copy(reason, reason_size, n->refuse_with);
	return false;
}

static const char *who_name(enum http_who who)
{
	return who == HTTP_ADMIN ? "admin" : who == HTTP_NODE ? "node" : "nobody";
}

static void on_http(void *arg, struct http_request *r)
{
	struct fixture_node *n = arg;
	const char *q = http_query(r, "q");
	struct buf b = {0};

	if (!n->echo) {
		assert_true(n->held_count < FIXTURE_HTTP_HELD);
		n->held[n->held_count++] = r;
		return;
	}
	if (strcmp(http_path(r), "/who") == 0) {
		const char *name;
		enum http_who who = http_who(r, &name);

		buf_printf(&b, "%s|%s|%s|%s", who_name(who), name, http_from(r), http_why(r));
	} else
		buf_printf(&b, "%s|%s|%s|%s", http_method(r), http_path(r), q != NULL ? q : "-", http_body(r));
	http_reply(r, 200, "text/plain", b.data);
	buf_done(&b);
}

void fixture_start(struct fixture_node *n, uv_loop_t *loop)
{
	struct link_handlers h = {n, on_frame, on_up, on_down, on_refused, on_hello, on_http};
	struct err e = ERR_INIT;

	if (link_start(loop, &n->config, &h, &n->hub, &e) != ERR_OK)
		fail_msg("%s", e.text);
}

void fixture_stop(struct fixture_node *n)
{
	link_stop(n->hub);
	n->hub = NULL;
}

void fixture_done(struct fixture_node *n)
{
	fixture_stop(n);
	free(n->frame);
	n->frame = NULL;
}

static void on_wake(uv_timer_t *timer)
{
	(void)timer;
}

static void on_wake_closed(uv_handle_t *handle)
{
	free(handle);
}

bool fixture_run(uv_loop_t *loop, bool (*done)(void *arg), void *arg)
{
	int64_t until = clock_now_ms() + FIXTURE_LIMIT_MS;
	uv_timer_t *wake = mem_alloc(sizeof *wake);
	bool is_done;

	uv_timer_init(loop, wake);
	uv_timer_start(wake, on_wake, 2, 2);
	while (!(is_done = done(arg)) && clock_now_ms() < until)
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)wake, on_wake_closed);
	return is_done;
}

static bool is_past(void *arg)
{
	return clock_now_ms() >= *(int64_t *)arg;
}

void fixture_run_for(uv_loop_t *loop, int ms)
{
	int64_t until = clock_now_ms() + ms;

	(void)fixture_run(loop, is_past, &until);
}

static int connect_client(const char *address)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	bool is_local = address[0] == '/';
	int fd = socket(is_local ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &v4.sin_addr);
	str_copy(local.sun_path, sizeof local.sun_path, address);
	if (connect(fd, is_local ? (struct sockaddr *)&local : (struct sockaddr *)&v4, is_local ? sizeof local : sizeof v4) !=
	    0)
		_exit(1);
	return fd;
}

static _Noreturn void run_client(const char *address, const char *bytes, size_t len, int out)
{
	struct timeval limit = {5, 0};
	char part[4096];
	ssize_t n;
	int fd;

	if (fixture_client_uid != 0 && setuid(fixture_client_uid) != 0)
		_exit(1);
	fd = connect_client(address);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	while (len > 0 && (n = send(fd, bytes, len, MSG_NOSIGNAL)) > 0) {
		bytes += n;
		len -= (size_t)n;
	}
	while ((n = recv(fd, part, sizeof part, 0)) > 0)
		if (write(out, part, (size_t)n) != n)
			_exit(1);
	_exit(0);
}

pid_t fixture_exchange_start(const char *address, const void *bytes, size_t len, int *ret_fd)
{
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		run_client(address, bytes, len, ends[1]);
	}
	close(ends[1]);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*ret_fd = ends[0];
	return pid;
}

struct reading {
	int fd;
	struct buf text;
};

static bool is_read(void *arg)
{
	struct reading *r = arg;
	char part[4096];
	ssize_t n;

	while ((n = read(r->fd, part, sizeof part)) > 0)
		buf_add(&r->text, part, (size_t)n);
	return n == 0;
}

char *fixture_exchange(uv_loop_t *loop, const char *address, const void *bytes, size_t len)
{
	struct reading r = {0};
	pid_t pid = fixture_exchange_start(address, bytes, len, &r.fd);
	bool is_done = fixture_run(loop, is_read, &r);

	close(r.fd);
	waitpid(pid, NULL, 0);
	assert_true(is_done);
	return r.text.data != NULL ? r.text.data : mem_strdup("");
}
