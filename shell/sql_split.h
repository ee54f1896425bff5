/* Where a SQL statement ends: SQLite's rule, for text that comes line by line. */
#ifndef SHELL_SQL_SPLIT_H
#define SHELL_SQL_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the first statement in text, its ';' included; 0 when it is not complete. A ';' in a string, a quoted name, a
 * comment or the body of a trigger ends nothing. */
size_t sql_split_first(const char *text, size_t len);

/* Nothing but blanks, comments and ';'. */
bool sql_split_is_empty(const char *text, size_t len);

#endif
