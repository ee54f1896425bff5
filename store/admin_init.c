/* CALL mha_init, mha_join, mha_migrate. */
#include "store/admin_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/migrate.h"

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

void admin_run_init(struct call *call)
{
	struct err e = ERR_INIT;

	if (node_init(call->admin->node, call->args[0], call->args[1], call->args[2], &e) != 0) {
		call_fail_err(call, &e);
		return;
	}
	call->deadline_ms = clock_now_ms() + LEADER_DEADLINE_MS;
	wait_for_leader_cb(&call->timer);
}

void admin_run_join(struct call *call)
{
	struct err e = ERR_INIT;

	if (node_join(call->admin->node, call->args[0], call->args[1], &e) != 0)
		call_fail_err(call, &e);
	else
		call_done(call);
}
