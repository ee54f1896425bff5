/* What the node keeps under <state_dir>/store: lock, node.json, raft/. Decides whether what it finds may be started at all. */
#ifndef STORE_NODE_DISK_H
#define STORE_NODE_DISK_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "store/node_identity.h"

#include <limits.h>
#include <stdbool.h>

struct node_disk {
	const struct config *config; /* borrowed */
	struct identity identity;
	char dir[PATH_MAX - 64], data_dir[PATH_MAX], identity_path[PATH_MAX];
	int lock_fd;
};

/* Creates directories and identity where they are missing, takes the lock, settles what an interrupted start left behind. After
 * a failure node_disk_close is still due. Each error names the file and the way out (node.h lists them). */
int node_disk_open(struct node_disk *d, const struct config *c, struct err *e) MUST_USE;
void node_disk_close(struct node_disk *d);

int node_disk_save(struct node_disk *d, struct err *e) MUST_USE; /* the identity, as it stands in d */
bool node_disk_has_data(const struct node_disk *d);

/* Put a new cluster of this one voter in place: all of it or, after a crash, nothing. First beside, where data may be loaded
 * into it (ret_dir of PATH_MAX bytes); then it takes its place. */
int node_disk_bootstrap_beside(struct node_disk *d, char *ret_dir, struct err *e) MUST_USE;
int node_disk_adopt(struct node_disk *d, struct err *e) MUST_USE;

/* For a recovery: copy the data beside (ret_dir of PATH_MAX bytes); later let the changed copy and its identity take the place
 * of data and identity, all of it or nothing, also across a crash. What was there is left in `copy`. */
int node_disk_copy_data(struct node_disk *d, char *ret_dir, struct err *e) MUST_USE;
int node_disk_swap(struct node_disk *d, const char *copy, const struct identity *id, struct err *e) MUST_USE;

/* A full disk is waited for, said once: whoever frees some space need not think of starting anything. (Signals are not caught
 * yet: SIGTERM ends the wait and the process.) */
void node_disk_wait_for_room(const struct config *c);

/* node_disk_copy.c: an identity that came with swapped data and was not put in its place yet. */
int node_disk_settle_swap(struct node_disk *d, struct err *e) MUST_USE;

#endif
