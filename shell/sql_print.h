/* Results and errors of SQL statements. */
#ifndef SHELL_SQL_PRINT_H
#define SHELL_SQL_PRINT_H

#include "core/base/str.h"

#include <libpq-fe.h>
#include <stdbool.h>

struct out;

/* Rows to o: a table (expanded: one line per value), CSV, or one JSON object
 * {"version":1,"columns":[{"name":...,"type":oid}],"rows":[{...}],"command":"SELECT 1"}; a result without rows is
 * {"version":1,"command":...} in JSON, else its command tag on stderr. */
void sql_print_result(const struct out *o, const PGresult *res, bool is_expanded);

/* "LINE 2: select nme from t" and a caret below the character at `position` (from 1, in characters) of statement. Nothing for
 * position 0. */
void sql_print_position(struct buf *b, const char *statement, unsigned position);

#endif
