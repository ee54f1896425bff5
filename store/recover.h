/* `mha-stored recover` (started by `mhad recover`): one survivor becomes a cluster of its own after the majority is lost.
 * Offline: nothing of this node may run. All of it happens in a copy that takes the place of the store in one rename. */
#ifndef STORE_RECOVER_H
#define STORE_RECOVER_H

#include "core/base/err.h"
#include "store/node_disk.h"

#include <stdbool.h>

/* The command line; returns the exit code: 0 done, 1 failed, 2 usage, 5 refused. */
int recover_main(int argc, char **argv);

/* What this survivor has, as others compare it. */
struct recover_entry {
	char node[33], cluster[33], uuid[40];
	uint64_t raft_id, term, index;
};

/* Of an opened directory. ERR_REFUSED: it was never a member. */
int recover_describe(const struct node_disk *d, struct recover_entry *ret, struct err *e) MUST_USE;

/* A line of another survivor (its JSON). ERR_INVAL. */
int recover_parse(const char *json, struct recover_entry *ret, struct err *e) MUST_USE;

/* May `own` be the one to go on with, beside what `other` has? ERR_REFUSED names the one that has more. */
int recover_compare(const struct recover_entry *own, const struct recover_entry *other, struct err *e) MUST_USE;

/* The act. d is opened and holds its lock. */
int recover_apply(struct node_disk *d, struct err *e) MUST_USE;

#endif
