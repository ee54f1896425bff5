#include "tests/bench/load.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX  1024
#define STACK_BYTES  ((size_t)256 << 10)
#define WARM_UP_NS   (300 * CLOCK_NS_PER_MS)
#define ERRORS_MAX   20 /* of one client, then it gives up */
#define ROWS_DEFAULT 10000
#define SETUP_SQL_READ                                                                                                         \
	"INSERT INTO bench_read SELECT n, substr(hex(randomblob(64)), 1, 128) FROM ("                                          \
	"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < %d) SELECT n FROM r)"

enum work { WORK_SETUP, WORK_INSERT, WORK_TRANSACTION, WORK_SELECT, WORK_COUNT };
static const char *const work_names[WORK_COUNT] = {"setup", "insert", "transaction", "select"};

struct plan {
	const struct load_driver *driver;
	const char *target;
	enum work work;
	uint64_t clients, seconds;
	pthread_barrier_t connected;
	int64_t start_ns,
	        end_ns; /* what begins before or ends after is not counted; set between the two waits at the barrier */
};

struct client {
	struct plan *plan;
	pthread_t thread;
	void *conn;
	uint64_t random;
	char data[LOAD_DATA_BYTES + 1];
	uint32_t *took_ns; /* [count] */
	size_t count, cap;
	unsigned errors;
	struct err first_error;
};

/* --- one client --- */

/* xorshift64*: which key is read next and what is written need no better one. */
static uint64_t next_random(struct client *c)
{
	c->random ^= c->random >> 12;
	c->random ^= c->random << 25;
	c->random ^= c->random >> 27;
	return c->random * UINT64_C(2685821657736338717);
}

static void note_took(struct client *c, int64_t ns)
{
	if (c->count == c->cap) {
		c->cap = c->cap == 0 ? 4096 : 2 * c->cap;
		c->took_ns = mem_resize(c->took_ns, c->cap * sizeof *c->took_ns);
	}
	c->took_ns[c->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int run_once(struct client *c, struct err *e)
{
	const struct load_driver *d = c->plan->driver;

	switch (c->plan->work) {
	case WORK_INSERT:
		return d->insert(c->conn, c->data, e);
	case WORK_TRANSACTION:
		return d->transaction(c->conn, c->data, e);
	default:
		return d->select(c->conn, (int64_t)(next_random(c) % ROWS_DEFAULT) + 1, e);
	}
}

static void note_error(struct client *c, const struct err *e)
{
	if (c->errors++ == 0)
		c->first_error = *e;
	c->plan->driver->close(c->conn);
	c->conn = NULL;
}

static int reconnect(struct client *c, struct err *e)
{
	return c->conn != NULL ? 0 : c->plan->driver->connect(c->plan->target, &c->conn, e);
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct plan *p = c->plan;
	struct err e = ERR_INIT;

	if (reconnect(c, &e) != 0)
		note_error(c, &e);
	(void)pthread_barrier_wait(&p->connected);
	(void)pthread_barrier_wait(&p->connected); /* the times are set between the two */
	while (c->errors < ERRORS_MAX) {
		int64_t begin_ns = clock_now_ns(), end_ns;

		if (begin_ns >= p->end_ns)
			break;
		if (reconnect(c, &e) != 0 || run_once(c, &e) != 0) {
			note_error(c, &e);
			continue;
		}
		end_ns = clock_now_ns();
		if (begin_ns >= p->start_ns && end_ns <= p->end_ns)
			note_took(c, end_ns - begin_ns);
	}
	p->driver->close(c->conn);
	return NULL;
}

/* --- all of them --- */

static int compare_took(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(const uint32_t *sorted, size_t count, unsigned percent)
{
	return count == 0 ? 0 : (double)sorted[(count - 1) * percent / 100] / 1000;
}

static void print_result(const struct plan *p, const struct client *clients)
{
	uint32_t *all;
	size_t count = 0, at = 0;
	unsigned errors = 0;

	for (size_t i = 0; i < p->clients; i++) {
		count += clients[i].count;
		errors += clients[i].errors;
	}
	all = mem_alloc((count + 1) * sizeof *all);
	for (size_t i = 0; i < p->clients; i++) {
		if (clients[i].count > 0)
			memcpy(all + at, clients[i].took_ns, clients[i].count * sizeof *all);
		at += clients[i].count;
	}
	qsort(all, count, sizeof *all, compare_took);
	printf("{\"work\": \"%s\", \"clients\": %" PRIu64 ", \"seconds\": %" PRIu64
	       ", \"ops\": %zu, \"ops_per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"errors\": %u}\n",
	       work_names[p->work], p->clients, p->seconds, count, (double)count / (double)p->seconds,
	       percentile_us(all, count, 50), percentile_us(all, count, 99), percentile_us(all, count, 100), errors);
	free(all);
}

static int start_client(struct client *c, struct plan *p, size_t number)
{
	pthread_attr_t attributes;
	int rc;

	c->plan = p;
	c->random = UINT64_C(0x9e3779b97f4a7c15) * (number + 1);
	for (size_t i = 0; i < LOAD_DATA_BYTES; i++)
		c->data[i] = (char)('a' + next_random(c) % 26);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	rc = pthread_create(&c->thread, &attributes, client_main, c);
	pthread_attr_destroy(&attributes);
	return rc;
}

static int run_clients(struct plan *p)
{
	struct client *clients = mem_alloc(p->clients * sizeof *clients);
	int rc = 0;

	pthread_barrier_init(&p->connected, NULL, (unsigned)p->clients + 1);
	for (size_t i = 0; i < p->clients; i++)
		if (start_client(&clients[i], p, i) != 0) {
			fprintf(stderr, "load: cannot start thread %zu\n", i);
			exit(1); /* the others wait for it at the barrier */
		}
	(void)pthread_barrier_wait(&p->connected);
	p->start_ns = clock_now_ns() + WARM_UP_NS;
	p->end_ns = p->start_ns + (int64_t)p->seconds * 1000 * CLOCK_NS_PER_MS;
	(void)pthread_barrier_wait(&p->connected);
	for (size_t i = 0; i < p->clients; i++)
		pthread_join(clients[i].thread, NULL);
	print_result(p, clients);
	for (size_t i = 0; i < p->clients; i++) {
		if (clients[i].errors > 0 && rc == 0) {
			fprintf(stderr, "load: %s\n", clients[i].first_error.text); /* one tells enough */
			rc = 1;
		}
		free(clients[i].took_ns);
	}
	free(clients);
	return rc;
}

/* Tables, and rows to read. What earlier runs wrote goes away, so that each begins with the same database. */
static int set_up(const struct plan *p)
{
	static const char *const make[] =
	        {"CREATE TABLE IF NOT EXISTS bench_read (id INTEGER PRIMARY KEY, data TEXT NOT NULL)",
	         "CREATE TABLE IF NOT EXISTS bench_written (id INTEGER PRIMARY KEY, data TEXT NOT NULL)",
	         "DELETE FROM bench_written", "DELETE FROM bench_read"};
	char fill[256];
	struct err e = ERR_INIT;
	void *conn = NULL;
	int rc = p->driver->connect(p->target, &conn, &e);

	for (size_t i = 0; i < sizeof make / sizeof *make && rc == 0; i++)
		rc = p->driver->exec(conn, make[i], &e);
	snprintf(fill, sizeof fill, SETUP_SQL_READ, ROWS_DEFAULT);
	if (rc == 0)
		rc = p->driver->exec(conn, fill, &e);
	if (rc != 0)
		fprintf(stderr, "load: %s\n", e.text);
	p->driver->close(conn);
	return rc != 0;
}

/* --- the command line --- */

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s --target T --work setup|insert|transaction|select [--clients N] [--seconds S]\n", program);
	return 2;
}

static bool parse_work(const char *text, enum work *ret)
{
	for (int i = 0; i < WORK_COUNT; i++)
		if (strcmp(text, work_names[i]) == 0) {
			*ret = (enum work)i;
			return true;
		}
	return false;
}

int load_main(int argc, char **argv, const struct load_driver *driver)
{
	static const struct option options[] = {{"target", 1, NULL, 't'},
	                                        {"work", 1, NULL, 'w'},
	                                        {"clients", 1, NULL, 'c'},
	                                        {"seconds", 1, NULL, 's'},
	                                        {0}};
	struct plan p = {.driver = driver, .work = WORK_COUNT, .clients = 1, .seconds = 3};
	struct err e = ERR_INIT;
	int c, rc = 0;

	while (rc == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 't')
			p.target = optarg;
		else if (c == 'c')
			rc = str_to_u64(optarg, "clients", 1, CLIENTS_MAX, &p.clients, &e);
		else if (c == 's')
			rc = str_to_u64(optarg, "seconds", 1, 3600, &p.seconds, &e);
		else if (c != 'w' || !parse_work(optarg, &p.work))
			return usage(argv[0]);
	}
	if (rc != 0) {
		fprintf(stderr, "load: %s\n", e.text);
		return 2;
	}
	if (p.target == NULL || p.work == WORK_COUNT)
		return usage(argv[0]);
	return p.work == WORK_SETUP ? set_up(&p) : run_clients(&p);
}
