/* Keeping the shadow in step with the store's schema. */
#ifndef STORE_FRONTEND_SCHEMA_H
#define STORE_FRONTEND_SCHEMA_H

#include "store/frontend/sqlstate.h"

#include <stdbool.h>

struct session;

/* The shadow of the session's database shows what this session would see. */
bool schema_is_current(const struct session *s);

/* Load it from the store (through the session's own transaction when it has one). cb comes once; an error leaves the shadow as
 * it was. */
void schema_load(struct session *s, void (*cb)(struct session *s, const struct sqlerr *e));

#endif
