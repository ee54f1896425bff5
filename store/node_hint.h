/* Who leads, for a node that dqlite does not tell: only voters hear it from their own node. A standby or spare asks the other
 * nodes of node.yaml, one after the other. A hint is for relaying only; nothing is decided on it. */
#ifndef STORE_NODE_HINT_H
#define STORE_NODE_HINT_H

#include "core/base/config.h"

#include <stdint.h>
#include <uv.h>

struct node;
struct node_hint;

/* All borrowed until node_hint_close. */
struct node_hint *node_hint_new(uv_loop_t *loop, const struct config *c, struct node *n);
void node_hint_close(struct node_hint *h); /* frees itself when libuv lets go; NULL is fine */

/* Call it with each poll that found no leader. Returns the leader's id and *ret_address (borrowed until the next call) as a
 * peer told them within the last second, or 0. Always 0 on a voter, and on a node that is no member yet. */
uint64_t node_hint_poll(struct node_hint *h, const char **ret_address);

#endif
