/* The measuring half of a load program: threads, each a client that waits for the answer before it asks again, and the times
 * that their operations took. What an operation is on the wire, the driver says. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "core/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define LOAD_DATA_BYTES    128 /* of one row */
#define LOAD_TX_STATEMENTS 4

/* The statements, the same for every contestant but for the way parameters are written. */
#define LOAD_SQL_INSERT "INSERT INTO bench_written (data) VALUES "
#define LOAD_SQL_SELECT "SELECT data FROM bench_read WHERE id = "

/* One connection; used by one thread at a time. A client that returned an error is closed. */
struct load_driver {
	int (*connect)(const char *target, void **ret, struct err *e); /* statements prepared */
	void (*close)(void *client);                                   /* NULL is fine */
	int (*exec)(void *client, const char *sql, struct err *e);
	int (*insert)(void *client, const char *data, struct err *e);      /* one row, autocommit */
	int (*transaction)(void *client, const char *data, struct err *e); /* BEGIN, LOAD_TX_STATEMENTS rows, COMMIT */
	int (*select)(void *client, int64_t key, struct err *e);           /* one row; it must be there */
};

/* The program: WORK and options from the command line, one line of JSON on stdout. Returns the exit code. */
int load_main(int argc, char **argv, const struct load_driver *driver);

#endif
