/* CALL mha_add, mha_assign, mha_remove, mha_transfer. */
#include "core/base/roster.h"
#include "store/admin_internal.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <string.h>

#define BUSY_DEADLINE_MS 10000 /* for another change of the membership to end */
#define BUSY_STEP_MS     100
#define BUSY             5 /* SQLITE_BUSY: another change of the membership is under way */

static void send_change(struct call *call);

static void change_again_cb(uv_timer_t *timer)
{
	send_change(timer->data);
}

static void changed_cb(void *arg, const struct dq_result *r)
{
	struct call *call = arg;

	call->is_in_dq = false;
	if (r->code == 0)
		call_done(call);
	else if (r->code == BUSY && clock_now_ms() < call->deadline_ms && !call->admin->is_closing)
		uv_timer_start(&call->timer, change_again_cb, BUSY_STEP_MS, 0);
	else
		call_fail_dq(call, r);
}

static void send_change(struct call *call)
{
	struct dq *d = call->admin->changer;
	const char *name = call->command->name;

	call->is_in_dq = true;
	if (strcmp(name, "mha_add") == 0)
		dq_add(d, call->numbers[0], call->args[1], changed_cb, call);
	else if (strcmp(name, "mha_assign") == 0)
		dq_assign(d, call->numbers[0], (int)call->numbers[1], changed_cb, call);
	else if (strcmp(name, "mha_remove") == 0)
		dq_remove(d, call->numbers[0], changed_cb, call);
	else
		dq_transfer(d, call->numbers[0], changed_cb, call);
}

static int parse_role(const char *text, uint64_t *ret, struct err *e)
{
	for (int role = 0; role <= 2; role++) {
		if (strcmp(text, admin_role_name(role)) == 0) {
			*ret = (uint64_t)role;
			return 0;
		}
	}
	return err_set(e, ERR_INVAL, "role \"%s\" is unknown: voter, standby or spare", text);
}

/* args[0] is an id for all of them. */
void admin_run_change(struct call *call)
{
	struct err e = ERR_INIT;
	int rc = str_to_u64(call->args[0], "node id", 2, INT64_MAX, &call->numbers[0], &e);

	if (rc == 0 && strcmp(call->command->name, "mha_assign") == 0)
		rc = parse_role(call->args[1], &call->numbers[1], &e);
	if (rc != 0) {
		call_fail_err(call, &e);
		return;
	}
	if (!node_is_member(call->admin->node)) {
		call_fail(call, ERR_NOQUORUM, "57P03", ADMIN_FRESH_TEXT);
		return;
	}
	call->deadline_ms = clock_now_ms() + BUSY_DEADLINE_MS;
	send_change(call);
}

/* --- the roster --- */

void admin_run_roster(struct call *call)
{
	struct err e = ERR_INIT;

	if (roster_apply(call->admin->config, &e) != ERR_OK) {
		call_fail_err(call, &e);
		return;
	}
	node_nodes_changed(call->admin->node);
	call_done(call);
}
