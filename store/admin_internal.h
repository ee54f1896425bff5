/* What the parts of admin share: the calls that run, and how each ends. */
#ifndef STORE_ADMIN_INTERNAL_H
#define STORE_ADMIN_INTERNAL_H

#include "store/admin.h"
#include "store/backup.h"
#include "store/dq.h"

#define ADMIN_ARGS_MAX   4
#define ADMIN_FRESH_TEXT "the store is not initialised: run `mha-shell cluster init` or wait until this node is added"

struct command;
struct restore;

/* One request. Its timer starts it (so that no callback comes from inside admin_call) and paces its waiting. */
struct call {
	uv_timer_t timer;
	struct admin *admin;
	struct call *next, *prev;
	const struct command *command;
	char *args[ADMIN_ARGS_MAX];
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
	struct config *config; /* the roster is merged into it */
	struct dq *reader;     /* SHOW */
	struct dq *changer;    /* membership: an assignment may take as long as the node needs to catch up */
	struct dq *mha;        /* migrations */
	struct backup *backup;
	struct restore *restore; /* the one that runs, NULL */
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

/* admin.c: each ends the call, which is gone afterwards. */
void call_finish(struct call *call, const struct admin_result *r);
void call_fail(struct call *call, int code, const char *sqlstate, const char *message);
void call_fail_err(struct call *call, const struct err *e);
void call_done(struct call *call);
void call_fail_dq(struct call *call, const struct dq_result *r); /* dqlite's refusal */

/* A row of texts; every command of SHOW ends with it or with call_finish. */
void call_finish_row(struct call *call, const char *const *columns, const char *const *values, size_t count);

/* The commands. */
void admin_show_node(struct call *call);
void admin_show_members(struct call *call);
void admin_run_init(struct call *call);
void admin_run_restore(struct call *call); /* mha_init with a backup */
void admin_run_backup(struct call *call);
void admin_show_backup(struct call *call);
void admin_show_restore(struct call *call);
void admin_show_schema(struct call *call);
bool admin_may_speak(void *arg);
void admin_run_join(struct call *call);
void admin_run_migrate(struct call *call);
void admin_run_roster(struct call *call); /* read <state_dir>/roster/nodes.json again */
void admin_run_change(struct call *call); /* mha_add, mha_assign, mha_remove, mha_transfer */
const char *admin_role_name(int64_t role);

#endif
