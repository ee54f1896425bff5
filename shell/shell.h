/* One run of the shell: what commands share. */
#ifndef SHELL_SHELL_H
#define SHELL_SHELL_H

#include "core/base/err.h"
#include "core/base/str.h"
#include "shell/http.h"
#include "shell/options.h"
#include "shell/output.h"

struct sql;

/* The exit codes, a promise to scripts. */
enum shell_exit {
	SHELL_OK = 0,
	SHELL_ERROR = 1,
	SHELL_USAGE = 2,
	SHELL_UNREACHABLE = 3,
	SHELL_NO_QUORUM = 4,
	SHELL_REFUSED = 5,
	SHELL_STILL_RUNNING = 6
};

struct shell {
	struct http *http;
	struct sql *sql;   /* NULL until the first statement */
	bool sql_expanded; /* \x: one line per value */
	bool sql_bare;     /* while sql_run_bare runs */
	bool sql_timing;   /* \timing */
	struct out out;
	struct buf detail; /* what a failing command has to show below its message (position of an SQL error) */
	struct buf hint;   /* the way out of a failure, shown as "hint: ..." */
	bool is_prompt;    /* commands come from the prompt or a pipe, not from argv */
};

/* *sh is initialised; done with shell_done. ERR_INVAL for a bad --node. */
int shell_init(struct shell *sh, const struct options *o, struct err *e) MUST_USE;
void shell_done(struct shell *sh);

/* Find and run the command of o's words, once or, with --watch, until interrupted. What goes wrong is reported on stderr. */
enum shell_exit shell_run(struct shell *sh, const struct options *o);

/* Print e as "mha-shell: ...", then the detail and the hint, and forget those two. */
enum shell_exit shell_report(struct shell *sh, const struct err *e);

enum shell_exit shell_exit_of(enum err_code code);

/* A message for the operator on stderr: "mha-shell: ...". */
void shell_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void shell_hint(struct shell *sh, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The commands, one file per noun; see struct command for what they take. */
#define SHELL_COMMAND(name) int name(struct shell *sh, const struct options *o, const char *const *args, struct err *e) MUST_USE
SHELL_COMMAND(cluster_init);
SHELL_COMMAND(cluster_status);
SHELL_COMMAND(cluster_events);
SHELL_COMMAND(cluster_policy);
SHELL_COMMAND(cluster_set);
SHELL_COMMAND(store_backup);
SHELL_COMMAND(store_status);
SHELL_COMMAND(store_verify);
SHELL_COMMAND(node_list);
SHELL_COMMAND(node_add);
SHELL_COMMAND(node_remove);
SHELL_COMMAND(node_keep);
SHELL_COMMAND(node_move);
SHELL_COMMAND(group_list);
SHELL_COMMAND(group_switchover);
SHELL_COMMAND(group_failover);
SHELL_COMMAND(group_pause);
SHELL_COMMAND(group_resume);
SHELL_COMMAND(vip_list);
SHELL_COMMAND(cert_show);
SHELL_COMMAND(cert_rotate);
SHELL_COMMAND(cert_issue);
SHELL_COMMAND(cert_revoke);
SHELL_COMMAND(sql_command);
SHELL_COMMAND(shell_help);
SHELL_COMMAND(shell_version);

#endif
