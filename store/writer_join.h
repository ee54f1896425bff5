/* Statements of a group in one request. A request costs two wake-ups of other threads each way, several times what a small
 * statement itself costs, so a group spends most of its time on them. What one request does not tell is how many rows each
 * statement changed, and which one failed: SQLite tells the former (interrupt.h); after the latter the group starts over, one
 * by one. Inside writer. */
#ifndef STORE_WRITER_JOIN_H
#define STORE_WRITER_JOIN_H

#include "store/writer_unit.h"

/* Send the text of `first` and of those behind it, as many as fit. Returns the last of them; NULL, and nothing is sent, when
 * they are too few to be worth it. */
struct writer_unit *writer_join_send(struct dq *dq, struct writer_unit *first, dq_cb cb, void *arg);

/* They have run: give each its answer. False when SQLite has not seen them all end: then they did not all run. */
bool writer_join_keep(struct writer_unit *first, struct writer_unit *last, const struct dq_result *r);

#endif
