/* From a text to a statement that can be run: needs the shadow, so it may have to wait for a leader and for the schema. */
#ifndef STORE_FRONTEND_PREPARE_H
#define STORE_FRONTEND_PREPARE_H

#include "store/frontend/statement.h"

#include <stddef.h>

struct session;

struct prepare {
	const char *text; /* borrowed */
	size_t len;
	void (*cb)(struct session *s, struct statement *st, const struct sqlerr *e);
};

/* Read the first statement of text[len] (rewritten; borrowed until cb). cb comes once, maybe at once: st is returned (move it
 * away), or e says why not. The session must be busy. It may end instead (57P01), and then no cb comes. */
void prepare_start(struct session *s, const char *text, size_t len,
                   void (*cb)(struct session *s, struct statement *st, const struct sqlerr *e));

#endif
