/* The shadow: an in-memory SQLite connection with the schema of one database and none of its rows. Every statement is prepared
 * here before dqlite sees it: syntax errors with their position, parameters, columns and their types, read-only or not, what it
 * touches. Statements about the session itself (version(), EXPLAIN) run here altogether. */
#ifndef STORE_FRONTEND_SHADOW_H
#define STORE_FRONTEND_SHADOW_H

#include "core/base/err.h"
#include "store/dq.h"
#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shadow;

/* A column of a result; name is returned memory. */
struct shadow_column {
	char *name;
	uint32_t oid;
	bool is_expression; /* has no declared type: oid is that of text */
	bool is_deadly;     /* dqlite must not see its declared type (guard.h) */
};

struct shadow_info {
	size_t size;   /* bytes of the text that this statement took, its ';' included */
	bool is_empty; /* only white space and comments */
	bool is_readonly;
	bool is_ddl;    /* changes the schema, or could */
	bool is_alone;  /* may not share a transaction: DDL, PRAGMA, VACUUM */
	bool is_local;  /* runs on the shadow, not on dqlite */
	bool is_secret; /* touches a table whose name begins with secret_: for the control process only */
	unsigned param_count;
	struct shadow_column *columns;
	size_t column_count;
	uint64_t epoch; /* of the schema it was prepared against */
};
void shadow_info_done(struct shadow_info *info);

/* database is borrowed for the shadow's life. Empty at first: it needs a load. */
struct shadow *shadow_new(const char *database);
void shadow_free(struct shadow *sh);

uint64_t shadow_epoch(const struct shadow *sh); /* changes with every load */

/* Describe the first statement of sql[len] (SQLite's syntax). Errors carry SQLSTATE and, where SQLite tells it, the position in
 * sql. */
int shadow_prepare(struct shadow *sh, const char *sql, size_t len, struct shadow_info *ret, struct sqlerr *e) MUST_USE;

/* Run a statement that is_local; row_cb gets each row (its strings are borrowed for the call) and stops the run by an error of
 * its own. It blocks, but is bounded: 57014 after a fraction of a second. */
typedef int (*shadow_row_cb)(void *arg, const struct dq_value *values, size_t count, struct sqlerr *e);
int shadow_run(struct shadow *sh, const char *sql, size_t len, const struct dq_value *params, size_t param_count,
               shadow_row_cb row_cb, void *arg, struct sqlerr *e) MUST_USE;

/* A new schema in the making: add the rows of sqlite_master in their order, then put it in the place of the old one. What
 * cannot be made again (a module that is not here) is left out: statements about it will say that it does not exist. */
struct shadow_load;
struct shadow_load *shadow_load_new(void);
void shadow_load_add(struct shadow_load *l, const char *name, const char *sql);
void shadow_load_finish(struct shadow_load *l, struct shadow *sh); /* takes l */
void shadow_load_free(struct shadow_load *l);

#endif
