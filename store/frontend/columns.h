/* Types of result columns that are expressions: SQLite declares none for them, so count(*) would come back as text. */
#ifndef STORE_FRONTEND_COLUMNS_H
#define STORE_FRONTEND_COLUMNS_H

#include "store/frontend/shadow.h"

#include <stddef.h>

/* For the columns of info (of the statement sql[len]) that are expressions: literals, CAST, functions of one type (count,
 * length, avg), and functions of their argument's type (max, sum, coalesce). What cannot be told stays text. */
void columns_guess(struct shadow *sh, const char *sql, size_t len, struct shadow_info *info);

#endif
