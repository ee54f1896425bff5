/* Errors as SQL clients see them: severity, SQLSTATE, message, and where known detail, hint, position, table, column. */
#ifndef STORE_FRONTEND_SQLSTATE_H
#define STORE_FRONTEND_SQLSTATE_H

#include "core/base/err.h"

struct sqlerr {
	char sqlstate[6];
	int position; /* in characters, from 1; 0: none */
	char text[512];
	char hint[256];
	char table[128];
	char column[128];
};
#define SQLERR_INIT                                                                                                            \
	{                                                                                                                      \
		"", 0, "", "", "", ""                                                                                          \
	}

/* Store both; returns ERR_SQL, so that a failing function ends in `return sqlerr_set(...)`. */
int sqlerr_set(struct sqlerr *e, const char *sqlstate, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void sqlerr_hint(struct sqlerr *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The SQLSTATE of a SQLite or dqlite result code with its message; static. */
const char *sqlstate_of(int code, const char *message);

/* The same with message, table and column ("UNIQUE constraint failed: vm.name") filled in. Returns ERR_SQL. */
int sqlerr_from_code(struct sqlerr *e, int code, const char *message);

#endif
