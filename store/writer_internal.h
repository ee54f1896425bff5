/* What writer.c (the queue, autocommit statements, groups) and writer_tx.c (interactive transactions) share. Inside writer. */
#ifndef STORE_WRITER_INTERNAL_H
#define STORE_WRITER_INTERNAL_H

#include "store/writer.h"
#include "store/writer_unit.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

TAILQ_HEAD(unit_list, writer_unit);

enum writer_state {
	WRITER_IDLE,
	WRITER_SINGLE, /* one autocommit statement, its own transaction */
	WRITER_GROUP,  /* BEGIN, the statements of the group, COMMIT */
	WRITER_TX_BEGIN,
	WRITER_TX_HELD, /* the holder thinks */
	WRITER_TX_RUN,
	WRITER_TX_END
};

struct writer {
	struct dq *dq;
	enum writer_state state;
	struct unit_list waiting;
	struct unit_list group;      /* taken out of waiting, being run */
	struct writer_unit *current; /* of the group */
	struct writer_unit *joined;  /* the last of those that are being run together with `current` */
	unsigned alone_groups;       /* this many are run statement by statement */
	struct writer_unit *tx;
	bool is_delivering, is_closing;
	int64_t busy_limit_ms; /* when to stop retrying; 0: not retrying */
	void (*retry)(struct writer *w);
	uv_timer_t timer;
	void (*done_cb)(void *arg);
	void *done_arg;
};

void writer_advance(struct writer *w); /* the slot is free, or something waits: begin the next */

/* True when the answer was BUSY and `again` will be called a little later. */
bool writer_retry_when_busy(struct writer *w, const struct dq_result *r, void (*again)(struct writer *w));

/* writer_tx.c */
void writer_tx_begin(struct writer *w);    /* w->tx gets the slot */
void writer_tx_rollback(struct writer *w); /* the holder of the slot is gone */

#endif
