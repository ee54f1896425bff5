#include "store/node.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/tls.h"
#include "store/dq.h"
#include "store/front.h"
#include "store/node_disk.h"
#include "store/node_dqlite.h"
#include "store/node_hint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS            50
#define POLL_LEADERLESS_MS 10
#define POLL_TIMEOUT_MS    1000
#define LISTENERS_MAX      8
#define NODE_SQL_CAP       32

struct listener {
	void (*cb)(void *arg, const struct node_leader *l);
	void *arg;
};

/* Asks the own dqlite node who leads. Apart from the node, because libuv lets go of it only after node_stop. */
struct poll {
	uv_timer_t timer;
	struct dq *dq;
	struct node *node; /* NULL: stopped */
	bool is_asking;
	unsigned parts_open;
};

struct node {
	uv_loop_t *loop;
	struct node_disk disk;
	char local[DQLITE_LOCAL_CAP], sql[NODE_SQL_CAP];
	struct tls *tls;            /* NULL: plaintext, or not initialised or joined */
	struct node_dqlite *dqlite; /* NULL: not initialised or joined */
	struct poll *poll;
	struct node_hint *hint;
	struct node_leader leader;
	struct listener listeners[LISTENERS_MAX];
	unsigned listener_count;
};

/* --- leadership --- */

static void set_leader(struct node *n, uint64_t id, const char *address)
{
	struct node_leader *l = &n->leader;

	if (l->id == id && strcmp(l->address, address) == 0)
		return;
	l->id = id;
	str_copy(l->address, sizeof l->address, address);
	l->is_self = id == n->disk.identity.id;
	l->change_count++;
	if (id == 0)
		log_info("store", "no leader is known");
	else
		log_info("store", "the leader is %llu at %s%s", (unsigned long long)id, l->address,
		         l->is_self ? " (this node)" : "");
	for (unsigned i = 0; i < n->listener_count; i++)
		n->listeners[i].cb(n->listeners[i].arg, l);
}

/* From the first data on this node may not come back empty. */
static void note_membership(struct node *n)
{
	struct err e = ERR_INIT;

	if (n->disk.identity.state != IDENTITY_JOINING || !node_disk_has_data(&n->disk))
		return;
	n->disk.identity.state = IDENTITY_MEMBER;
	if (node_disk_save(&n->disk, &e) != 0) {
		n->disk.identity.state = IDENTITY_JOINING; /* tried again with the next poll */
		log_error("store", "%s", e.text);
	}
}

static void answer_cb(void *arg, const struct dq_result *r)
{
	struct poll *p = arg;
	uint64_t id = 0;
	const char *address = "";

	p->is_asking = false;
	if (p->node == NULL)
		return;
	if (r->code == 0 && r->row_count == 1) {
		id = (uint64_t)r->values[0].u.i;
		address = r->values[1].u.s.data;
		if (id == 0)
			id = node_hint_poll(p->node->hint, &address);
	}
	set_leader(p->node, id, id != 0 ? address : "");
}

static void poll_cb(uv_timer_t *timer)
{
	struct poll *p = timer->data;

	uv_timer_start(timer, poll_cb, p->node->leader.id == 0 ? POLL_LEADERLESS_MS : POLL_MS, 0);
	note_membership(p->node);
	if (p->is_asking)
		return;
	p->is_asking = true;
	dq_leader(p->dq, answer_cb, p);
}

static struct poll *poll_new(struct node *n)
{
	struct poll *p = mem_alloc(sizeof *p);

	p->node = n;
	p->dq = dq_new(n->loop, n->local, NULL);
	dq_set_timeout(p->dq, POLL_TIMEOUT_MS);
	uv_timer_init(n->loop, &p->timer);
	p->timer.data = p;
	p->parts_open = 2;
	uv_timer_start(&p->timer, poll_cb, 0, 0);
	return p;
}

static void poll_part_closed(struct poll *p)
{
	if (--p->parts_open == 0)
		free(p);
}

static void timer_closed_cb(uv_handle_t *h)
{
	poll_part_closed(h->data);
}

static void dq_closed_cb(void *arg)
{
	poll_part_closed(arg);
}

static void poll_close(struct poll *p)
{
	if (p == NULL)
		return;
	p->node = NULL;
	uv_close((uv_handle_t *)&p->timer, timer_closed_cb);
	dq_close(p->dq, dq_closed_cb, p);
}

/* --- start and stop --- */

static int open_tls(struct node *n, struct err *e)
{
	int rc;

	if (n->tls != NULL || tls_is_off(n->disk.config))
		return 0;
	rc = tls_open(n->disk.config, &n->tls, e);
	if (rc == ERR_NOTFOUND && e != NULL)
		e->code = ERR_INVAL; /* whoever asks for the raft port must have one */
	return rc == ERR_NOTFOUND ? ERR_INVAL : rc;
}

static int start_dqlite(struct node *n, struct err *e)
{
	const struct identity *id = &n->disk.identity;
	struct node_dqlite_params p = {.id = id->id,
	                               .address = id->address,
	                               .dir = n->disk.data_dir,
	                               .sql = n->sql,
	                               .config = n->disk.config};
	int rc = identity_latency_ms(id->profile, &p.latency_ms, e);

	if (rc == 0)
		rc = open_tls(n, e);
	p.tls = n->tls;
	if (rc == 0)
		rc = node_dqlite_start(&p, &n->dqlite, e);
	if (rc != 0)
		return rc;
	n->poll = poll_new(n);
	n->hint = node_hint_new(n->loop, n->disk.config, n);
	log_info("store", "node %llu of cluster \"%s\" at %s, profile %s", (unsigned long long)id->id, id->cluster, id->address,
	         id->profile);
	return 0;
}

int node_start(uv_loop_t *loop, const struct config *c, struct node **ret, struct err *e)
{
	struct node *n = mem_alloc(sizeof *n);
	int rc;

	n->loop = loop;
	rc = node_disk_open(&n->disk, c, e);
	if (rc == 0) {
		node_dqlite_local_address(n->disk.identity.id, n->local);
		snprintf(n->sql, sizeof n->sql, "@mha-sql-%016" PRIx64, n->disk.identity.id);
		if (node_is_member(n))
			rc = start_dqlite(n, e);
		else
			log_info("store", "node %llu is not initialised: it waits for CALL mha_init or CALL mha_join",
			         (unsigned long long)node_id(n));
	}
	if (rc != 0) {
		node_stop(n);
		return rc;
	}
	*ret = n;
	return 0;
}

void node_stop(struct node *n)
{
	if (n == NULL)
		return;
	poll_close(n->poll);
	node_hint_close(n->hint);
	node_dqlite_stop(n->dqlite);
	tls_free(n->tls);
	node_disk_close(&n->disk);
	free(n);
}

/* --- becoming a member --- */

static int set_cluster(struct node *n, const char *uuid, const char *profile, enum identity_state state, struct err *e)
{
	struct identity *id = &n->disk.identity;

	id->state = state;
	str_copy(id->cluster, sizeof id->cluster, n->disk.config->cluster);
	str_copy(id->cluster_uuid, sizeof id->cluster_uuid, uuid);
	str_copy(id->profile, sizeof id->profile, profile);
	return node_disk_save(&n->disk, e);
}

/* Nothing has been acknowledged under the new cluster: the node may as well be fresh again. */
static void forget_cluster(struct node *n)
{
	struct identity *id = &n->disk.identity;
	struct err e = ERR_INIT;

	id->state = IDENTITY_FRESH;
	id->cluster[0] = id->cluster_uuid[0] = id->profile[0] = '\0';
	if (node_disk_save(&n->disk, &e) != 0)
		log_warn("store", "%s", e.text); /* the next start settles it */
}

static int check_arguments(const char *uuid, const char *profile, struct err *e)
{
	unsigned latency_ms;
	int rc = identity_check_uuid(uuid, e);

	if (rc == 0)
		rc = identity_latency_ms(profile, &latency_ms, e);
	return rc;
}

int node_init_begin(struct node *n, const char *cluster, const char *uuid, const char *profile, char *ret_dir, struct err *e)
{
	const struct identity *id = &n->disk.identity;
	int rc = check_arguments(uuid, profile, e);

	if (rc != 0)
		return rc;
	if (node_is_member(n))
		return err_set(e, ERR_REFUSED, "node \"%s\" belongs to cluster \"%s\" (%s) already", id->name, id->cluster,
		               id->cluster_uuid);
	if (id->state == IDENTITY_INITIALISING)
		return err_set(e, ERR_REFUSED, "node \"%s\" is being initialised already: wait for the end of that", id->name);
	if (strcmp(cluster, n->disk.config->cluster) != 0)
		return err_set(e, ERR_REFUSED, "node.yaml names the cluster \"%s\", not \"%s\"", n->disk.config->cluster,
		               cluster);
	rc = open_tls(n, e); /* before anything is written */
	if (rc != 0)
		return rc;
	rc = set_cluster(n, uuid, profile, IDENTITY_INITIALISING, e);
	if (rc == 0)
		rc = node_disk_bootstrap_beside(&n->disk, ret_dir, e);
	if (rc != 0)
		forget_cluster(n);
	return rc;
}

int node_init_end(struct node *n, bool is_ok, struct err *e)
{
	char uuid[sizeof n->disk.identity.cluster_uuid], profile[sizeof n->disk.identity.profile];
	int rc = is_ok ? node_disk_adopt(&n->disk, e) : 0;

	if (rc != 0 || !is_ok) {
		forget_cluster(n);
		return rc;
	}
	str_copy(uuid, sizeof uuid, n->disk.identity.cluster_uuid);
	str_copy(profile, sizeof profile, n->disk.identity.profile);
	rc = set_cluster(n, uuid, profile, IDENTITY_MEMBER, e);
	return rc == 0 ? start_dqlite(n, e) : rc;
}

int node_init(struct node *n, const char *cluster, const char *uuid, const char *profile, struct err *e)
{
	char dir[PATH_MAX];
	int rc = node_init_begin(n, cluster, uuid, profile, dir, e);

	return rc == 0 ? node_init_end(n, true, e) : rc;
}

int node_join(struct node *n, const char *uuid, const char *profile, struct err *e)
{
	const struct identity *id = &n->disk.identity;
	int rc = check_arguments(uuid, profile, e);

	if (rc != 0)
		return rc;
	if (node_is_member(n) && strcmp(id->cluster_uuid, uuid) != 0)
		return err_set(e, ERR_REFUSED,
		               "node \"%s\" belongs to cluster %s, not to %s: to move it, remove it there, stop it and empty "
		               "%s",
		               id->name, id->cluster_uuid, uuid, n->disk.dir);
	if (node_is_member(n))
		return 0;
	rc = open_tls(n, e); /* before anything is written */
	if (rc != 0)
		return rc;
	rc = set_cluster(n, uuid, profile, IDENTITY_JOINING, e);
	if (rc == 0)
		rc = start_dqlite(n, e);
	if (rc != 0)
		forget_cluster(n);
	return rc;
}

/* --- the other nodes --- */

void node_nodes_changed(struct node *n)
{
	if (n->dqlite != NULL)
		front_set_nodes(node_dqlite_front(n->dqlite), n->disk.config);
}

int node_connect(struct node *n, const char *address, const char *preface, int *ret_fd, struct err *e)
{
	int rc = n->dqlite == NULL ? ENOTCONN : front_connect(node_dqlite_front(n->dqlite), address, preface, ret_fd);

	return rc == 0 ? 0 : err_set(e, ERR_UNREACHABLE, "%s cannot be reached: %s", address, strerror(rc));
}

/* --- what others ask --- */

bool node_is_member(const struct node *n)
{
	return n->disk.identity.state == IDENTITY_MEMBER || n->disk.identity.state == IDENTITY_JOINING;
}

uint64_t node_id(const struct node *n)
{
	return n->disk.identity.id;
}

const char *node_raft_address(const struct node *n)
{
	return n->disk.identity.address;
}

const char *node_local_address(const struct node *n)
{
	return n->local;
}

const char *node_sql_address(const struct node *n)
{
	return n->sql;
}

const char *node_cluster_uuid(const struct node *n)
{
	return n->disk.identity.cluster_uuid;
}

const char *node_profile(const struct node *n)
{
	return n->disk.identity.profile;
}

const char *node_name(const struct node *n)
{
	return n->disk.identity.name;
}

const struct node_leader *node_leader(const struct node *n)
{
	return &n->leader;
}

void node_on_leader_change(struct node *n, void (*cb)(void *arg, const struct node_leader *l), void *arg)
{
	if (n->listener_count == LISTENERS_MAX)
		abort(); /* a bug: the listeners are few and known */
	n->listeners[n->listener_count++] = (struct listener){cb, arg};
}

void node_forget_leader_change(struct node *n, const void *arg)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n->listener_count; i++)
		if (n->listeners[i].arg != arg)
			n->listeners[kept++] = n->listeners[i];
	n->listener_count = kept;
}
