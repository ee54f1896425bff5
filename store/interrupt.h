/* Stopping a statement that runs inside dqlite. dqlite's own INTERRUPT takes effect only between two rows, and neither it nor a
 * closed connection stops a statement that computes without end; eight of those would hold every thread that raft's disk work
 * needs too. dqlite runs in this process, so SQLite tells us here which of its connections runs which statement (a mark in
 * front of the text), and sqlite3_interrupt() stops it. Any thread. */
#ifndef STORE_INTERRUPT_H
#define STORE_INTERRUPT_H

#include "core/base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Before the first connection to dqlite; more than once is harmless. */
void interrupt_install(void);

/* A new id; its mark goes in front of the text that dqlite gets. */
uint64_t interrupt_next_id(void);
void interrupt_put_mark(struct buf *sql, uint64_t id);

/* Stop it: now, or as soon as it starts. Its answer will be SQLITE_INTERRUPT (9), unless it ended just before. */
void interrupt_request(uint64_t id);

/* Its answer has come: a request for it has nothing to wait for any more. */
void interrupt_forget(uint64_t id);

/* The same ear hears how statements end: note how many rows this one changes, for one that shares a request with others. */
void interrupt_count(uint64_t id);

/* Ends what interrupt_count began. False, with 0 in *ret, when the statement has not ended. */
bool interrupt_take_count(uint64_t id, uint64_t *ret);

#endif
