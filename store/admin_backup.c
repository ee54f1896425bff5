/* CALL mha_backup, SHOW mha.backup and SHOW mha.restore. */
#include "store/admin_internal.h"

#include "core/base/clock.h"
#include "store/migrate.h"
#include "store/restore.h"

#include <inttypes.h>
#include <stdio.h>

/* Only the leader whose lease runs has every acknowledged write. */
bool admin_may_speak(void *arg)
{
	const struct admin *a = arg;

	return node_leader(a->node)->is_self && admin_lease_is_valid(a);
}

/* Begins and answers at once: the session that calls has other things to do. */
void admin_run_backup(struct call *call)
{
	struct admin *a = call->admin;
	struct err e = ERR_INIT;

	if (!node_is_member(a->node))
		call_fail(call, ERR_NOQUORUM, "57P03", ADMIN_FRESH_TEXT);
	else if (backup_start(a->backup, call->args[0], a->revision, &e) != 0)
		call_fail_err(call, &e);
	else
		call_done(call);
}

void admin_show_backup(struct call *call)
{
	static const char *const columns[] = {"state", "path", "bytes", "revision", "at", "dump_ms", "took_ms", "reason"};
	const struct backup_status *s = backup_status(call->admin->backup);
	char bytes[24], revision[24], at[24], dump_ms[24], took_ms[24];
	const char *row[] = {backup_state_name(s->state), s->path, bytes, revision, at, dump_ms, took_ms, s->reason};

	snprintf(bytes, sizeof bytes, "%" PRIu64, s->bytes);
	snprintf(revision, sizeof revision, "%" PRIu64, s->revision);
	snprintf(at, sizeof at, "%" PRId64, s->at_ms);
	snprintf(dump_ms, sizeof dump_ms, "%" PRId64, s->dump_ms);
	snprintf(took_ms, sizeof took_ms, "%" PRId64, s->took_ms);
	call_finish_row(call, columns, row, sizeof row / sizeof *row);
}

void admin_show_restore(struct call *call)
{
	static const char *const columns[] = {"running", "rows", "rows_total"};
	const struct restore *r = call->admin->restore;
	char rows[24], total[24];
	const char *row[] = {r != NULL ? "t" : "f", rows, total};

	snprintf(rows, sizeof rows, "%" PRId64, r != NULL ? (int64_t)r->progress.rows : 0);
	snprintf(total, sizeof total, "%" PRId64, r != NULL ? (int64_t)r->progress.rows_total : 0);
	call_finish_row(call, columns, row, 3);
}

/* The newest version of the schema that this program knows. */
void admin_show_schema(struct call *call)
{
	static const char *const columns[] = {"known"};
	char known[24];
	const char *row[] = {known};
	int newest = 0;

	for (const struct migration *m = migrations_mha; m->version != 0; m++)
		newest = m->version;
	snprintf(known, sizeof known, "%d", newest);
	call_finish_row(call, columns, row, 1);
}
