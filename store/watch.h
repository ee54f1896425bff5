/* A leader whose control process is silent (frozen, or dying again and again) would leave the cluster without a controller for
 * as long as its dqlite node lives. So the store gives the leadership away when nothing came from the control session for as
 * long as a node may be silent. */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include "core/base/config.h"
#include "store/admin.h"
#include "store/node.h"

#include <uv.h>

struct watch;

/* All borrowed until watch_stop. */
struct watch *watch_start(uv_loop_t *loop, const struct config *c, struct node *n, const struct admin *a);
void watch_stop(struct watch *w); /* frees, on a later turn of the loop */

#endif
