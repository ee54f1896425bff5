/* Backups of the store, one at a time: DUMP of both databases from the own dqlite node, a checked file, the operator's command.
 * All on the one loop; what blocks runs in a worker thread. */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include "core/base/config.h"
#include "store/node.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct backup;

enum backup_state { BACKUP_NONE, BACKUP_RUNNING, BACKUP_OK, BACKUP_FAILED };

/* Of the newest one since this program started. */
struct backup_status {
	enum backup_state state;
	char path[PATH_MAX]; /* "" when no file came of it */
	uint64_t bytes, revision;
	int64_t at_ms, dump_ms, took_ms; /* wall clock of the begin; time for the two DUMPs; until the end */
	char reason[512];                /* why it failed, "" */
};

/* loop, c and n are borrowed until the end of backup_close. */
struct backup *backup_new(uv_loop_t *loop, const struct config *c, const struct node *n);
void backup_close(struct backup *b, void (*done)(void *arg), void *arg); /* waits for a file that is being written */

/* Begin. to: see backup_job_place. is_valid is asked before and after the databases were read: may this node speak for the
 * cluster? ERR_REFUSED: one is under way, or it may not. The outcome is in backup_status. */
int backup_start(struct backup *b, const char *to, uint64_t revision, struct err *e) MUST_USE;
void backup_set_judge(struct backup *b, bool (*is_valid)(void *arg), void *arg);

const struct backup_status *backup_status(const struct backup *b);
const char *backup_state_name(enum backup_state s);

#endif
