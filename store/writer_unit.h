/* What waits in the writer's queue: an autocommit statement or an interactive transaction, and the answer that it will get.
 * Inside writer. */
#ifndef STORE_WRITER_UNIT_H
#define STORE_WRITER_UNIT_H

#include "store/writer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct writer_unit {
	TAILQ_ENTRY(writer_unit) link; /* in waiting, or in group */
	struct writer *w;
	bool is_tx, is_abandoned;
	bool is_joined;          /* its text went out in one request with others' */
	struct writer_stmt stmt; /* owns its memory */
	uint64_t id;             /* of the statement that runs or will run */
	dq_cb cb;
	void *arg;
	/* The answer, kept until the group's COMMIT (or the ROLLBACK behind a failed COMMIT) has ended. */
	int code;
	char *message;
	uint64_t last_id, changes;
	bool was_sent;
};

struct writer_unit *writer_unit_new(struct writer *w, dq_cb cb, void *arg);
void writer_unit_free(struct writer_unit *u);

void writer_unit_set_stmt(struct writer_unit *u, const struct writer_stmt *stmt); /* a copy, marked */

/* The text with a new mark that lets it be stopped (interrupt.h); returned: free it. */
char *writer_unit_mark(struct writer_unit *u, const char *sql);

/* Its statement has got its answer: what was asked of interrupt.h is settled. */
void writer_unit_note_answer(const struct writer_unit *u, const struct dq_result *r);

void writer_unit_keep(struct writer_unit *u, const struct dq_result *r); /* the answer, for later */

/* The end of a unit that is in no list any more: tell whoever still waits, and free it. */
void writer_unit_complete(struct writer_unit *u, const struct dq_result *r);
void writer_unit_complete_kept(struct writer_unit *u);

#endif
