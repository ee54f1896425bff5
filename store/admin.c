#include "store/admin.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/dq.h"
#include "store/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX           3
#define WAIT_STEP_MS       20
#define LEADER_DEADLINE_MS 10000 /* for the only voter to elect itself */
#define BUSY_DEADLINE_MS   10000 /* for another change of the membership to end */
#define BUSY_STEP_MS       100
#define READ_TIMEOUT_MS    5000
#define BUSY               5 /* SQLITE_BUSY: another change of the membership is under way */

#define FRESH_TEXT   "the store is not initialised: run `mha-shell cluster init` or wait until this node is added"
#define CLOSING_TEXT "the store is stopping"

struct command;

/* One request. Its timer starts it (so that no callback comes from inside admin_call) and paces its waiting. */
struct call {
	uv_timer_t timer;
	struct admin *admin;
	struct call *next, *prev;
	const struct command *command;
	char *args[ARGS_MAX];
	uint64_t numbers[2]; /* parsed arguments of a change of membership */
	int64_t deadline_ms;
	bool is_in_dq; /* its next step comes from a dq callback */
	admin_cb cb;
	void *arg;
};

struct command {
	const char *name;
	size_t arg_count;
	void (*run)(struct call *call);
};

struct admin {
	uv_loop_t *loop;
	struct node *node;
	const struct config *config;
	struct dq *reader;  /* SHOW */
	struct dq *changer; /* membership: an assignment may take as long as the node needs to catch up */
	struct dq *mha;     /* migrations */
	struct call *calls;
	uint64_t revision;
	uint64_t lease_generation;
	int64_t control_ms;
	int64_t lease_deadline_ns;
	uint64_t lease_seen_change; /* change_count under which the lease was last seen valid here as leader; 0: never */
	void (*on_lease)(void *arg);
	void *on_lease_arg;
	bool is_closing;
	unsigned parts_open; /* connections and calls */
	void (*done)(void *arg);
	void *done_arg;
};

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

	for (size_t i = 0; i < ARGS_MAX; i++)
		free(call->args[i]);
	free(call);
	part_closed(a);
}

static void finish(struct call *call, const struct admin_result *r)
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

static void finish_error(struct call *call, int code, const char *sqlstate, const char *message)
{
	struct admin_result r = {.code = code, .sqlstate = sqlstate, .message = message};

	finish(call, &r);
}

static void finish_err(struct call *call, const struct err *e)
{
	finish_error(call, e->code, sqlstate_of(e->code), e->text);
}

static void finish_ok(struct call *call)
{
	finish_error(call, 0, "00000", "");
}

/* dqlite's refusal, in the operator's words where they help more. */
static void finish_dq(struct call *call, const struct dq_result *r)
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
	finish_err(call, &e);
}

/* --- SHOW --- */

static void show_node(struct call *call)
{
	static const char *const columns[] = {"name",           "id",        "address", "cluster_uuid", "profile", "leader_id",
	                                      "leader_address", "is_leader", "revision"};
	struct admin *a = call->admin;
	const struct node_leader *l = node_leader(a->node);
	char id[24], leader_id[24], revision[24];
	const char *row[] = {node_name(a->node),
	                     id,
	                     node_raft_address(a->node),
	                     node_cluster_uuid(a->node),
	                     node_profile(a->node),
	                     leader_id,
	                     l->address,
	                     l->is_self ? "t" : "f",
	                     revision};
	struct admin_result r = {
	        .sqlstate = "00000",
	        .message = "",
	        .column_count = sizeof columns / sizeof *columns,
	        .row_count = 1,
	        .columns = columns,
	        .values = row,
	};

	snprintf(id, sizeof id, "%llu", (unsigned long long)node_id(a->node));
	snprintf(leader_id, sizeof leader_id, "%llu", (unsigned long long)l->id);
	snprintf(revision, sizeof revision, "%llu", (unsigned long long)a->revision);
	finish(call, &r);
}

static const char *role_name(int64_t role)
{
	return role == 0 ? "voter" : role == 1 ? "standby" : "spare";
}

static void members_cb(void *arg, const struct dq_result *r)
{
	static const char *const columns[] = {"id", "address", "role"};
	struct call *call = arg;
	struct admin_result result = {.sqlstate = "00000", .message = "", .column_count = 3, .columns = columns};
	const char **values;
	char(*ids)[24];

	if (r->code != 0) {
		finish_dq(call, r);
		return;
	}
	values = mem_alloc((r->row_count * 3 + 1) * sizeof *values);
	ids = mem_alloc((r->row_count + 1) * sizeof *ids);
	for (size_t i = 0; i < r->row_count; i++) {
		const struct dq_value *v = &r->values[i * 3];

		snprintf(ids[i], sizeof ids[i], "%llu", (unsigned long long)v[0].u.i);
		values[i * 3] = ids[i];
		values[i * 3 + 1] = v[1].u.s.data;
		values[i * 3 + 2] = role_name(v[2].u.i);
	}
	result.values = values;
	result.row_count = r->row_count;
	finish(call, &result);
	free(values);
	free(ids);
}

static void show_members(struct call *call)
{
	if (!node_is_member(call->admin->node)) {
		finish_error(call, ERR_NOQUORUM, "57P03", FRESH_TEXT);
		return;
	}
	call->is_in_dq = true;
	dq_cluster(call->admin->reader, members_cb, call);
}

/* --- migrations, init, join --- */

static void migrated_cb(void *arg, const struct err *e, unsigned applied)
{
	struct call *call = arg;

	call->is_in_dq = false;
	if (applied > 0)
		log_info("store", "%u schema migrations applied", applied);
	if (e->code != 0)
		finish_err(call, e);
	else
		finish_ok(call);
}

static void run_migrate(struct call *call)
{
	if (!node_is_member(call->admin->node)) {
		finish_error(call, ERR_NOQUORUM, "57P03", FRESH_TEXT);
		return;
	}
	call->is_in_dq = true;
	migrate_run(call->admin->mha, migrations_mha, migrated_cb, call);
}

static void wait_for_leader_cb(uv_timer_t *timer)
{
	struct call *call = timer->data;

	if (node_leader(call->admin->node)->is_self)
		run_migrate(call);
	else if (clock_now_ms() < call->deadline_ms)
		uv_timer_start(timer, wait_for_leader_cb, WAIT_STEP_MS, 0);
	else
		finish_error(call, ERR_TIMEOUT, "57P03",
		             "the cluster is initialised, but the node did not become its leader within 10 s: see the "
		             "log of the store, then run CALL mha_migrate()");
}

static void run_init(struct call *call)
{
	struct err e = ERR_INIT;

	if (node_init(call->admin->node, call->args[0], call->args[1], call->args[2], &e) != 0) {
		finish_err(call, &e);
		return;
	}
	call->deadline_ms = clock_now_ms() + LEADER_DEADLINE_MS;
	wait_for_leader_cb(&call->timer);
}

static void run_join(struct call *call)
{
	struct err e = ERR_INIT;

	if (node_join(call->admin->node, call->args[0], call->args[1], &e) != 0)
		finish_err(call, &e);
	else
		finish_ok(call);
}

/* --- membership --- */

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
		finish_ok(call);
	else if (r->code == BUSY && clock_now_ms() < call->deadline_ms && !call->admin->is_closing)
		uv_timer_start(&call->timer, change_again_cb, BUSY_STEP_MS, 0);
	else
		finish_dq(call, r);
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
		if (strcmp(text, role_name(role)) == 0) {
			*ret = (uint64_t)role;
			return 0;
		}
	}
	return err_set(e, ERR_INVAL, "role \"%s\" is unknown: voter, standby or spare", text);
}

/* args[0] is an id for all of them. */
static void run_change(struct call *call)
{
	struct err e = ERR_INIT;
	int rc = str_to_u64(call->args[0], "node id", 2, INT64_MAX, &call->numbers[0], &e);

	if (rc == 0 && strcmp(call->command->name, "mha_assign") == 0)
		rc = parse_role(call->args[1], &call->numbers[1], &e);
	if (rc != 0) {
		finish_err(call, &e);
		return;
	}
	if (!node_is_member(call->admin->node)) {
		finish_error(call, ERR_NOQUORUM, "57P03", FRESH_TEXT);
		return;
	}
	call->deadline_ms = clock_now_ms() + BUSY_DEADLINE_MS;
	send_change(call);
}

/* --- dispatch --- */

static void run_unknown_call(struct call *call)
{
	finish_error(call, ERR_NOTFOUND, "42883",
	             "there is no such procedure with that number of arguments: mha_init(cluster, uuid, profile), "
	             "mha_join(uuid, profile), mha_add(id, address), mha_assign(id, role), mha_remove(id), mha_transfer(id), "
	             "mha_migrate()");
}

static void run_unknown_show(struct call *call)
{
	finish_error(call, ERR_NOTFOUND, "42704", "there are SHOW mha.node and SHOW mha.members only");
}

static const struct command call_commands[] = {
        {"mha_init", 3, run_init},       {"mha_join", 2, run_join},     {"mha_add", 2, run_change},
        {"mha_assign", 2, run_change},   {"mha_remove", 1, run_change}, {"mha_transfer", 1, run_change},
        {"mha_migrate", 0, run_migrate}, {NULL, 0, run_unknown_call},
};

static const struct command show_commands[] = {
        {"node", 0, show_node},
        {"members", 0, show_members},
        {NULL, 0, run_unknown_show},
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

/* --- lease --- */

int64_t admin_control_ms(const struct admin *a)
{
	return a->control_ms;
}

bool admin_lease_is_valid(const struct admin *a)
{
	return a->lease_deadline_ns > clock_now_ns();
}

/* Both at this very instant: leader, by what the own node last said, and lease valid. */
bool admin_lease_seen_since_leader(struct admin *a)
{
	const struct node_leader *l = node_leader(a->node);

	if (!l->is_self)
		return false;
	if (a->lease_seen_change != l->change_count && admin_lease_is_valid(a))
		a->lease_seen_change = l->change_count;
	return a->lease_seen_change == l->change_count;
}

void admin_set_lease(struct admin *a, uint64_t generation, int64_t deadline_ns)
{
	a->control_ms = clock_now_ms();
	if (generation < a->lease_generation)
		return;
	a->lease_generation = generation;
	a->lease_deadline_ns = deadline_ns;
	(void)admin_lease_seen_since_leader(a);
	if (a->on_lease != NULL)
		a->on_lease(a->on_lease_arg);
}

void admin_on_lease(struct admin *a, void (*cb)(void *arg), void *arg)
{
	a->on_lease = cb;
	a->on_lease_arg = arg;
}

/* --- life --- */

struct admin *admin_new(uv_loop_t *loop, struct node *n, const struct config *c)
{
	struct admin *a = mem_alloc(sizeof *a);

	a->loop = loop;
	a->node = n;
	a->config = c;
	a->reader = dq_new(loop, node_local_address(n), NULL);
	dq_set_timeout(a->reader, READ_TIMEOUT_MS);
	a->changer = dq_new(loop, node_local_address(n), NULL);
	a->mha = dq_new(loop, node_local_address(n), "mha");
	a->parts_open = 3;
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
			finish_error(call, ERR_REFUSED, "57P03", CLOSING_TEXT);
	}
	dq_close(a->reader, dq_closed_cb, a);
	dq_close(a->changer, dq_closed_cb, a);
	dq_close(a->mha, dq_closed_cb, a);
}
