/* Statements that the session answers itself: SET, SHOW, LISTEN, CALL and their like. */
#ifndef STORE_FRONTEND_LOCAL_H
#define STORE_FRONTEND_LOCAL_H

#include <stdbool.h>
#include <stddef.h>

struct session;

/* Run s->op.in.st (any kind but SQL and the transaction statements); s->op.done ends it. */
void local_start(struct session *s);

/* SHOW mha.<what>: copies what into dst and returns true. */
bool local_is_admin_show(const char *sql, char *dst, size_t cap);

#endif
