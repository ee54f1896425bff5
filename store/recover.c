#include "store/recover.h"

#include "core/base/clock.h"
#include "core/base/roster.h"
#include "core/base/str.h"
#include "store/dq_sync.h"
#include "store/node_dqlite.h"
#include "store/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LATENCY_MS 20
#define LEADER_MS  30000

/* --- comparing --- */

int recover_describe(const struct node_disk *d, struct recover_entry *ret, struct err *e)
{
	const struct identity *id = &d->identity;
	struct node_dqlite_params p = {.id = id->id, .address = id->address, .dir = d->data_dir};

	if (id->state != IDENTITY_MEMBER)
		return err_set(e, ERR_REFUSED, "node \"%s\" is not a member of a cluster: there is nothing here to go on with",
		               id->name);
	str_copy(ret->node, sizeof ret->node, id->name);
	str_copy(ret->cluster, sizeof ret->cluster, id->cluster);
	str_copy(ret->uuid, sizeof ret->uuid, id->cluster_uuid);
	ret->raft_id = id->id;
	return node_dqlite_last_entry(&p, &ret->index, &ret->term, e);
}

int recover_parse(const char *json, struct recover_entry *ret, struct err *e)
{
	json_t *o = json_loads(json, 0, NULL);
	const char *node = json_string_value(json_object_get(o, "node")), *uuid = json_string_value(json_object_get(o, "uuid"));
	const json_t *term = json_object_get(o, "term"), *entry = json_object_get(o, "index");
	bool is_good = node != NULL && uuid != NULL && json_is_integer(term) && json_is_integer(entry) && str_is_name(node);

	if (is_good) {
		str_copy(ret->node, sizeof ret->node, node);
		str_copy(ret->uuid, sizeof ret->uuid, uuid);
		ret->term = (uint64_t)json_integer_value(term);
		ret->index = (uint64_t)json_integer_value(entry);
	}
	json_decref(o);
	return is_good ? 0 : err_set(e, ERR_INVAL, "it is no line of `mhad recover --compare`: %.60s", json);
}

int recover_compare(const struct recover_entry *own, const struct recover_entry *other, struct err *e)
{
	if (strcmp(own->uuid, other->uuid) != 0)
		return err_set(e, ERR_REFUSED, "node \"%s\" belongs to another cluster (%s, this is %s)", other->node,
		               other->uuid, own->uuid);
	if (other->term > own->term || (other->term == own->term && other->index > own->index))
		return err_set(e, ERR_REFUSED,
		               "node \"%s\" has more: term %" PRIu64 ", entry %" PRIu64 "; here it is term %" PRIu64
		               ", entry %" PRIu64 ": run the recovery there, or acknowledged writes are lost",
		               other->node, other->term, other->index, own->term, own->index);
	return 0;
}

/* --- the copy --- */

/* Lost members can neither vote nor be taken for members again, and whatever they may have counted is below what counts here.
 */
static int settle(struct dq_sync *s, const struct identity *id, struct err *e)
{
	char sql[8][400];
	static const char *const fixed[] = {
	        "UPDATE controller SET generation = generation + " NUMBER_STEP ", node = '', since = 0",
	        "UPDATE db_group SET epoch = epoch + " NUMBER_STEP,
	        "UPDATE number_floor SET number = number + " NUMBER_STEP,
	        "UPDATE roster_number SET number = number + " NUMBER_STEP,
	        "DELETE FROM secret_join",
	};
	int64_t now = clock_wall_ms();
	int rc = dq_sync_exec(s, "BEGIN IMMEDIATE", NULL, 0, e);

	snprintf(sql[0], sizeof sql[0],
	         "INSERT INTO voter_set (number, members, committed_at) SELECT coalesce(max(number), 0) + " NUMBER_STEP
	         ", '%s', %" PRId64 " FROM voter_set",
	         id->name, now);
	snprintf(sql[1], sizeof sql[1], "UPDATE roster SET removed_at = %" PRId64 " WHERE name <> '%s' AND removed_at = 0", now,
	         id->name);
	snprintf(sql[2], sizeof sql[2],
	         "UPDATE certificate SET revoked_at = %" PRId64 " WHERE kind = 'node' AND name <> '%s' AND revoked_at = 0", now,
	         id->name);
	snprintf(sql[3], sizeof sql[3], "DELETE FROM node WHERE name <> '%s'", id->name);
	snprintf(sql[4], sizeof sql[4], "UPDATE node SET raft_id = '%" PRIu64 "' WHERE name = '%s'", id->id, id->name);
	snprintf(sql[5], sizeof sql[5], "DELETE FROM db_instance WHERE node <> '%s'", id->name);
	snprintf(sql[6], sizeof sql[6],
	         "INSERT INTO event (at, generation, severity, text) SELECT %" PRId64
	         ", generation, 'critical', 'recovered on %s alone after the loss of the majority' FROM controller",
	         now, id->name);
	snprintf(sql[7], sizeof sql[7], "COMMIT");
	for (size_t i = 0; rc == 0 && i < sizeof fixed / sizeof *fixed; i++)
		rc = dq_sync_exec(s, fixed[i], NULL, 0, e);
	for (size_t i = 0; rc == 0 && i < sizeof sql / sizeof *sql; i++)
		rc = dq_sync_exec(s, sql[i], NULL, 0, e);
	return rc;
}

static int change_copy(const struct identity *id, const char *dir, int64_t *ret_roster, struct err *e)
{
	struct node_dqlite_params p = {.id = id->id, .address = id->address, .dir = dir, .latency_ms = LATENCY_MS};
	struct node_dqlite *node = NULL;
	char local[DQLITE_LOCAL_CAP];
	struct dq_sync *s;
	int rc = node_dqlite_take_over(&p, e);

	if (rc == 0)
		rc = node_dqlite_start_private(&p, &node, e);
	if (rc != 0)
		return rc;
	s = dq_sync_new(node_dqlite_local_address(p.id, local), "mha");
	rc = dq_sync_wait_leader(s, p.id, LEADER_MS, e);
	if (rc == 0)
		rc = dq_sync_migrate(s, migrations_mha, e);
	if (rc == 0)
		rc = settle(s, id, e);
	if (rc == 0)
		rc = dq_sync_number(s, "SELECT number FROM roster_number", ret_roster, e);
	dq_sync_free(s);
	node_dqlite_stop(node);
	return rc;
}

/* --- the act --- */

static struct roster_node *find_node(struct roster *r, const struct config_node *n)
{
	for (unsigned i = 0; i < r->count; i++)
		if (strcmp(r->nodes[i].name, n->name) == 0)
			return &r->nodes[i];
	return r->count < ROSTER_NODES_MAX ? &r->nodes[r->count++] : NULL;
}

/* Before the store runs for the first time again, its front must know whom to refuse: the raft of an old majority that wakes up
 * would take this one for a follower of its own and overwrite its log. */
static int save_roster(const struct config *c, const struct identity *id, int64_t number, struct err *e)
{
	struct roster r = {0};
	int rc = roster_load(c, &r, e);

	if (rc != 0 && rc != ERR_NOTFOUND)
		return rc;
	r.number = (uint64_t)number;
	str_copy(r.uuid, sizeof r.uuid, id->cluster_uuid);
	for (unsigned i = 0; i < c->nodes_count; i++) {
		const struct config_node *from = &c->nodes[i];
		struct roster_node *n = find_node(&r, from);

		if (n == NULL)
			return err_set(e, ERR_INVAL, "the roster is full");
		str_copy(n->name, sizeof n->name, from->name);
		str_copy(n->address, sizeof n->address, from->address);
		str_copy(n->role, sizeof n->role, from->role);
		str_copy(n->failure_domain, sizeof n->failure_domain, from->failure_domain);
		n->peer_port = from->peer_port;
		n->raft_port = from->raft_port;
		n->sql_port = from->sql_port;
		n->is_removed = strcmp(n->name, id->name) != 0;
	}
	return roster_save(c, &r, e);
}

/* The control process would begin with the set of before; without the file it takes the one of the store. */
static void remove_voters(const struct node_disk *d)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/voters", d->dir);
	(void)unlink(path);
}

int recover_apply(struct node_disk *d, struct err *e)
{
	char copy[PATH_MAX], old[PATH_MAX];
	struct identity id = d->identity, fresh;
	int64_t number = 0;
	int rc = identity_create(id.name, id.address, &fresh, e);

	if (rc != 0)
		return rc;
	id.id = fresh.id; /* an old member that wakes up must not take this one for the voter it knew */
	rc = node_disk_copy_data(d, copy, e);
	if (rc == 0)
		rc = change_copy(&id, copy, &number, e);
	if (rc == 0)
		rc = save_roster(d->config, &id, number, e);
	if (rc == 0)
		rc = node_disk_swap(d, copy, &id, e);
	if (rc != 0)
		return rc;
	snprintf(old, sizeof old, "%s/raft.before-%" PRId64, d->dir, clock_wall_ms() / 1000);
	if (rename(copy, old) != 0)
		return err_sys(e, errno, "done, but %s could not be renamed", copy);
	remove_voters(d);
	return 0;
}
