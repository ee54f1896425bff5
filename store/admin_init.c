/* CALL mha_init, mha_join, mha_migrate. */
#include "store/admin_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/backup_file.h"
#include "store/migrate.h"
#include "store/restore.h"

#include <stdlib.h>

#define WAIT_STEP_MS       20
#define LEADER_DEADLINE_MS 10000 /* for the only voter to elect itself */

static void migrated_cb(void *arg, const struct err *e, unsigned applied)
{
	struct call *call = arg;

	call->is_in_dq = false;
	if (applied > 0)
		log_info("store", "%u schema migrations applied", applied);
	if (e->code != 0)
		call_fail_err(call, e);
	else
		call_done(call);
}

void admin_run_migrate(struct call *call)
{
	if (!node_is_member(call->admin->node)) {
		call_fail(call, ERR_NOQUORUM, "57P03", ADMIN_FRESH_TEXT);
		return;
	}
	call->is_in_dq = true;
	migrate_run(call->admin->mha, migrations_mha, migrated_cb, call);
}

static void wait_for_leader_cb(uv_timer_t *timer)
{
	struct call *call = timer->data;

	if (node_leader(call->admin->node)->is_self)
		admin_run_migrate(call);
	else if (clock_now_ms() < call->deadline_ms)
		uv_timer_start(timer, wait_for_leader_cb, WAIT_STEP_MS, 0);
	else
		call_fail(call, ERR_TIMEOUT, "57P03",
		          "the cluster is initialised, but the node did not become its leader within 10 s: see the "
		          "log of the store, then run CALL mha_migrate()");
}

static void initialised(struct call *call)
{
	call->deadline_ms = clock_now_ms() + LEADER_DEADLINE_MS;
	wait_for_leader_cb(&call->timer);
}

void admin_run_init(struct call *call)
{
	struct err e = ERR_INIT;

	if (node_init(call->admin->node, call->args[0], call->args[1], call->args[2], &e) != 0)
		call_fail_err(call, &e);
	else
		initialised(call);
}

/* --- init from a backup: the loading runs in a worker thread, on a store that nobody sees yet --- */

struct restoring {
	uv_work_t work;
	struct call *call;
	struct restore restore;
};

static void restore_cb(uv_work_t *work)
{
	struct restoring *r = work->data;

	restore_run(&r->restore);
}

static void restored_cb(uv_work_t *work, int status)
{
	struct restoring *r = work->data;
	struct call *call = r->call;
	struct err e = r->restore.e;
	bool is_ok = status == 0 && e.code == 0;

	call->is_in_dq = false;
	call->admin->restore = NULL;
	if (node_init_end(call->admin->node, is_ok && !call->admin->is_closing, &e) != 0 || !is_ok)
		call_fail_err(call, &e);
	else if (call->admin->is_closing)
		call_fail(call, ERR_REFUSED, "57P03", "the store is stopping");
	else
		initialised(call);
	free(r);
}

void admin_run_restore(struct call *call)
{
	struct admin *a = call->admin;
	struct restoring *r = mem_alloc(sizeof *r);
	struct backup_info info;
	struct err e = ERR_INIT;
	int rc = backup_file_read(call->args[3], &info, &e);

	if (rc == 0)
		rc = node_init_begin(a->node, call->args[0], call->args[1], call->args[2], r->restore.dir, &e);
	if (rc != 0) {
		free(r);
		call_fail_err(call, &e);
		return;
	}
	str_copy(r->restore.path, sizeof r->restore.path, call->args[3]);
	str_copy(r->restore.address, sizeof r->restore.address, node_raft_address(a->node));
	str_copy(r->restore.node, sizeof r->restore.node, node_name(a->node));
	r->restore.id = node_id(a->node);
	r->call = call;
	r->work.data = r;
	a->restore = &r->restore;
	call->is_in_dq = true;
	uv_queue_work(a->loop, &r->work, restore_cb, restored_cb);
}

void admin_run_join(struct call *call)
{
	struct err e = ERR_INIT;

	if (node_join(call->admin->node, call->args[0], call->args[1], &e) != 0)
		call_fail_err(call, &e);
	else
		call_done(call);
}
