/* Before a clean stop the leader hands over: another voter leads within milliseconds, where its silence would cost an election
 * timeout. (dqlite's own handover would also demote this node to a spare, which nobody asked for.) */
#ifndef STORE_STEPDOWN_H
#define STORE_STEPDOWN_H

#include "core/base/config.h"
#include "store/node.h"

#include <uv.h>

/* Best effort within a second; nothing to do when this node does not lead. done comes once, from the loop. All borrowed
 * until then. */
void stepdown_run(uv_loop_t *loop, const struct node *n, const struct config *c, void (*done)(void *arg), void *arg);

#endif
