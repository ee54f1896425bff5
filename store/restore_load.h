/* One database of a backup into an empty database of a running store, through SQL. Blocks. */
#ifndef STORE_RESTORE_LOAD_H
#define STORE_RESTORE_LOAD_H

#include "store/backup_check.h"
#include "store/dq_sync.h"

#include <stdatomic.h>

/* Read by other threads while it goes on. */
struct restore_progress {
	_Atomic int64_t rows, rows_total;
};

/* Schema and rows exactly: rowids, types of every value, sequences, indexes, views, triggers, virtual tables by way of their
 * content tables; foreign keys are not enforced meanwhile. In transactions of some MB. ERR_SQL and ERR_INVAL name the table. */
int restore_load(const struct backup_db *from, struct dq_sync *to, struct restore_progress *p, struct err *e) MUST_USE;

#endif
