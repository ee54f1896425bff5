/* The part of a backup that blocks: the file, the check of what was written, the clearing away of old ones. For a worker
 * thread. */
#ifndef STORE_BACKUP_JOB_H
#define STORE_BACKUP_JOB_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "store/backup_file.h"

#include <limits.h>
#include <stdbool.h>

struct backup_job {
	const struct config *config; /* borrowed */
	char path[PATH_MAX];         /* of the finished file */
	bool is_in_dir;              /* path is in backup.dir, where `keep` holds */
	struct backup_info info;
	void *data[BACKUP_PARTS]; /* owned: freed by backup_job_run */
	uint64_t bytes;           /* of the file, when it is there */
	unsigned removed;         /* old ones */
	struct err e;
};

/* Where it is to be written: `to` (absolute, or relative to backup.dir) or, with NULL or "", a name of its own in backup.dir.
 */
int backup_job_place(struct backup_job *j, const char *to, struct err *e) MUST_USE;

/* Written beside (.part), synced, read back and checked with PRAGMA integrity_check; only then it gets its name. The outcome is
 * in j->e. */
void backup_job_run(struct backup_job *j);

#endif
