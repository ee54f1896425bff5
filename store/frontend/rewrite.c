/* token_rewrite(): PostgreSQL's notations that clients emit by themselves, turned into SQLite's without moving a byte. */
#include "store/frontend/token.h"

#include "store/frontend/types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void blank(const char *base, char *sql, const char *from, const char *to)
{
	memset(sql + (from - base), ' ', (size_t)(to - from));
}

/* The name of the type after '::', lower case without pg_catalog.; *ret_stop is behind it. */
static bool read_type(const char *at, const char *end, char *name, size_t cap, const char **ret_stop)
{
	struct token t = token_next_solid(at, end), next;

	if (token_is_word(&t, "pg_catalog")) {
		next = token_next(t.at + t.len, end);
		if (token_is_symbol(&next, '.'))
			t = token_next(next.at + 1, end);
	}
	if ((t.kind != TOKEN_WORD && t.kind != TOKEN_QUOTED) || !token_value(&t, name, cap))
		return false;
	*ret_stop = t.at + t.len;
	for (;;) {
		next = token_next_solid(*ret_stop, end);
		if ((token_is_word(&t, "double") && token_is_word(&next, "precision")) ||
		    (token_is_word(&t, "character") && token_is_word(&next, "varying")))
			;
		else if (token_is_symbol(&next, '(')) {
			do
				next = token_next(next.at + next.len, end);
			while (next.kind != TOKEN_END && !token_is_symbol(&next, ')'));
			if (next.kind == TOKEN_END)
				return false;
		} else
			return true;
		*ret_stop = next.at + next.len;
	}
}

/* '\xABCD'::bytea -> X'ABCD' and blanks. */
static bool rewrite_bytea(char *s, size_t len)
{
	while (len > 0 && s[len - 1] == ' ') /* what an E string left */
		len--;
	if (len < 4 || s[0] != '\'' || s[1] != '\\' || s[2] != 'x' || strspn(s + 3, "0123456789abcdefABCDEF") != len - 4)
		return false;
	s[0] = 'X';
	s[1] = '\'';
	memmove(s + 2, s + 3, len - 3);
	s[len - 1] = ' ';
	return true;
}

/* E'a\'b\n' -> 'a''b<newline>', padded behind the quote: an escape is never shorter than what it stands for. */
static bool rewrite_estring(char *s, size_t len)
{
	char *out = s;
	size_t i;

	*out++ = '\'';
	for (i = 2; i + 1 < len; i++) {
		char c = s[i];

		if (c == '\\') {
			c = s[++i];
			if (strchr("01234567xuU", c) != NULL)
				return false;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
			if (c == '\'')
				*out++ = '\'';
		}
		*out++ = c;
	}
	*out++ = '\'';
	memset(out, ' ', (size_t)(s + len - out));
	return true;
}

struct rewrite {
	char *sql;              /* changed in place */
	const char *base, *end; /* the same bytes, read ahead of the changes */
	struct token last;      /* the last solid token: what a cast applies to */
	struct token_params *params;
};

static int rewrite_cast(struct rewrite *r, const struct token *colons, const char **ret_next, struct sqlerr *e)
{
	char type[64];
	const char *stop;
	uint32_t oid;
	enum token_kind on = r->last.kind;

	if (!read_type(colons->at + 2, r->end, type, sizeof(type), &stop)) {
		sqlerr_set(e, "42601", "a type is missing behind \"::\"");
		e->position = token_position(r->base, (size_t)(colons->at - r->base));
		return ERR_SQL;
	}
	oid = type_oid_of_cast(type);
	if (on == TOKEN_PARAM) {
		unsigned long n = strtoul(r->last.at + 1, NULL, 10);

		r->params->oids[n - 1] = oid;
	} else if ((on == TOKEN_STRING || on == TOKEN_ESTRING) && oid == OID_BYTEA) {
		if (!rewrite_bytea(r->sql + (r->last.at - r->base), r->last.len))
			return sqlerr_set(e, "22P02", "a bytea literal must be written '\\x' and hexadecimal digits");
	} else if (!type_cast_is_void(oid) && on != TOKEN_NUMBER) {
		sqlerr_set(e, "0A000", "the cast \"::%s\" is not supported on this expression", type);
		sqlerr_hint(e, "Write CAST(expression AS type).");
		e->position = token_position(r->base, (size_t)(colons->at - r->base));
		return ERR_SQL;
	}
	blank(r->base, r->sql, colons->at, stop);
	*ret_next = stop;
	return ERR_OK;
}

static int rewrite_param(struct rewrite *r, const struct token *t, struct sqlerr *e)
{
	unsigned long n = t->len < 8 ? strtoul(t->at + 1, NULL, 10) : 0;

	if (n < 1 || n > TOKEN_MAX_PARAMS)
		return sqlerr_set(e, "54000", "parameter %.*s is out of range: $1 to $%d can be used",
		                  (int)(t->len < 24 ? t->len : 24), t->at, TOKEN_MAX_PARAMS);
	r->sql[t->at - r->base] = '?';
	if (n > r->params->count)
		r->params->count = (unsigned)n;
	return ERR_OK;
}

/* pg_catalog.f(...) -> f(...) */
static bool rewrite_prefix(struct rewrite *r, const struct token *t, const char **ret_next)
{
	struct token dot = token_next(t->at + t->len, r->end), name = token_next(dot.at + dot.len, r->end), paren;

	paren = token_next_solid(name.at + name.len, r->end);
	if (!token_is_symbol(&dot, '.') || name.kind != TOKEN_WORD || !token_is_symbol(&paren, '('))
		return false;
	blank(r->base, r->sql, t->at, name.at);
	*ret_next = name.at;
	return true;
}

static int rewrite_token(struct rewrite *r, const struct token *t, const char **ret_next, struct sqlerr *e)
{
	if (t->kind == TOKEN_PARAM)
		return rewrite_param(r, t, e);
	if (t->kind == TOKEN_SYMBOL && t->len == 2)
		return rewrite_cast(r, t, ret_next, e);
	if (t->kind == TOKEN_ESTRING && !rewrite_estring(r->sql + (t->at - r->base), t->len)) {
		sqlerr_set(e, "0A000", "numeric escapes in E'...' strings are not supported");
		sqlerr_hint(e, "Write the character itself.");
		return ERR_SQL;
	}
	if (token_is_word(t, "pg_catalog"))
		rewrite_prefix(r, t, ret_next);
	return ERR_OK;
}

int token_rewrite(char *sql, size_t len, struct token_params *ret_params, struct sqlerr *e)
{
	/* Tokens are read from the same memory: whatever a rewrite changes lies before the place that is read next. */
	struct rewrite r = {.sql = sql, .base = sql, .end = sql + len, .params = ret_params};
	const char *at = sql;
	int rc;

	memset(ret_params, 0, sizeof(*ret_params));
	while (at < r.end) {
		struct token t = token_next(at, r.end);

		at = t.at + t.len;
		if (t.kind == TOKEN_SPACE)
			continue;
		rc = rewrite_token(&r, &t, &at, e);
		if (rc != ERR_OK)
			return rc;
		if (!(t.kind == TOKEN_SYMBOL && t.len == 2)) /* a second cast applies to the same thing */
			r.last = t;
	}
	return ERR_OK;
}
