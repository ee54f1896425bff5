#include "store/restore.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/backup_file.h"
#include "store/node_dqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATENCY_MS 20
#define LEADER_MS  30000

/* In one transaction. What is left out of `mha` belongs to the old cluster alone: its members could otherwise act on this one's
 * records, or its certificates speak to it. */
static const char *const settle[] = {
        "UPDATE controller SET generation = generation + " NUMBER_STEP ", node = '', since = 0",
        "UPDATE number_floor SET number = number + " NUMBER_STEP,
        "INSERT OR REPLACE INTO number_floor (name, number) SELECT 'epoch:' || name, epoch + " NUMBER_STEP " FROM db_group",
        "INSERT OR REPLACE INTO number_floor (name, number) SELECT 'voter_set', coalesce(max(number), 0) + " NUMBER_STEP
        " FROM voter_set",
        "UPDATE roster_number SET number = number + " NUMBER_STEP,
        "DELETE FROM cluster",
        "DELETE FROM node",
        "DELETE FROM voter_set",
        "DELETE FROM db_instance",
        "DELETE FROM db_group",
        "DELETE FROM vip",
        "DELETE FROM operation",
        "DELETE FROM decision_guard",
        "DELETE FROM secret_ca",
        "DELETE FROM secret_join",
        "DELETE FROM certificate",
        "DELETE FROM roster",
        "DELETE FROM backup",
};

static int write_event(struct dq_sync *s, const struct backup_info *info, struct err *e)
{
	char sql[600], at[32];

	snprintf(sql, sizeof sql,
	         "INSERT INTO event (at, generation, severity, text) SELECT %" PRId64
	         ", generation, 'warning', 'restored from a backup of cluster %s (%s) made on %s at %s' FROM controller",
	         clock_wall_ms(), info->cluster, info->uuid, info->node, clock_format_wall(info->at_ms, at));
	return dq_sync_exec(s, sql, NULL, 0, e);
}

static int settle_mha(struct dq_sync *s, const struct backup_info *info, struct err *e)
{
	int rc = dq_sync_migrate(s, migrations_mha, e);

	if (rc == 0)
		rc = dq_sync_exec(s, "BEGIN IMMEDIATE", NULL, 0, e);
	for (size_t i = 0; rc == 0 && i < sizeof settle / sizeof *settle; i++)
		rc = dq_sync_exec(s, settle[i], NULL, 0, e);
	if (rc == 0)
		rc = write_event(s, info, e);
	return rc == 0 ? dq_sync_exec(s, "COMMIT", NULL, 0, e) : rc;
}

/* What came out must hold what went in. */
static int compare(struct dq_sync *s, const struct backup_db *from, const char *name, struct err *e)
{
	char before[65], after[65];
	struct backup_db to;
	void *data;
	size_t size;
	int rc = dq_sync_dump(s, name, &data, &size, e);

	if (rc == 0)
		rc = backup_db_open(data, size, &to, e);
	if (rc != 0)
		return rc;
	rc = backup_db_check(&to, e);
	if (rc == 0)
		rc = backup_db_digest(from, before, e);
	if (rc == 0)
		rc = backup_db_digest(&to, after, e);
	if (rc == 0 && strcmp(before, after) != 0)
		rc = err_set(e, ERR_INVAL, "what was loaded differs from the backup (SHA-256 %.12s..., not %.12s...)", after,
		             before);
	backup_db_close(&to);
	return rc;
}

static int load_part(struct restore *r, const struct backup_info *info, unsigned i, const char *local, struct err *e)
{
	const char *name = info->parts[i].name;
	struct dq_sync *s;
	struct backup_db from;
	void *data;
	int rc = backup_file_read_part(r->path, info, i, &data, e);

	if (rc == 0)
		rc = backup_db_open(data, info->parts[i].bytes, &from, e);
	if (rc != 0)
		return rc;
	s = dq_sync_new(local, name);
	rc = backup_db_check(&from, e);
	if (rc == 0)
		rc = dq_sync_wait_leader(s, r->id, LEADER_MS, e);
	if (rc == 0)
		rc = restore_load(&from, s, &r->progress, e);
	if (rc == 0)
		rc = compare(s, &from, name, e);
	if (rc == 0 && i == 1)
		rc = settle_mha(s, info, e);
	dq_sync_free(s);
	backup_db_close(&from);
	return rc == 0 ? 0 : err_wrap(e, "database %s", name);
}

static int check_version(const struct backup_info *info, struct err *e)
{
	int newest = 0;

	for (const struct migration *m = migrations_mha; m->version != 0; m++)
		newest = m->version;
	if (info->schema_version <= newest)
		return 0;
	return err_set(e, ERR_REFUSED,
	               "the backup's schema has version %" PRId64
	               ", this program knows %d: install the program that wrote it (%s)",
	               info->schema_version, newest, info->program);
}

static int run(struct restore *r, struct err *e)
{
	struct node_dqlite_params p = {.id = r->id, .address = r->address, .dir = r->dir, .latency_ms = LATENCY_MS};
	struct node_dqlite *node = NULL;
	struct backup_info info;
	char local[DQLITE_LOCAL_CAP];
	int rc = backup_file_read(r->path, &info, e);

	if (rc == 0)
		rc = check_version(&info, e);
	if (rc == 0)
		rc = node_dqlite_start_private(&p, &node, e);
	if (rc != 0)
		return rc;
	node_dqlite_local_address(r->id, local);
	for (unsigned i = 0; rc == 0 && i < BACKUP_PARTS; i++)
		rc = load_part(r, &info, i, local, e);
	node_dqlite_stop(node);
	return rc;
}

void restore_run(struct restore *r)
{
	int64_t start_ms = clock_now_ms();

	log_info("restore", "loading %s", r->path);
	if (run(r, &r->e) == 0) {
		r->e.code = ERR_OK;
		log_info("restore", "%" PRId64 " rows are loaded and compared with the backup, in %" PRId64 " ms",
		         (int64_t)r->progress.rows, clock_now_ms() - start_ms);
	}
}
