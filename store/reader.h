/* The reader: a small pool of connections for SELECTs outside transactions. First in, first out when all are busy. All on one
 * loop. */
#ifndef STORE_READER_H
#define STORE_READER_H

#include "store/dq.h"

#include <stddef.h>
#include <uv.h>

struct reader;
struct reader_job;

struct reader *reader_new(uv_loop_t *loop, const char *address, const char *database);

/* All jobs must have been abandoned or have ended. */
void reader_close(struct reader *r, void (*done_cb)(void *arg), void *arg);

/* Run one read-only statement; sql is copied, params are borrowed until the last callback (as for dq_query). The job is gone
 * after that. */
struct reader_job *reader_run(struct reader *r, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb,
                              void *arg);

/* Stop it: its last callback comes soon, with SQLITE_INTERRUPT if it did not end just before. */
void reader_cancel(struct reader_job *j);

/* Nobody waits for it any more: no callback comes after this, and a query that runs is stopped. */
void reader_abandon(struct reader_job *j);

#endif
