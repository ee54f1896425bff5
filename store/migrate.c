#include "store/migrate.h"
#include "core/base/clock.h"
#include "core/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
	struct dq *dq;
	const struct migration *next; /* the one being applied, or to be applied next */
	void (*cb)(void *arg, const struct err *e, unsigned applied);
	void *arg;
	unsigned applied;
	int64_t version; /* of the store */
	struct err e;
};

/* Each migration: BEGIN IMMEDIATE, the file, its row, COMMIT. A step's callback starts the next. */
static void begin(struct run *run);

static void finish(struct run *run)
{
	run->cb(run->arg, &run->e, run->applied);
	free(run);
}

static void rolled_back_cb(void *arg, const struct dq_result *r)
{
	(void)r; /* the transaction is gone either way, with its connection at the latest */
	finish(arg);
}

/* What went wrong in one sentence; where a transaction is open, it is rolled back first. */
static void fail(struct run *run, const struct dq_result *r, const char *what)
{
	bool is_ambiguous = r->was_sent && (r->code == DQ_LEADERSHIP_LOST || r->code == DQ_DISCONNECTED);

	err_set(&run->e, is_ambiguous ? ERR_AMBIGUOUS : ERR_SQL, "%s: %s (code %d)%s", what, r->message, r->code,
	        is_ambiguous ? "; run it again" : "");
	dq_exec(run->dq, "ROLLBACK", NULL, 0, rolled_back_cb, run);
}

static void fail_migration(struct run *run, const struct dq_result *r)
{
	char what[128];

	snprintf(what, sizeof what, "schema migration %d (%s)", run->next->version, run->next->name);
	fail(run, r, what);
}

static void committed_cb(void *arg, const struct dq_result *r)
{
	struct run *run = arg;

	if (r->code != 0) {
		fail_migration(run, r);
		return;
	}
	run->applied++;
	run->next++;
	begin(run);
}

static void recorded_cb(void *arg, const struct dq_result *r)
{
	struct run *run = arg;

	if (r->code != 0)
		fail_migration(run, r);
	else
		dq_exec(run->dq, "COMMIT", NULL, 0, committed_cb, run);
}

static void applied_cb(void *arg, const struct dq_result *r)
{
	struct run *run = arg;
	struct dq_value row[] = {
	        {.type = DQ_INTEGER},
	        {.type = DQ_TEXT},
	        {.type = DQ_INTEGER},
	};

	if (r->code != 0) {
		fail_migration(run, r);
		return;
	}
	row[0].u.i = run->next->version;
	row[1].u.s.data = run->next->name;
	row[1].u.s.len = strlen(run->next->name);
	row[2].u.i = clock_wall_ms();
	dq_exec(run->dq, "INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, ?)", row, 3, recorded_cb, run);
}

static void begun_cb(void *arg, const struct dq_result *r)
{
	struct run *run = arg;

	if (r->code != 0)
		fail_migration(run, r);
	else
		dq_exec(run->dq, run->next->sql, NULL, 0, applied_cb, run);
}

static void begin(struct run *run)
{
	if (run->next->version == 0)
		finish(run);
	else
		dq_exec(run->dq, "BEGIN IMMEDIATE", NULL, 0, begun_cb, run);
}

static void version_cb(void *arg, const struct dq_result *r)
{
	struct run *run = arg;
	int newest = 0;

	if (r->code != 0) {
		fail(run, r, "cannot read schema_version");
		return;
	}
	if (r->row_count == 1 && r->values[0].type == DQ_INTEGER)
		run->version = r->values[0].u.i;
	if (!r->is_last)
		return;
	while (run->next->version != 0) {
		newest = run->next->version;
		if (newest > run->version)
			break;
		run->next++;
	}
	if (run->version > newest) {
		err_set(&run->e, ERR_REFUSED,
		        "the store's schema has version %" PRId64 ", this program knows %d: install the newer program here",
		        run->version, newest);
		finish(run);
		return;
	}
	begin(run);
}

static void created_cb(void *arg, const struct dq_result *r)
{
	struct run *run = arg;

	if (r->code != 0)
		fail(run, r, "cannot create schema_version");
	else
		dq_query(run->dq, "SELECT coalesce(max(version), 0) FROM schema_version", NULL, 0, version_cb, run);
}

void migrate_run(struct dq *d, const struct migration *list, void (*cb)(void *arg, const struct err *e, unsigned applied),
                 void *arg)
{
	struct run *run = mem_alloc(sizeof *run);

	run->dq = d;
	run->next = list;
	run->cb = cb;
	run->arg = arg;
	dq_exec(d,
	        "CREATE TABLE IF NOT EXISTS schema_version"
	        " (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
	        NULL, 0, created_cb, run);
}
