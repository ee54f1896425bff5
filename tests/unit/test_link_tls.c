/* The port with certificates: who may link, who may ask, and what strangers can do. */
#include "link_fixture.h"
#include "tls_fixture.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define HALF_OPEN 1000

static const char *const addresses[] = {"127.7.2.1", "127.7.2.2", "127.7.2.3"};
static const char *const names[] = {"n1", "n2", "n3"};
static uv_loop_t loop;
static struct fixture_node nodes[3];
static struct tls_host hosts[3];
static struct tls_ca ca;
static struct tls_leaf leaves[3];

static int start_loop(void **state)
{
	unsigned i;

	(void)state;
	uv_loop_init(&loop);
	ca = tls_ca(TLS_UUID);
	for (i = 0; i < 3; i++) {
		fixture_config(&nodes[i], i, NULL, addresses, 3);
		nodes[i].echo = true;
		tls_host_init(&hosts[i], names[i]);
		leaves[i] = tls_leaf(&ca, PKI_NODE, names[i], TLS_UUID);
		tls_host_give(&hosts[i], &ca, &leaves[i]);
		nodes[i].config.tls.mode = (char *)(uintptr_t) "managed";
		nodes[i].config.state_dir = hosts[i].dir;
	}
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
	for (i = 0; i < 3; i++)
		tls_host_done(&hosts[i]);
	return uv_loop_close(&loop);
}

static bool all_linked(void *arg)
{
	unsigned i, j, count = *(unsigned *)arg;

	for (i = 0; i < count; i++)
		for (j = 0; j < count; j++)
			if (i != j && !link_is_up(nodes[i].hub, names[j]))
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

static bool has_down(void *arg)
{
	return ((struct fixture_node *)arg)->downs > 0;
}

static void nodes_of_one_ca_link_and_carry_frames(void **state)
{
	size_t len = 200 * 1024;
	char *text = mem_alloc(len + 1);

	(void)state;
	memset(text, 'x', len);
	text[0] = text[len - 1] = '"';
	start_linked(3);
	assert_true(link_send(nodes[0].hub, "n3", text, len));
	assert_true(link_send(nodes[2].hub, "n1", "{\"b\":2}", 7));
	assert_true(fixture_run(&loop, has_frame, &nodes[0]));
	assert_true(fixture_run(&loop, has_frame, &nodes[2]));
	assert_string_equal(nodes[0].frame, "{\"b\":2}");
	assert_int_equal(nodes[2].frame_len, len);
	assert_memory_equal(nodes[2].frame, text, len);
	free(text);
}

static void never_linked(void)
{
	fixture_run_for(&loop, 1500);
	assert_int_equal(nodes[0].ups, 0);
	assert_int_equal(nodes[1].ups, 0);
}

/* Both ways: once the stranger is dialled, once it dials. */
static void node_of_another_ca_is_never_linked(void **state)
{
	struct tls_ca other = tls_ca(TLS_UUID);
	struct tls_leaf leaf;
	unsigned stranger;

	(void)state;
	for (stranger = 0; stranger < 2; stranger++) {
		leaf = tls_leaf(&other, PKI_NODE, names[stranger], TLS_UUID);
		tls_host_give(&hosts[stranger], &other, &leaf);
		fixture_start(&nodes[0], &loop);
		fixture_start(&nodes[1], &loop);
		never_linked();
		fixture_stop(&nodes[0]);
		fixture_stop(&nodes[1]);
		tls_host_give(&hosts[stranger], &ca, &leaves[stranger]);
	}
}

/* n2's address, but n3 answers there. */
static void node_with_another_nodes_certificate_is_not_linked(void **state)
{
	(void)state;
	tls_host_give(&hosts[1], &ca, &leaves[2]);
	nodes[1].config.node = (char *)(uintptr_t) "n3"; /* its own files are checked against its name */
	fixture_start(&nodes[0], &loop);
	fixture_start(&nodes[1], &loop);
	never_linked();
	assert_string_equal(nodes[1].hello, ""); /* it was told nothing */
}

static void revoked_node_is_put_out_and_stays_out(void **state)
{
	struct pki_info info;
	struct err e = ERR_INIT;
	char line[64];

	(void)state;
	start_linked(2);
	assert_int_equal(pki_describe(leaves[0].cert, &info, &e), ERR_OK);
	snprintf(line, sizeof line, "%s\n", info.serial);
	tls_host_write(&hosts[1], "revoked", line, 0600);
	assert_true(fixture_run(&loop, has_down, &nodes[1]));
	assert_string_equal(nodes[1].reason, "its certificate was revoked");
	nodes[1].ups = 0;
	fixture_run_for(&loop, 1500);
	assert_int_equal(nodes[1].ups, 0);
	assert_false(link_is_up(nodes[0].hub, "n2"));
}

static void node_without_a_certificate_waits_and_links_when_it_has_one(void **state)
{
	unsigned count = 2;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	char dir[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	str_copy(dir, sizeof dir, hosts[1].dir);
	nodes[1].config.state_dir = (char *)(uintptr_t) "/nonexistent";
	fixture_start(&nodes[1], &loop);
	fixture_start(&nodes[0], &loop);
	fixture_run_for(&loop, 500);
	inet_pton(AF_INET, addresses[1], &sa.sin_addr);
	assert_int_not_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	close(fd);
	nodes[1].config.state_dir = dir;
	assert_true(fixture_run(&loop, all_linked, &count));
}

static void renewed_certificate_is_used_by_the_next_link(void **state)
{
	unsigned count = 2;
	struct tls_leaf fresh;
	struct pki_info old;
	struct err e = ERR_INIT;
	char line[64];

	(void)state;
	start_linked(2);
	fresh = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID);
	tls_host_give(&hosts[0], &ca, &fresh);
	fixture_run_for(&loop, 300);
	assert_int_equal(nodes[0].downs, 0);
	/* Its old one is refused from now on: it can only come back with the new one. */
	assert_int_equal(pki_describe(leaves[0].cert, &old, &e), ERR_OK);
	snprintf(line, sizeof line, "%s\n", old.serial);
	tls_host_write(&hosts[1], "revoked", line, 0600);
	assert_true(fixture_run(&loop, has_down, &nodes[1]));
	assert_true(fixture_run(&loop, all_linked, &count));
}

/* --- requests --- */

struct client {
	const struct tls_leaf *leaf; /* NULL: without a certificate */
	const char *request;
	int out;
};

static _Noreturn void run_client(const struct client *k)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	struct timeval limit = {8, 0};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int fd = socket(AF_INET, SOCK_STREAM, 0), n;
	char part[4096];
	SSL *ssl;

	if (k->leaf != NULL) {
		BIO *cert = BIO_new_mem_buf(k->leaf->cert, -1), *key = BIO_new_mem_buf(k->leaf->key, -1);

		SSL_CTX_use_certificate(ctx, PEM_read_bio_X509(cert, NULL, NULL, NULL));
		SSL_CTX_use_PrivateKey(ctx, PEM_read_bio_PrivateKey(key, NULL, NULL, NULL));
	}
	inet_pton(AF_INET, addresses[0], &sa.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0)
		_exit(1);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1 || SSL_write(ssl, k->request, (int)strlen(k->request)) <= 0)
		_exit(1);
	while ((n = SSL_read(ssl, part, sizeof part)) > 0)
		if (write(k->out, part, (size_t)n) != n)
			_exit(1);
	_exit(0);
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

/* What a client gets; returned: free. */
static char *ask_as(const struct tls_leaf *leaf, const char *request)
{
	struct client k = {leaf, request, -1};
	struct reading r = {0};
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		k.out = ends[1];
		run_client(&k);
	}
	close(ends[1]);
	r.fd = ends[0];
	fcntl(r.fd, F_SETFL, O_NONBLOCK);
	assert_true(fixture_run(&loop, is_read, &r));
	close(r.fd);
	waitpid(pid, NULL, 0);
	return r.text.data != NULL ? r.text.data : mem_strdup("");
}

static void asker_is(const struct tls_leaf *leaf, const char *expected)
{
	char *answer = ask_as(leaf, "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

	if (strstr(answer, expected) == NULL)
		fail_msg("expected %s, got: %s", expected, answer);
	free(answer);
}

static void asker_is_known_by_his_certificate(void **state)
{
	struct tls_leaf admin = tls_leaf(&ca, PKI_ADMIN, "alice", TLS_UUID);
	struct tls_ca other = tls_ca(TLS_UUID);
	struct tls_leaf stranger = tls_leaf(&other, PKI_ADMIN, "mallory", TLS_UUID);
	char *answer;

	(void)state;
	fixture_start(&nodes[0], &loop);
	asker_is(&admin, "\r\n\r\nadmin|alice|127.0.0.1|");
	asker_is(&leaves[1], "\r\n\r\nnode|n2|127.0.0.1|");
	asker_is(NULL, "\r\n\r\nnobody||127.0.0.1|");
	answer = ask_as(&stranger, "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	assert_string_equal(answer, "");
	free(answer);
}

static void link_without_a_nodes_certificate_is_refused(void **state)
{
	static const char request[] = "GET /v1/peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	                              "Sec-WebSocket-Protocol: mha-peer-1\r\n\r\n";
	struct tls_leaf admin = tls_leaf(&ca, PKI_ADMIN, "n2", TLS_UUID);
	char *answer;

	(void)state;
	fixture_start(&nodes[0], &loop);
	answer = ask_as(&admin, request);
	assert_null(strstr(answer, "101 Switching"));
	free(answer);
	answer = ask_as(NULL, request);
	assert_null(strstr(answer, "101 Switching"));
	free(answer);
}

/* A client's text frame; the mask keeps NUL out of it. */
static void add_frame(struct buf *b, const char *text)
{
	size_t len = strlen(text), i;

	buf_printf(b, "\x81%c\x01\x01\x01\x01", (int)(0x80 | len));
	for (i = 0; i < len; i++)
		buf_printf(b, "%c", text[i] ^ 1);
}

static char *say_hello_as(const struct tls_leaf *leaf, const char *hello)
{
	struct buf b = {0};
	char *answer;

	buf_puts(&b, "GET /v1/peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	             "Sec-WebSocket-Protocol: mha-peer-1\r\n\r\n");
	add_frame(&b, hello);
	add_frame(&b, "{\"welcome\":true}");
	answer = ask_as(leaf, b.data);
	buf_done(&b);
	return answer;
}

static void hello_must_say_the_certificates_name(void **state)
{
	char *answer;

	(void)state;
	fixture_start(&nodes[0], &loop);
	answer = say_hello_as(&leaves[1], "{\"node\":\"n3\",\"hello\":{}}");
	assert_non_null(strstr(answer, "its certificate is for \\\"n2\\\", but it says that it is \\\"n3\\\""));
	assert_int_equal(nodes[0].ups, 0);
	free(answer);
	answer = say_hello_as(&leaves[1], "{\"node\":\"n2\",\"hello\":{}}");
	assert_int_equal(nodes[0].ups, 1);
	free(answer);
}

static void plain_http_at_the_encrypted_port_gets_no_answer(void **state)
{
	static const char request[] = "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	char *answer;

	(void)state;
	fixture_start(&nodes[0], &loop);
	answer = fixture_exchange(&loop, addresses[0], request, sizeof request - 1);
	assert_null(strstr(answer, "HTTP/1.1 200"));
	free(answer);
}

static bool are_closed(void *arg)
{
	int *fds = arg;
	char byte;
	unsigned i;

	for (i = 0; i < HALF_OPEN; i++)
		if (recv(fds[i], &byte, 1, MSG_DONTWAIT) != 0)
			return false;
	return true;
}

/* Connections that never begin the handshake, from one host, before and while the peers link. */
static void thousand_half_open_connections_do_not_keep_a_peer_out(void **state)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(fixture_port())};
	static int fds[HALF_OPEN];
	unsigned i, count = 2;

	(void)state;
	fixture_start(&nodes[1], &loop);
	inet_pton(AF_INET, addresses[1], &sa.sin_addr);
	for (i = 0; i < HALF_OPEN; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof sa), 0);
		if (i % 64 == 63)
			fixture_run_for(&loop, 20);
		if (i == HALF_OPEN / 2)
			fixture_start(&nodes[0], &loop);
	}
	assert_true(fixture_run(&loop, all_linked, &count));
	assert_true(fixture_run(&loop, are_closed, fds)); /* given up after 3 s */
	for (i = 0; i < HALF_OPEN; i++)
		close(fds[i]);
}

#define test(f) cmocka_unit_test_setup_teardown(f, start_loop, end_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(nodes_of_one_ca_link_and_carry_frames),
	        test(node_of_another_ca_is_never_linked),
	        test(node_with_another_nodes_certificate_is_not_linked),
	        test(revoked_node_is_put_out_and_stays_out),
	        test(node_without_a_certificate_waits_and_links_when_it_has_one),
	        test(renewed_certificate_is_used_by_the_next_link),
	        test(asker_is_known_by_his_certificate),
	        test(link_without_a_nodes_certificate_is_refused),
	        test(hello_must_say_the_certificates_name),
	        test(plain_http_at_the_encrypted_port_gets_no_answer),
	        test(thousand_half_open_connections_do_not_keep_a_peer_out),
	};

	signal(SIGPIPE, SIG_IGN);
	log_init("test_link_tls", "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
