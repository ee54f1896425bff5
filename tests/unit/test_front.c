/* The raft port with TLS, without dqlite: two fronts in one process, each with an echo where its node would be. */
#include "store/front.h"

#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/net.h"
#include "store_fixture.h"
#include "tls_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS  20000
#define FLOOD     1000
#define BIG_BYTES ((size_t)4 << 20)
#define HELLO     "greetings"

/* --- what stands for dqlite and the SQL front end: says its letter, then what it hears --- */

struct echo {
	char name[32], letter;
	int listen_fd;
	pthread_t thread;
};

static void *echo_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[16384];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
		for (ssize_t at = 0, m; at < n; at += m)
			if ((m = send(fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL)) <= 0)
				break;
	close(fd);
	return NULL;
}

static void *echo_main(void *arg)
{
	struct echo *x = arg;
	pthread_t thread;
	int fd;

	while ((fd = accept(x->listen_fd, NULL, NULL)) >= 0) {
		if (send(fd, &x->letter, 1, MSG_NOSIGNAL) == 1 &&
		    pthread_create(&thread, NULL, echo_one, (void *)(intptr_t)fd) == 0)
			pthread_detach(thread);
		else
			close(fd);
	}
	return NULL;
}

static void echo_start(struct echo *x, const char *what, char letter)
{
	static unsigned count;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	snprintf(x->name, sizeof x->name, "@mha-test-%d-%u-%s", getpid(), count++, what);
	x->letter = letter;
	memcpy(sun.sun_path, x->name, strlen(x->name));
	sun.sun_path[0] = '\0';
	x->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(x->listen_fd, (struct sockaddr *)&sun,
	                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(x->name))),
	                 0);
	assert_int_equal(listen(x->listen_fd, 64), 0);
	assert_int_equal(pthread_create(&x->thread, NULL, echo_main, x), 0);
}

static void echo_stop(struct echo *x)
{
	shutdown(x->listen_fd, SHUT_RDWR);
	pthread_join(x->thread, NULL);
	close(x->listen_fd);
}

/* --- a node --- */

struct host {
	struct tls_host files;
	struct tls *tls;
	struct echo raft, sql;
	struct front *front;
	char address[40];
};

static struct {
	struct tls_ca ca;
	struct host a, b; /* n1, n2 */
	struct config nodes;
	struct config_node list[2];
} t;

static void host_start(struct host *h, const char *name, unsigned number, bool is_plain)
{
	struct tls_leaf leaf = tls_leaf(&t.ca, PKI_NODE, name, TLS_UUID);
	struct front_params p = {.user_timeout_ms = 5000, .dial_ms = 2000};
	struct err e = ERR_INIT;

	tls_host_init(&h->files, name);
	tls_host_give(&h->files, &t.ca, &leaf);
	if (!is_plain && tls_open(&h->files.config, &h->tls, &e) != ERR_OK)
		fail_msg("%s", e.text);
	echo_start(&h->raft, "raft", 'r');
	echo_start(&h->sql, "sql", 's');
	snprintf(h->address, sizeof h->address, "127.0.0.%u:%u", 30 + number, fixture_port(number));
	p.address = h->address;
	p.raft = h->raft.name;
	p.sql = h->sql.name;
	p.tls = h->tls;
	if (front_open(&p, &h->front, &e) != ERR_OK)
		fail_msg("%s", e.text);
	front_set_nodes(h->front, &t.nodes);
	assert_int_equal(front_run(h->front, &e), ERR_OK);
}

static void host_stop(struct host *h)
{
	front_stop(h->front);
	front_free(h->front);
	echo_stop(&h->raft);
	echo_stop(&h->sql);
	tls_free(h->tls);
	tls_host_done(&h->files);
}

static void name_node(unsigned i, char *name, const char *address)
{
	t.list[i].name = name;
	t.list[i].address = mem_strdup(address);
	t.list[i].raft_port = fixture_port(i + 1);
	t.list[i].is_removed = false;
}

static int start(bool is_plain)
{
	memset(&t, 0, sizeof t);
	t.ca = tls_ca(TLS_UUID);
	t.nodes.nodes = t.list;
	t.nodes.nodes_count = 2;
	name_node(0, "n1", "127.0.0.31");
	name_node(1, "n2", "127.0.0.32");
	host_start(&t.a, "n1", 1, is_plain);
	host_start(&t.b, "n2", 2, is_plain);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return start(false);
}

static int setup_plain(void **state)
{
	(void)state;
	return start(true);
}

static int teardown(void **state)
{
	(void)state;
	host_stop(&t.a);
	host_stop(&t.b);
	free(t.list[0].address);
	free(t.list[1].address);
	return 0;
}

/* --- the near end --- */

/* Exactly len bytes, unless the end comes first. Returns how many. */
static size_t take(int fd, char *buf, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		if (poll(&p, 1, LIMIT_MS) <= 0)
			fail_msg("nothing came, and no end either");
		n = recv(fd, buf + have, len - have, MSG_DONTWAIT);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

static int open_way(struct host *from, const char *address, const char *preface)
{
	int fd = -1;

	assert_int_equal(front_connect(from->front, address, preface, &fd), 0);
	return fd;
}

/* Does an echo answer at the other end? */
static bool answers(int fd, char letter)
{
	char buf[1 + sizeof HELLO] = "";

	if (send(fd, HELLO, sizeof HELLO, MSG_NOSIGNAL) != sizeof HELLO)
		return false;
	return take(fd, buf, sizeof buf) == sizeof buf && buf[0] == letter && strcmp(buf + 1, HELLO) == 0;
}

static void assert_way(struct host *from, struct host *to)
{
	int fd = open_way(from, to->address, "");

	assert_true(answers(fd, 'r'));
	close(fd);
}

static void assert_closed(int fd)
{
	char byte;

	assert_int_equal(take(fd, &byte, 1), 0);
	close(fd);
}

/* It has to speak first: nothing comes back from a silent way in any case. */
static void assert_no_way(struct host *from, struct host *to)
{
	int fd = open_way(from, to->address, "");

	assert_false(answers(fd, 'r'));
	close(fd);
}

static int dial_tcp(const char *from, const char *to)
{
	struct sockaddr_storage ss;
	struct sockaddr_in local = {.sin_family = AF_INET};
	struct err e = ERR_INIT;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	inet_pton(AF_INET, from, &local.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof local), 0);
	assert_int_equal(net_parse(to, &ss, &e), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)), 0);
	return fd;
}

/* --- tests --- */

static void the_first_bytes_decide_where_a_connection_leads(void **state)
{
	int raft = open_way(&t.a, t.b.address, ""), sql = open_way(&t.a, t.b.address, FRONT_SQL);

	(void)state;
	assert_true(answers(raft, 'r'));
	assert_true(answers(sql, 's'));
	close(raft);
	close(sql);
}

static void dqlites_own_way_leads_there_too(void **state)
{
	int fd = -1;

	(void)state;
	assert_int_equal(front_dial(t.a.front, t.b.address, &fd), 0);
	assert_true(answers(fd, 'r'));
	close(fd);
	assert_int_equal(front_dial(t.a.front, "127.0.0.31:1", &fd), ECONNREFUSED);
}

/* Much more than all buffers on the way hold, both ways at once: nothing is lost, nothing stands still. */
static void large_amounts_pass_both_ways(void **state)
{
	int fd = open_way(&t.a, t.b.address, "");
	char *out = mem_alloc(BIG_BYTES), *in = mem_alloc(BIG_BYTES + 1);
	size_t sent = 0, got = 0;

	(void)state;
	for (size_t i = 0; i < BIG_BYTES; i++)
		out[i] = (char)(i * 31 + i / 251);
	while (got < BIG_BYTES + 1) {
		struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < BIG_BYTES ? POLLOUT : 0))};
		ssize_t n;

		if (poll(&p, 1, LIMIT_MS) <= 0)
			fail_msg("stands still at %zu sent, %zu received", sent, got);
		n = (p.revents & POLLOUT) != 0 ? send(fd, out + sent, BIG_BYTES - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
		sent += n > 0 ? (size_t)n : 0;
		n = (p.revents & POLLIN) != 0 ? recv(fd, in + got, BIG_BYTES + 1 - got, MSG_DONTWAIT) : 0;
		got += n > 0 ? (size_t)n : 0;
	}
	assert_memory_equal(in + 1, out, BIG_BYTES);
	free(out);
	free(in);
	close(fd);
}

static void another_node_at_the_address_is_refused(void **state)
{
	(void)state;
	t.list[1].name = "n3"; /* says the list; n2 answers */
	front_set_nodes(t.a.front, &t.nodes);
	assert_no_way(&t.a, &t.b);
	t.nodes.nodes_count = 1; /* not listed: any node of the cluster */
	front_set_nodes(t.a.front, &t.nodes);
	assert_way(&t.a, &t.b);
}

static void a_removed_node_is_neither_dialled_nor_let_in(void **state)
{
	int open = open_way(&t.b, t.a.address, ""), fd = -1;

	(void)state;
	assert_true(answers(open, 'r'));
	t.list[1].is_removed = true;
	front_set_nodes(t.a.front, &t.nodes); /* n1 knows that n2 was removed */
	assert_closed(open);                  /* within the next tick */
	assert_no_way(&t.b, &t.a);
	assert_no_way(&t.a, &t.b);
	assert_int_equal(front_dial(t.a.front, t.b.address, &fd), EHOSTUNREACH);
}

static void an_open_connection_ends_when_its_certificate_is_revoked(void **state)
{
	int open = open_way(&t.b, t.a.address, "");
	struct pki_info own;

	(void)state;
	assert_true(answers(open, 'r'));
	tls_own(t.b.tls, &own);
	tls_host_write(&t.a.files, "revoked", own.serial, 0644);
	assert_closed(open);
	assert_no_way(&t.b, &t.a);
}

static void rotation_leaves_open_connections_alone(void **state)
{
	struct tls_leaf next = tls_leaf(&t.ca, PKI_NODE, "n2", TLS_UUID);
	int open = open_way(&t.a, t.b.address, "");
	int64_t end_ms = clock_now_ms() + LIMIT_MS;
	struct pki_info before, own;
	char buf[sizeof HELLO];

	(void)state;
	assert_true(answers(open, 'r'));
	tls_own(t.b.tls, &before);
	tls_host_give(&t.b.files, &t.ca, &next);
	do {
		usleep(50000);
		tls_own(t.b.tls, &own);
	} while (strcmp(own.serial, before.serial) == 0 && clock_now_ms() < end_ms);
	assert_string_not_equal(own.serial, before.serial);
	assert_way(&t.a, &t.b);
	assert_int_equal(send(open, HELLO, sizeof HELLO, MSG_NOSIGNAL), sizeof HELLO);
	assert_int_equal(take(open, buf, sizeof buf), sizeof buf);
	close(open);
}

static void an_administrators_certificate_opens_nothing(void **state)
{
	struct tls_leaf admin = tls_leaf(&t.ca, PKI_ADMIN, "n1", TLS_UUID);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *cert = BIO_new_mem_buf(admin.cert, -1), *key = BIO_new_mem_buf(admin.key, -1);
	X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	SSL *ssl = SSL_new(ctx);
	int fd = dial_tcp("127.0.0.39", t.b.address);
	char byte;

	(void)state;
	assert_int_equal(SSL_use_cert_and_key(ssl, x, k, NULL, 1), 1);
	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	(void)SSL_write(ssl, HELLO, sizeof HELLO);
	assert_true(SSL_read(ssl, &byte, 1) <= 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	X509_free(x);
	EVP_PKEY_free(k);
	BIO_free(cert);
	BIO_free(key);
	close(fd);
}

static void plain_bytes_and_silence_are_sent_away(void **state)
{
	int loud = dial_tcp("127.0.0.39", t.b.address), silent = dial_tcp("127.0.0.39", t.b.address);
	char buf[64];

	(void)state;
	assert_int_equal(send(loud, FRONT_SQL "more", 12, MSG_NOSIGNAL), 12);
	while (take(loud, buf, 1) == 1) /* TLS says goodbye with an alert */
		;
	close(loud);
	assert_closed(silent);
}

/* Silent connections without end, the next as soon as one is closed: nodes get in all the same. */
static void a_flood_of_silent_connections_keeps_nobody_out(void **state)
{
	static int fds[FLOOD];

	(void)state;
	for (int i = 0; i < FLOOD; i++)
		fds[i] = dial_tcp("127.0.0.39", t.b.address);
	for (int i = 0; i < 5; i++)
		assert_way(&t.a, &t.b);
	for (int i = 0; i < FLOOD; i++)
		close(fds[i]);
	assert_way(&t.a, &t.b);
}

static void stopping_closes_what_is_open_and_refuses_what_is_new(void **state)
{
	int open = open_way(&t.a, t.b.address, ""), fd = -1;

	(void)state;
	assert_true(answers(open, 'r'));
	front_stop(t.a.front);
	assert_closed(open);
	assert_int_equal(front_connect(t.a.front, t.b.address, "", &fd), ESHUTDOWN);
	front_free(t.a.front);
	t.a.front = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLAIN(name)                                                                                                            \
	{                                                                                                                      \
		"plain_" #name, name, setup_plain, teardown, NULL                                                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(the_first_bytes_decide_where_a_connection_leads),
	        PLAIN(the_first_bytes_decide_where_a_connection_leads),
	        TEST(dqlites_own_way_leads_there_too),
	        PLAIN(dqlites_own_way_leads_there_too),
	        TEST(large_amounts_pass_both_ways),
	        PLAIN(large_amounts_pass_both_ways),
	        TEST(another_node_at_the_address_is_refused),
	        TEST(a_removed_node_is_neither_dialled_nor_let_in),
	        TEST(an_open_connection_ends_when_its_certificate_is_revoked),
	        TEST(rotation_leaves_open_connections_alone),
	        TEST(an_administrators_certificate_opens_nothing),
	        TEST(plain_bytes_and_silence_are_sent_away),
	        TEST(a_flood_of_silent_connections_keeps_nobody_out),
	        PLAIN(a_flood_of_silent_connections_keeps_nobody_out),
	        TEST(stopping_closes_what_is_open_and_refuses_what_is_new),
	};

	const struct rlimit files = {4096, 4096}; /* both ends of the flood are here */

	signal(SIGPIPE, SIG_IGN);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
