/* The lexer of the front end: SQLite's tokens plus what PostgreSQL clients add ($1, ::type, E'...'), and the rewriting of the
 * latter. Rewriting never changes the length of the text, so that an error's offset is an offset into what the client sent. */
#ifndef STORE_FRONTEND_TOKEN_H
#define STORE_FRONTEND_TOKEN_H

#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_MAX_PARAMS 255 /* what one dqlite request carries */

enum token_kind {
	TOKEN_END,
	TOKEN_SPACE,   /* white space and comments */
	TOKEN_WORD,    /* keyword, name, true */
	TOKEN_QUOTED,  /* "name", `name`, [name] */
	TOKEN_STRING,  /* 'text' */
	TOKEN_ESTRING, /* E'text' with backslash escapes */
	TOKEN_NUMBER,
	TOKEN_PARAM,  /* $1 */
	TOKEN_SYMBOL, /* one character, or :: */
	TOKEN_BAD     /* an unterminated string or name */
};

struct token {
	enum token_kind kind;
	const char *at;
	size_t len;
};

/* The token at `at`; TOKEN_END at `end`. */
struct token token_next(const char *at, const char *end);

/* The same, skipping white space and comments. */
struct token token_next_solid(const char *at, const char *end);

/* A word, compared without case. */
bool token_is_word(const struct token *t, const char *word);
bool token_is_symbol(const struct token *t, char c);

/* Copies the value of a word, quoted name, string or number, unquoted, into dst[cap]. False when it does not fit. */
bool token_value(const struct token *t, char *dst, size_t cap);

/* The end of the statement that starts at `at`: its ';' at the top level, or `end`. Knows nothing of CREATE TRIGGER. */
const char *token_statement_end(const char *at, const char *end);

/* What the casts of a text say about its parameters: oids[i] is the type of $<i+1>, 0 where none is told. */
struct token_params {
	unsigned count; /* the highest $n */
	uint32_t oids[TOKEN_MAX_PARAMS];
};

/* Rewrite sql[len] in place for SQLite: $n -> ?n; '\x..'::bytea -> X'..'; casts that change nothing and the prefix pg_catalog.
 * become blanks; E'' strings become plain ones. Errors: 0A000 for a cast that would change the value, 54000 for too many
 * parameters, 42601. */
int token_rewrite(char *sql, size_t len, struct token_params *ret_params, struct sqlerr *e) MUST_USE;

/* 1-based position in characters (UTF-8) of a byte offset, as PostgreSQL counts it. */
int token_position(const char *sql, size_t offset);

#endif
