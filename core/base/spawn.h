/* Start a program as a child: exec only, the environment given or inherited, every descriptor but the listed ones closed. */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPAWN_MAX_FDS 4

struct spawn_opts {
	const char *const *argv;     /* NULL-terminated; argv[0] is the path of the program */
	const char *cwd;             /* NULL: stay */
	const char *user;            /* become this OS user (needs root); NULL: stay */
	uint64_t ambient_caps;       /* mask of capabilities (1 << CAP_x) that are passed on; unless root stays root, no other */
	int keep_fds[SPAWN_MAX_FDS]; /* passed on as descriptors 3, 4, ... in this order */
	size_t keep_fd_count;
	int stdout_fd;           /* -1: inherit */
	int stderr_fd;           /* -1: inherit */
	int parent_death_signal; /* sent to the child when this process dies; 0: none */
	bool new_session;        /* setsid(), so that a terminal's signals do not reach it */
};
#define SPAWN_INIT                                                                                                             \
	{                                                                                                                      \
		.stdout_fd = -1, .stderr_fd = -1                                                                               \
	}

struct spawned {
	pid_t pid;
	int pidfd; /* readable when the process has ended; close it */
};

/* Errors: ERR_NOTFOUND for a missing program or user (named), ERR_IO. Fails before the child runs, never after. */
int spawn_start(const struct spawn_opts *o, struct spawned *ret, struct err *e) MUST_USE;

/* One line for logs: "exit 0", "exit 1", "signal 9 (Killed)"; buf must hold 48 bytes. Returns buf. */
char *spawn_describe_status(int wait_status, char *buf);

#endif
