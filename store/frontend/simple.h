/* The simple query protocol: one message, any number of statements, one implicit transaction. */
#ifndef STORE_FRONTEND_SIMPLE_H
#define STORE_FRONTEND_SIMPLE_H

#include "store/frontend/messages.h"
#include "store/frontend/statement.h"

#include <stdbool.h>
#include <stddef.h>

struct session;

struct simple {
	bool is_active, is_failed;
	char *text;
	size_t len, at;
	unsigned run; /* statements so far */
	struct statement st;
};

void simple_query(struct session *s, struct msg_in *m); /* message Q */
void simple_next(struct session *s);                    /* the next statement of an active query, or its end */
void simple_abort(struct session *s);                   /* after an error: no further statement */
void simple_done(struct simple *q);

/* RowDescription of what st returns; formats as in exec.h. */
void simple_describe(struct buf *out, const struct statement *st, const int16_t *formats, size_t format_count);

#endif
