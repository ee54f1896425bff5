/* One SQL statement: what kind it is, and what has to be known to run it. */
#ifndef STORE_FRONTEND_STATEMENT_H
#define STORE_FRONTEND_STATEMENT_H

#include "store/frontend/shadow.h"
#include "store/frontend/sqlstate.h"
#include "store/frontend/token.h"

#include <stdbool.h>
#include <stddef.h>

enum statement_kind {
	STATEMENT_EMPTY,
	STATEMENT_SQL, /* SQLite's: by way of the shadow */
	/* the session answers the rest itself */
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_SAVEPOINT,
	STATEMENT_RELEASE,
	STATEMENT_ROLLBACK_TO,
	STATEMENT_SET,
	STATEMENT_SHOW,
	STATEMENT_RESET,
	STATEMENT_DISCARD,
	STATEMENT_DEALLOCATE,
	STATEMENT_LISTEN,
	STATEMENT_UNLISTEN,
	STATEMENT_NOTIFY,
	STATEMENT_CALL
};

struct statement {
	enum statement_kind kind;
	char *sql;               /* the text of this statement alone, without its ';' */
	char *sent;              /* what dqlite gets in its place; NULL: sql itself */
	size_t size;             /* bytes it took of the text it stood in, the ';' included */
	char tag[32];            /* "INSERT 0", "SELECT", "CREATE TABLE": numbers are added where the protocol wants them */
	struct shadow_info info; /* of STATEMENT_SQL */
};

/* Kind of the first statement of sql[len] by its first words alone. */
enum statement_kind statement_kind_of(const char *sql, size_t len);

/* Read the first statement of sql[len] (already rewritten for SQLite). *ret is returned: end it with statement_done. */
int statement_read(struct shadow *sh, const char *sql, size_t len, struct statement *ret, struct sqlerr *e) MUST_USE;
void statement_done(struct statement *st);

/* True when more than white space, comments and ';' follows. */
bool statement_follows(const char *sql, size_t len);

bool statement_returns_rows(const struct statement *st);

/* Columns of type text for a statement that the session answers itself. */
void statement_set_columns(struct statement *st, const char *const *names, size_t count);

/* The command tag: "INSERT 0 3", "SELECT 2", "CREATE TABLE". */
void statement_format_tag(const struct statement *st, uint64_t count, char *dst, size_t cap);

#endif
