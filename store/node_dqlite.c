#include "store/node_dqlite.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/front.h"

#include <dqlite.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* The id whose node starts a cluster by itself on an empty directory; lives for the moment of a bootstrap only. */
#define SELF_STARTING_ID 1

/* dqlite keeps the whole log in memory: at 1024/8192, its default, some 60 MB of it. */
#define SNAPSHOT_THRESHOLD 256
#define SNAPSHOT_TRAILING  512

/* raft allocates segments of 8 MiB ahead of need, two at a time, and a snapshot stands beside the old one for a while. */
#define DISK_NEEDED_BYTES ((uint64_t)32 << 20)

/* The election timeout is 15 times the latency; dialling must give up before. */
#define DIAL_LATENCIES         10
#define DIAL_MIN_MS            200
#define USER_TIMEOUT_LATENCIES 30
#define USER_TIMEOUT_MIN_MS    1500

struct node_dqlite {
	dqlite_node *node;
	struct front *front;
};

char *node_dqlite_local_address(uint64_t id, char *buf)
{
	snprintf(buf, DQLITE_LOCAL_CAP, "@dqlite-%016" PRIx64, id);
	return buf;
}

static unsigned at_least(unsigned value, unsigned min)
{
	return value > min ? value : min;
}

/* dqlite's own text, and what an operator can do about the usual reason. */
static int fail(dqlite_node *n, const struct node_dqlite_params *p, const char *what, struct err *e)
{
	const char *text = dqlite_node_errmsg(n);
	struct statvfs fs;

	if (statvfs(p->dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_NEEDED_BYTES)
		return err_set(e, ERR_IO,
		               "the disk is full under %s: %" PRIu64 " MB are free, the store needs %" PRIu64
		               " MB to start; free some space and start again",
		               p->dir, (uint64_t)fs.f_bavail * fs.f_frsize >> 20, DISK_NEEDED_BYTES >> 20);
	return err_set(e, ERR_IO,
	               "dqlite cannot %s in %s: %s; if files there are damaged, remove this node from the cluster and add it "
	               "anew "
	               "with an empty directory",
	               what, p->dir, text != NULL && *text != '\0' ? text : "no reason was given");
}

/* Start and stop without a port, with `self` as the configuration or, without it, with dqlite's own idea of one. (A node that
 * was created is started also where that is not needed: dqlite leaks one that never ran.) */
static int run_once(uint64_t id, const struct node_dqlite_params *p, struct dqlite_node_info_ext *self, struct err *e)
{
	dqlite_node *n = NULL;
	int rc = 0;

	if (dqlite_node_create(id, p->address, p->dir, &n) != 0)
		rc = fail(n, p, "open its directory", e);
	else if (self != NULL && dqlite_node_recover_ext(n, self, 1) != 0)
		rc = fail(n, p, "write the first configuration", e);
	else if (dqlite_node_set_bind_address(n, "@") != 0 || dqlite_node_start(n) != 0)
		rc = fail(n, p, "start for the first time", e);
	else if (dqlite_node_stop(n) != 0)
		rc = fail(n, p, "stop for the first time", e);
	dqlite_node_destroy(n);
	return rc;
}

int node_dqlite_bootstrap(const struct node_dqlite_params *p, struct err *e)
{
	struct dqlite_node_info_ext self = {
	        .size = sizeof self, .id = p->id, .address = (uint64_t)(uintptr_t)p->address, .dqlite_role = 0, /* voter */
	};
	int rc;

	/* The well-known id writes raft's first term and configuration, then the own id takes its place. (Recovery alone, on an
	 * empty directory, makes a leader of term 0: its first write aborts.) */
	rc = run_once(SELF_STARTING_ID, p, NULL, e);
	return rc == 0 ? run_once(p->id, p, &self, e) : rc;
}

int node_dqlite_take_over(const struct node_dqlite_params *p, struct err *e)
{
	struct dqlite_node_info_ext self = {
	        .size = sizeof self, .id = p->id, .address = (uint64_t)(uintptr_t)p->address, .dqlite_role = 0, /* voter */
	};

	return run_once(p->id, p, &self, e);
}

int node_dqlite_last_entry(const struct node_dqlite_params *p, uint64_t *ret_index, uint64_t *ret_term, struct err *e)
{
	dqlite_node *n = NULL;
	int rc = 0;

	if (dqlite_node_create(p->id, p->address, p->dir, &n) != 0)
		rc = fail(n, p, "open its directory", e);
	else if (dqlite_node_describe_last_entry(n, ret_index, ret_term) != 0)
		rc = fail(n, p, "read its log", e);
	dqlite_node_destroy(n);
	return rc;
}

static int configure(struct node_dqlite *d, const struct node_dqlite_params *p, const char *local)
{
	int rc = dqlite_node_set_bind_address(d->node, local);

	if (rc == 0)
		rc = dqlite_node_set_connect_func(d->node, front_dial, d->front);
	if (rc == 0)
		rc = dqlite_node_set_network_latency_ms(d->node, p->latency_ms);
	if (rc == 0)
		rc = dqlite_node_set_snapshot_params_v2(d->node, SNAPSHOT_THRESHOLD, SNAPSHOT_TRAILING,
		                                        DQLITE_SNAPSHOT_TRAILING_STATIC);
	/* A node that finds its files damaged must say so: by default it would delete them and go on with less than it
	 * acknowledged. */
	if (rc == 0)
		rc = dqlite_node_set_auto_recovery(d->node, false);
	return rc;
}

static int start_dqlite(struct node_dqlite *d, const struct node_dqlite_params *p, const char *local, struct err *e)
{
	int rc = 0;

	if (dqlite_node_create(p->id, p->address, p->dir, &d->node) != 0)
		rc = fail(d->node, p, "open its directory", e);
	else if (configure(d, p, local) != 0)
		rc = fail(d->node, p, "be configured", e);
	else if (dqlite_node_start(d->node) != 0)
		rc = fail(d->node, p, "start", e);
	if (rc != 0) {
		dqlite_node_destroy(d->node);
		d->node = NULL;
	}
	return rc;
}

int node_dqlite_start(const struct node_dqlite_params *p, struct node_dqlite **ret, struct err *e)
{
	struct node_dqlite *d = mem_alloc(sizeof *d);
	char local[DQLITE_LOCAL_CAP];
	struct front_params front = {
	        .address = p->address,
	        .raft = node_dqlite_local_address(p->id, local),
	        .sql = p->sql,
	        .tls = p->tls,
	        .user_timeout_ms = at_least(p->latency_ms * USER_TIMEOUT_LATENCIES, USER_TIMEOUT_MIN_MS),
	        .dial_ms = at_least(p->latency_ms * DIAL_LATENCIES, DIAL_MIN_MS),
	};
	int rc;

	/* The port first: its trouble is the more frequent, and peers that come early wait in its queue, not a second for their
	 * next try. */
	rc = front_open(&front, &d->front, e);
	if (rc == 0) {
		front_set_nodes(d->front, p->config);
		rc = start_dqlite(d, p, local, e);
	}
	if (rc == 0)
		rc = front_run(d->front, e);
	if (rc != 0) {
		node_dqlite_stop(d);
		return rc;
	}
	*ret = d;
	return 0;
}

int node_dqlite_start_private(const struct node_dqlite_params *p, struct node_dqlite **ret, struct err *e)
{
	struct node_dqlite *d = mem_alloc(sizeof *d);
	char local[DQLITE_LOCAL_CAP];
	int rc;

	node_dqlite_local_address(p->id, local);
	rc = start_dqlite(d, p, local, e);
	if (rc != 0) {
		free(d);
		return rc;
	}
	*ret = d;
	return 0;
}

void node_dqlite_stop(struct node_dqlite *d)
{
	if (d == NULL)
		return;
	front_stop(d->front);
	if (d->node != NULL) {
		if (dqlite_node_stop(d->node) != 0)
			log_warn("store", "dqlite did not stop cleanly: %s", dqlite_node_errmsg(d->node));
		dqlite_node_destroy(d->node);
	}
	front_free(d->front); /* dqlite's threads dialled through it until now */
	free(d);
}

struct front *node_dqlite_front(struct node_dqlite *d)
{
	return d->front;
}
