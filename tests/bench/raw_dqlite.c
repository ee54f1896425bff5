/* dqlite without our front end: what contrib/bench measures the store against.
 *
 *   raw_dqlite node --id N --address A --dir D --latency MS   one node, until SIGTERM; the first has id 1 and starts the
 * cluster raw_dqlite add --leader A --id N --address A              take a node in, as a voter raw_dqlite leader --address A
 * the leader's address, as this node knows it raw_dqlite load --target A --work W ...                   load (load.h)
 */
#include "core/base/str.h"
#include "tests/bench/dqload.h"

#include <dqlite.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the store's own: the comparison is of what stands around dqlite. */
#define SNAPSHOT_THRESHOLD 256
#define SNAPSHOT_TRAILING  512
#define THREADPOOL_SIZE    "8"

#define BUSY_TIMEOUT_MS 5000 /* writers queue inside dqlite: without it many clients get little else than BUSY */

struct args {
	uint64_t id, latency_ms;
	const char *address, *dir, *leader;
};

static int connect_cb(void *arg, const char *address, int *ret_fd)
{
	int fd = dqload_dial(address);

	(void)arg;
	if (fd < 0)
		return -fd;
	*ret_fd = fd;
	return 0;
}

static int configure(dqlite_node *n, const struct args *a)
{
	int rc = dqlite_node_set_bind_address(n, a->address);

	if (rc == 0)
		rc = dqlite_node_set_connect_func(n, connect_cb, NULL);
	if (rc == 0)
		rc = dqlite_node_set_network_latency_ms(n, (unsigned)a->latency_ms);
	if (rc == 0)
		rc = dqlite_node_set_busy_timeout(n, BUSY_TIMEOUT_MS);
	return rc != 0 ? rc
	               : dqlite_node_set_snapshot_params_v2(n, SNAPSHOT_THRESHOLD, SNAPSHOT_TRAILING,
	                                                    DQLITE_SNAPSHOT_TRAILING_STATIC);
}

static int run_node(const struct args *a)
{
	dqlite_node *n = NULL;
	sigset_t ends;
	int sig, rc;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before dqlite starts its threads, which inherit it */
	setenv("UV_THREADPOOL_SIZE", THREADPOOL_SIZE, 1);
	rc = dqlite_node_create(a->id, a->address, a->dir, &n);
	if (rc == 0)
		rc = configure(n, a);
	if (rc == 0)
		rc = dqlite_node_start(n);
	if (rc != 0) {
		fprintf(stderr, "raw_dqlite: %s\n", dqlite_node_errmsg(n));
		dqlite_node_destroy(n);
		return 1;
	}
	sigwait(&ends, &sig);
	rc = dqlite_node_stop(n);
	dqlite_node_destroy(n);
	return rc != 0;
}

static int report(int rc, const struct err *e)
{
	if (rc != 0)
		fprintf(stderr, "raw_dqlite: %s\n", e->text);
	return rc != 0;
}

static int print_leader(const struct args *a)
{
	struct err e = ERR_INIT;
	char leader[64] = "";
	uint64_t id = 0;
	int rc = dqload_leader(a->address, &id, leader, &e);

	if (rc == 0 && id != 0)
		puts(leader);
	return report(rc, &e);
}

static int parse(int argc, char **argv, struct args *a, struct err *e)
{
	static const struct option options[] = {{"id", 1, NULL, 'i'},      {"address", 1, NULL, 'a'}, {"dir", 1, NULL, 'd'},
	                                        {"latency", 1, NULL, 'l'}, {"leader", 1, NULL, 'L'},  {0}};
	int c, rc = 0;

	while (rc == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'i')
			rc = str_to_u64(optarg, "id", 1, UINT64_MAX, &a->id, e);
		else if (c == 'l')
			rc = str_to_u64(optarg, "latency", 1, 60000, &a->latency_ms, e);
		else if (c == 'a')
			a->address = optarg;
		else if (c == 'd')
			a->dir = optarg;
		else if (c == 'L')
			a->leader = optarg;
		else
			return err_set(e, ERR_INVAL, "see the head of tests/bench/raw_dqlite.c");
	}
	if (rc == 0 && a->address == NULL)
		return err_set(e, ERR_INVAL, "--address is missing");
	return rc;
}

int main(int argc, char **argv)
{
	struct args a = {.latency_ms = 40};
	struct err e = ERR_INIT;
	const char *verb = argc > 1 ? argv[1] : "";
	int rc;

	if (strcmp(verb, "load") == 0)
		return load_main(argc - 1, argv + 1, &dqload_driver);
	rc = parse(argc - 1, argv + (argc > 1), &a, &e);
	if (rc != 0)
		return report(rc, &e);
	if (strcmp(verb, "node") == 0 && a.dir != NULL)
		return run_node(&a);
	if (strcmp(verb, "leader") == 0)
		return print_leader(&a);
	if (strcmp(verb, "add") == 0 && a.leader != NULL)
		return report(dqload_add(a.leader, a.id, a.address, &e), &e);
	fprintf(stderr, "raw_dqlite: say node (with --dir), add (with --leader), leader or load\n");
	return 2;
}
