/* A backup into a store of one voter that nobody else reaches yet (node_init_begin). Blocks: for a worker thread. */
#ifndef STORE_RESTORE_H
#define STORE_RESTORE_H

#include "core/base/err.h"
#include "store/restore_load.h"

#include <limits.h>
#include <stdint.h>

struct restore {
	char path[PATH_MAX]; /* of the backup */
	char dir[PATH_MAX];  /* from node_init_begin */
	uint64_t id;
	char address[64], node[33];
	struct restore_progress progress;
	struct err e; /* the outcome */
};

/* The database config is taken whole and compared with the backup afterwards. Of mha stay: the users' accounts and policies,
 * and the history of events; the members, certificates, voters and groups of the old cluster go. Numbers that hosts may have
 * seen go on from NUMBER_STEP above those of the backup (table number_floor, controller.generation, roster_number), so that
 * they never go backwards. */
void restore_run(struct restore *r);

/* Above everything that the old cluster can have counted since the backup. */
#define NUMBER_STEP "1000000"

#endif
