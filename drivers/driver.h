/* The contract of a database driver. It runs in the worker processes only and may block up to the limits stated here; the
 * guard, which never blocks, uses nothing of it but the constants and is_fenced. A driver reports facts and does what it is
 * told; it decides nothing. The conformance suite (tests/conformance) is the same contract as a program: a driver is done when
 * it passes. */
#ifndef DRIVERS_DRIVER_H
#define DRIVERS_DRIVER_H

#include "core/base/config.h"
#include "core/base/dbd_msg.h"
#include "core/base/err.h"
#include "drivers/peer_list.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DRIVER_PATH_SIZE 512

struct driver_ctx {
	const struct config *cfg;
	const struct config_instance *inst;
	const char *obj;                   /* "group main", for logs */
	char state_dir[DRIVER_PATH_SIZE];  /* <state_dir>/dbd/<group>: settings, logs, markers; never inside the data directory
	                                    */
	char socket_dir[DRIVER_PATH_SIZE]; /* <run_dir>/<group>: for a server's unix socket, mode 0700 */
	pid_t server_pid;                  /* the running server, 0: stopped; kept up to date by the worker */
	bool is_committed;      /* promote sets it right before the server is told: from here it may become writable */
	uint64_t sync_since;    /* promote, sync_set: position at which the members took effect */
	struct peer_list peers; /* who may replicate from this server; kept up to date by the worker */
	char note[192];         /* what a verb that succeeded wants to say; "" for nothing */
	/* Ask the guard to start the server (argv, NULL-terminated); sets server_pid. Returns when it has been exec'ed. */
	int (*run_server)(struct driver_ctx *ctx, const char *const *argv, struct err *e);
	void *own; /* the driver's */
};

/* ctx and order are borrowed. Every verb is idempotent: the same order again is success without a second effect. */
typedef int driver_verb_fn(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);

struct driver_verb {
	driver_verb_fn *run;
	int limit_ms; /* the guard kills the worker that needs longer */
};

struct driver {
	const char *name; /* config: engine */
	int fast_signal;  /* ends the server cleanly: sessions are cut, everything acknowledged reaches connected standbys */
	int immediate_signal; /* ends it without writing anything */
	const char *program;  /* file name of the server's executable, by which its processes are recognised */

	/* True when a server that runs on this data directory cannot accept writes. Files only, a few microseconds. */
	bool (*is_fenced)(const struct config_instance *inst);

	int (*open)(struct driver_ctx *ctx, struct err *e);
	void (*close)(struct driver_ctx *ctx);

	/* Fill in what can be seen now, at most 800 ms (the guard waits 1 s). A stopped server: position, timeline, is_clean,
	 * system_id from its files, and process (ABSENT or STOPPED). A running one: is_accepting says whether it answered; role
	 * and everything else only when it did. Fields that belong to the guard (process of a running server, verb, epochs,
	 * sync_since, last_error, probe_age_ms) are left alone. */
	void (*probe)(struct driver_ctx *ctx, struct dbd_report *ret);

	/* ctx->peers has changed: let them, and nobody else, replicate from this server, at most 4 s. Every start puts them
	 * into force as well. Idempotent; called again after a failure. NULL: the engine has no such rules. */
	int (*peers)(struct driver_ctx *ctx, struct err *e);

	/* Make the first primary: initialise an empty or absent directory, or adopt one that holds a cluster. Left stopped and
	 * fenced. */
	struct driver_verb create;
	/* Start fenced: never writable. Follows peer_* when set, else nobody. A running standby is fine, a running primary is
	 * ERR_REFUSED. */
	struct driver_verb start;
	/* Become primary with sync_members in force before the first write. Started first when stopped. */
	struct driver_verb promote;
	/* Receive from peer_*; started when stopped, without a restart when running. A running primary is ERR_REFUSED. */
	struct driver_verb follow;
	/* Receive from nobody; returns when nothing more can arrive and the position is final. Keeps running. */
	struct driver_verb detach;
	/* Commits wait for sync_count of sync_members; returns when that is in force in every server process; sets
	 * ctx->sync_since. */
	struct driver_verb sync_set;
	/* Write everything dirty, so that a fast stop after it is short. */
	struct driver_verb checkpoint;
	/* Undo on a stopped former primary what peer_* does not have. Left stopped, set to follow peer_*. May fail for good:
	 * rebuild then. */
	struct driver_verb rewind;
	/* Replace the data directory by a clone of peer_*; the old one stays until the clone is complete. Left stopped, set to
	 * follow peer_*. */
	struct driver_verb rebuild;
};

/* Borrowed; NULL when there is no driver of that name. */
const struct driver *driver_find(const char *engine);

/* The verb of an order; NULL for a type that no driver handles (the guard's own: stop, lease, report). */
const struct driver_verb *driver_verb_of(const struct driver *d, enum dbd_msg_type type);

/* "promote", for people; borrowed, static. */
const char *driver_verb_name(enum dbd_msg_type type);

/* <state_dir>/<name> into buf of DRIVER_PATH_SIZE. Returns buf. */
char *driver_path(const struct driver_ctx *ctx, const char *name, char *buf);

#endif
