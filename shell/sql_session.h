/* One connection to the SQL port, opened with the first statement, and statements run over it. */
#ifndef SHELL_SQL_SESSION_H
#define SHELL_SQL_SESSION_H

#include "core/base/err.h"

#include <stdbool.h>

struct shell;
struct options;
struct sql;

/* Connect if there is no usable connection (sh->sql). Errors: ERR_UNREACHABLE,
 * ERR_NOQUORUM (the node has no leader to serve SQL), ERR_SQL (refused: the server's words). */
int sql_open(struct shell *sh, const struct options *o, struct err *e) MUST_USE;
void sql_close(struct sql *s);

/* Run text as one query message (several statements in it are one transaction), print every result; Ctrl-C cancels it. ERR_SQL
 * comes with SQLSTATE in the message and the position in sh->detail. */
int sql_run(struct shell *sh, const char *text, struct err *e) MUST_USE;

/* Like sql_run, but a table is printed as the bare text of its first column, ";" after each row: statements that can be run
 * again. */
int sql_run_bare(struct shell *sh, const char *text, struct err *e) MUST_USE;

/* Inside a transaction block? For the prompt. */
bool sql_in_transaction(const struct sql *s);

#endif
