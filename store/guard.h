/* What may not reach dqlite (facts: facts/dqlite.md, section 5), and how to ask for it harmlessly. Pure. */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include "core/base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct guard_refusal {
	const char *sqlstate;
	char text[256];
	char hint[160];
};

/* May a statement do this? action, a and b are what SQLite's authorizer is told. */
bool guard_allows(int action, const char *a, const char *b, struct guard_refusal *ret);

/* dqlite converts values by this declared type and aborts on those that it does not expect: DATETIME, DATE, TIMESTAMP, BOOLEAN.
 */
bool guard_is_deadly_type(const char *decltype);

/* Names of an own query around the SELECT sql[len], so that no result column has a declared type. The values, their storage
 * classes and their order stay; the column names do not. */
void guard_wrap_select(const char *sql, size_t len, size_t column_count, struct buf *out);

/* The same for the list behind RETURNING, which starts at list (offset into sql): each item gets a '+'; a '*' becomes the
 * columns it stands for. False when the list cannot be understood (two stars). */
bool guard_wrap_returning(const char *sql, size_t len, size_t list, const char *const *columns, size_t column_count,
                          struct buf *out);

#endif
