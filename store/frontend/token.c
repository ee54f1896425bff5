#include "store/frontend/token.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_word_start(char c)
{
	return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_word_part(char c)
{
	return is_word_start(c) || isdigit((unsigned char)c) || c == '$';
}

static struct token make(enum token_kind kind, const char *at, const char *stop)
{
	struct token t = {kind, at, (size_t)(stop - at)};

	return t;
}

/* A quoted run from at[skip]; the quote doubled stands for itself, a backslash hides the next character when escapes count. */
static struct token quoted(enum token_kind kind, const char *at, size_t skip, const char *end, bool has_escapes)
{
	char close = at[skip] == '[' ? ']' : at[skip];
	const char *p = at + skip + 1;

	for (; p < end; p++) {
		if (has_escapes && *p == '\\' && p + 1 < end)
			p++;
		else if (*p == close && close != ']' && p + 1 < end && p[1] == close)
			p++;
		else if (*p == close)
			return make(kind, at, p + 1);
	}
	return make(TOKEN_BAD, at, end);
}

static struct token space(const char *at, const char *end)
{
	const char *p = at;

	while (p < end) {
		if (isspace((unsigned char)*p)) {
			p++;
		} else if (*p == '-' && p + 1 < end && p[1] == '-') {
			while (p < end && *p != '\n')
				p++;
		} else if (*p == '/' && p + 1 < end && p[1] == '*') {
			for (p += 2; p < end && !(p[0] == '*' && p + 1 < end && p[1] == '/'); p++)
				;
			p = p < end ? p + 2 : end;
		} else {
			break;
		}
	}
	return make(TOKEN_SPACE, at, p);
}

static struct token number(const char *at, const char *end)
{
	const char *p = at;

	while (p < end && (isalnum((unsigned char)*p) || *p == '.' || *p == '_' ||
	                   ((*p == '+' || *p == '-') && (p[-1] == 'e' || p[-1] == 'E') && at[0] != '0')))
		p++;
	return make(TOKEN_NUMBER, at, p);
}

static struct token word(const char *at, const char *end)
{
	const char *p = at;

	if ((*at == 'e' || *at == 'E') && at + 1 < end && at[1] == '\'')
		return quoted(TOKEN_ESTRING, at, 1, end, true);
	while (p < end && is_word_part(*p))
		p++;
	return make(TOKEN_WORD, at, p);
}

struct token token_next(const char *at, const char *end)
{
	const char *p;

	if (at >= end)
		return make(TOKEN_END, end, end);
	if (isspace((unsigned char)*at) || (*at == '-' && at + 1 < end && at[1] == '-') ||
	    (*at == '/' && at + 1 < end && at[1] == '*'))
		return space(at, end);
	if (is_word_start(*at))
		return word(at, end);
	if (isdigit((unsigned char)*at) || (*at == '.' && at + 1 < end && isdigit((unsigned char)at[1])))
		return number(at, end);
	if (*at == '\'')
		return quoted(TOKEN_STRING, at, 0, end, false);
	if (*at == '"' || *at == '`' || *at == '[')
		return quoted(TOKEN_QUOTED, at, 0, end, false);
	if (*at == '$' && at + 1 < end && isdigit((unsigned char)at[1])) {
		for (p = at + 1; p < end && isdigit((unsigned char)*p); p++)
			;
		return make(TOKEN_PARAM, at, p);
	}
	if (*at == ':' && at + 1 < end && at[1] == ':')
		return make(TOKEN_SYMBOL, at, at + 2);
	return make(TOKEN_SYMBOL, at, at + 1);
}

struct token token_next_solid(const char *at, const char *end)
{
	struct token t = token_next(at, end);

	while (t.kind == TOKEN_SPACE)
		t = token_next(t.at + t.len, end);
	return t;
}

bool token_is_word(const struct token *t, const char *w)
{
	return t->kind == TOKEN_WORD && t->len == strlen(w) && strncasecmp(t->at, w, t->len) == 0;
}

bool token_is_symbol(const struct token *t, char c)
{
	return t->kind == TOKEN_SYMBOL && t->len == 1 && t->at[0] == c;
}

bool token_value(const struct token *t, char *dst, size_t cap)
{
	bool is_quoted = t->kind == TOKEN_STRING || t->kind == TOKEN_QUOTED;
	const char *p = t->at + (is_quoted ? 1 : 0), *stop = t->at + t->len - (is_quoted ? 1 : 0);
	size_t n = 0;

	for (; p < stop; p++) {
		if (n + 1 >= cap)
			return false;
		if (is_quoted && *p == t->at[0] && p + 1 < stop)
			p++;
		dst[n++] = *p;
	}
	dst[n] = '\0';
	return true;
}

const char *token_statement_end(const char *at, const char *end)
{
	struct token t = token_next(at, end);

	while (t.kind != TOKEN_END && !token_is_symbol(&t, ';'))
		t = token_next(t.at + t.len, end);
	return t.at;
}

int token_position(const char *sql, size_t offset)
{
	int chars = 1;
	size_t i;

	for (i = 0; i < offset && sql[i] != '\0'; i++)
		if (((unsigned char)sql[i] & 0xc0) != 0x80)
			chars++;
	return chars;
}
