/* The SQL front end: PostgreSQL's protocol v3 in front of the dqlite node of this process, SQLite's dialect behind it.
 * Two listeners (the unix socket <run_dir>/.s.PGSQL.<sql port>; TCP when sql.auth is insecure-trust), two databases ("config", "mha").
 * Everything runs on the one loop; nothing blocks it. */
#ifndef STORE_FRONTEND_FRONTEND_H
#define STORE_FRONTEND_FRONTEND_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "store/admin.h"
#include "store/node.h"

#include <uv.h>

struct frontend;

/* Bind the listeners and serve. loop, c, n and a are borrowed until frontend_stop is done. The unix socket appears last: it is
 * the sign that the store is ready. *ret is returned: end it with frontend_stop. Errors (ERR_IO) name the address and the way
 * out. */
int frontend_start(uv_loop_t *loop, const struct config *c, struct node *n, struct admin *a, struct frontend **ret,
                   struct err *e) MUST_USE;

/* Close the listeners, end every session (57P01, open transactions are rolled back), then done (may be NULL) and the memory is
 * gone. Call it before admin_close and node_stop, and let the loop run meanwhile. */
void frontend_stop(struct frontend *f, void (*done)(void *arg), void *arg);

#endif
