#include "store/admin_internal.h"
#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdlib.h>
#include <string.h>

#define READ_TIMEOUT_MS 5000

#define CLOSING_TEXT "the store is stopping"

/* --- answers --- */

static const char *sqlstate_of(int code)
{
	switch (code) {
	case ERR_OK:
		return "00000";
	case ERR_INVAL:
		return "22023";
	case ERR_NOMEM:
		return "53200";
	case ERR_IO:
		return "58030";
	case ERR_NOQUORUM:
	case ERR_TIMEOUT:
		return "57P03";
	case ERR_NOTFOUND:
		return "42704";
	case ERR_AMBIGUOUS:
		return "08007";
	default:
		return "55000";
	}
}

static void part_closed(struct admin *a)
{
	if (--a->parts_open > 0)
		return;
	if (a->done != NULL)
		a->done(a->done_arg);
	free(a);
}

static void call_closed_cb(uv_handle_t *h)
{
	struct call *call = h->data;
	struct admin *a = call->admin;

	for (size_t i = 0; i < ADMIN_ARGS_MAX; i++)
		free(call->args[i]);
	free(call);
	part_closed(a);
}

void call_finish(struct call *call, const struct admin_result *r)
{
	struct admin *a = call->admin;

	if (call->prev != NULL)
		call->prev->next = call->next;
	else
		a->calls = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	call->cb(call->arg, r);
	uv_close((uv_handle_t *)&call->timer, call_closed_cb);
}

void call_fail(struct call *call, int code, const char *sqlstate, const char *message)
{
	struct admin_result r = {.code = code, .sqlstate = sqlstate, .message = message};

	call_finish(call, &r);
}

void call_fail_err(struct call *call, const struct err *e)
{
	call_fail(call, e->code, sqlstate_of(e->code), e->text);
}

void call_done(struct call *call)
{
	call_fail(call, 0, "00000", "");
}

/* dqlite's refusal, in the operator's words where they help more. */
void call_fail_dq(struct call *call, const struct dq_result *r)
{
	const struct node_leader *l = node_leader(call->admin->node);
	struct err e = ERR_INIT;

	if (r->code == DQ_NOT_LEADER && l->id != 0)
		err_set(&e, ERR_REFUSED, "%s: node is not the leader; the leader is %s", call->command->name, l->address);
	else if (r->code == DQ_NOT_LEADER)
		err_set(&e, ERR_REFUSED, "%s: node is not the leader; no leader is known", call->command->name);
	else if (r->was_sent && (r->code == DQ_LEADERSHIP_LOST || r->code == DQ_DISCONNECTED))
		err_set(&e, ERR_AMBIGUOUS, "%s: %s; it may have been done: see SHOW mha.members", call->command->name,
		        r->message);
	else
		err_set(&e, ERR_REFUSED, "%s: %s (code %d)", call->command->name, r->message, r->code);
	call_fail_err(call, &e);
}

void call_finish_row(struct call *call, const char *const *columns, const char *const *values, size_t count)
{
	struct admin_result r = {.sqlstate = "00000",
	                         .message = "",
	                         .column_count = count,
	                         .row_count = 1,
	                         .columns = columns,
	                         .values = values};

	call_finish(call, &r);
}

/* --- dispatch --- */

static void run_unknown_call(struct call *call)
{
	call_fail(call, ERR_NOTFOUND, "42883",
	          "there is no such procedure with that number of arguments: mha_init(cluster, uuid, profile), "
	          "mha_join(uuid, profile), mha_add(id, address), mha_assign(id, role), mha_remove(id), mha_transfer(id), "
	          "mha_migrate(), mha_roster(), mha_backup(file), mha_init(cluster, uuid, profile, backup)");
}

static void run_unknown_show(struct call *call)
{
	call_fail(call, ERR_NOTFOUND, "42704", "there are SHOW mha.node, mha.members, mha.backup and mha.restore");
}

static const struct command call_commands[] = {
        {"mha_init", 3, admin_run_init},       {"mha_join", 2, admin_run_join},     {"mha_add", 2, admin_run_change},
        {"mha_assign", 2, admin_run_change},   {"mha_remove", 1, admin_run_change}, {"mha_transfer", 1, admin_run_change},
        {"mha_migrate", 0, admin_run_migrate}, {"mha_init", 4, admin_run_restore},  {"mha_backup", 1, admin_run_backup},
        {"mha_roster", 0, admin_run_roster},   {NULL, 0, run_unknown_call},
};

static const struct command show_commands[] = {
        {"node", 0, admin_show_node},       {"members", 0, admin_show_members}, {"backup", 0, admin_show_backup},
        {"restore", 0, admin_show_restore}, {"schema", 0, admin_show_schema},   {NULL, 0, run_unknown_show},
};

static const struct command *find_command(const struct command *list, const char *name, size_t arg_count)
{
	while (list->name != NULL && (strcmp(list->name, name) != 0 || list->arg_count != arg_count))
		list++;
	return list;
}

static void start_cb(uv_timer_t *timer)
{
	struct call *call = timer->data;

	call->command->run(call);
}

static struct call *call_new(struct admin *a, const struct command *command, admin_cb cb, void *arg)
{
	struct call *call = mem_alloc(sizeof *call);

	call->admin = a;
	call->command = command;
	call->cb = cb;
	call->arg = arg;
	call->next = a->calls;
	if (call->next != NULL)
		call->next->prev = call;
	a->calls = call;
	a->parts_open++;
	uv_timer_init(a->loop, &call->timer);
	call->timer.data = call;
	uv_timer_start(&call->timer, start_cb, 0, 0);
	return call;
}

void admin_call(struct admin *a, const char *name, const char *const *args, size_t n, admin_cb cb, void *arg)
{
	const struct command *command = find_command(call_commands, name, n);
	struct call *call = call_new(a, command, cb, arg);

	for (size_t i = 0; i < command->arg_count; i++)
		call->args[i] = mem_strdup(args[i]);
}

void admin_show(struct admin *a, const char *what, admin_cb cb, void *arg)
{
	call_new(a, find_command(show_commands, what, 0), cb, arg);
}

void admin_set_revision(struct admin *a, uint64_t revision)
{
	a->revision = revision;
}

/* --- life --- */

struct admin *admin_new(uv_loop_t *loop, struct node *n, struct config *c)
{
	struct admin *a = mem_alloc(sizeof *a);

	a->loop = loop;
	a->node = n;
	a->config = c;
	a->reader = dq_new(loop, node_local_address(n), NULL);
	dq_set_timeout(a->reader, READ_TIMEOUT_MS);
	a->changer = dq_new(loop, node_local_address(n), NULL);
	a->mha = dq_new(loop, node_local_address(n), "mha");
	a->backup = backup_new(loop, c, n);
	backup_set_judge(a->backup, admin_may_speak, a);
	a->parts_open = 4;
	return a;
}

static void dq_closed_cb(void *arg)
{
	part_closed(arg);
}

void admin_close(struct admin *a, void (*done)(void *arg), void *arg)
{
	struct call *next;

	a->is_closing = true;
	a->done = done;
	a->done_arg = arg;
	/* Those that wait for dqlite are told by the closing connections. */
	for (struct call *call = a->calls; call != NULL; call = next) {
		next = call->next;
		if (!call->is_in_dq)
			call_fail(call, ERR_REFUSED, "57P03", CLOSING_TEXT);
	}
	backup_close(a->backup, dq_closed_cb, a);
	dq_close(a->reader, dq_closed_cb, a);
	dq_close(a->changer, dq_closed_cb, a);
	dq_close(a->mha, dq_closed_cb, a);
}
