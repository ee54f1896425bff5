/* The parent process of a node: starts the children of DESIGN section 2 with the right users and capabilities, restarts the
 * dead, stops all in order. It holds privileges, so it reads nothing but the configuration. */
#ifndef RUN_SUPERVISE_H
#define RUN_SUPERVISE_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SUPERVISE_EX_CONFIG    78 /* a child's (and then our) exit code: the configuration is wrong, a restart would not help */
#define SUPERVISE_NAME_SIZE    48
#define SUPERVISE_MAX_ARGS     8
#define SUPERVISE_MAX_CHILDREN 68

struct child {
	char name[SUPERVISE_NAME_SIZE]; /* "control", "stored", "dbd main", "vipd" */
	char *argv[SUPERVISE_MAX_ARGS];
	const char *user; /* borrowed; NULL: as the caller */
	uint64_t ambient_caps;
	bool is_asking;  /* the control process: gets control_fd, and is never restarted on request */
	bool stops_last; /* the store: the others need it to say goodbye */
	pid_t pid;       /* 0: not running */
	int64_t started_ms;
	int64_t restart_ms;    /* when to start it again */
	unsigned quick_deaths; /* in a row */
};

struct supervisor {
	const struct config *config;
	struct child children[SUPERVISE_MAX_CHILDREN];
	unsigned count;
	int ask_fd, control_fd; /* the two ends of the socketpair with the control process (core/run/restart_msg.h) */
	int signal_fd;
};

/* List the children; bin_dir holds the programs, config_path is passed on. Nothing is started. */
int supervise_plan(struct supervisor *s, const struct config *c, const char *bin_dir, const char *config_path,
                   struct err *e) MUST_USE;
void supervise_done(struct supervisor *s);

/* Run until SIGTERM, SIGINT or SIGHUP; returns the exit code. */
int supervise_run(struct supervisor *s);

/* How long a child that has just died waits: 0 the first time, then 20 ms doubling to 5 s. */
int64_t supervise_backoff_ms(unsigned quick_deaths);

/* supervise_dirs.c: run_dir and state_dir with owners and modes; the lock of the run_dir (*ret_fd: held until closed). */
int supervise_make_dirs(const struct config *c, struct err *e) MUST_USE;
int supervise_lock(const struct config *c, int *ret_fd, struct err *e) MUST_USE;

#endif
