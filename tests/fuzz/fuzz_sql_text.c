/* SQL as a client writes it: tokens, the rewriting for SQLite, and the description of each statement by the shadow. */
#include "store/frontend/set.h"
#include "store/frontend/shadow.h"
#include "store/frontend/statement.h"
#include "store/frontend/token.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define STATEMENTS_MAX 8

static struct shadow *shadow(void)
{
	static struct shadow *sh;
	struct shadow_load *l;

	if (sh != NULL)
		return sh;
	sh = shadow_new("config");
	l = shadow_load_new();
	shadow_load_add(l, "vm", "CREATE TABLE vm(id INTEGER PRIMARY KEY, name TEXT, up BOOLEAN, seen DATETIME)");
	shadow_load_add(l, "v", "CREATE VIEW v AS SELECT name FROM vm");
	shadow_load_finish(l, sh);
	return sh;
}

/* Tokens lie side by side: no byte is skipped, none is read twice. */
static void check_tiling(const char *sql, size_t len)
{
	const char *at = sql;
	char value[64];

	while (at < sql + len) {
		struct token t = token_next(at, sql + len);

		FUZZ_CHECK(t.at == at && t.len > 0 && t.at + t.len <= sql + len);
		(void)token_value(&t, value, sizeof value);
		at += t.len;
	}
	FUZZ_CHECK(token_next(at, sql + len).kind == TOKEN_END);
	FUZZ_CHECK(token_statement_end(sql, sql + len) <= sql + len);
}

/* Promise: no byte moves, and an E'' string stays one string: what was inside it does not get out. */
static void check_estrings(const char *before, const char *after, size_t len)
{
	const char *at = before;

	while (at < before + len) {
		struct token t = token_next(at, before + len), now;
		const char *there = after + (at - before);

		at += t.len;
		if (t.kind != TOKEN_ESTRING || there[0] != '\'')
			continue; /* X'..' is checked by SQLite */
		now = token_next(there, after + len);
		/* A string right behind it makes one with it only if SQLite sees two quotes side by side. */
		FUZZ_CHECK(now.kind == TOKEN_STRING && now.len <= t.len);
		for (there += now.len; there < after + (at - before); there++)
			FUZZ_CHECK(*there == ' ');
	}
}

static void describe(const char *sql, size_t len)
{
	struct statement st;
	struct sqlerr e = SQLERR_INIT;
	char tag[64], name[64];
	unsigned n;

	for (n = 0; n < STATEMENTS_MAX && statement_follows(sql, len); n++) {
		if (statement_read(shadow(), sql, len, &st, &e) != ERR_OK) {
			FUZZ_CHECK(strlen(e.sqlstate) == 5 && e.text[0] != '\0');
			return;
		}
		FUZZ_CHECK(st.size > 0 && st.size <= len);
		statement_format_tag(&st, 3, tag, sizeof tag);
		if (st.kind == STATEMENT_SHOW)
			set_shown_name(st.sql, name, sizeof name);
		(void)statement_returns_rows(&st);
		sql += st.size;
		len -= st.size;
		statement_done(&st);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *before = fuzz_text(data, size), *after;
	size_t len = strlen(before); /* a protocol string ends at its NUL */
	struct token_params params;
	struct sqlerr e = SQLERR_INIT;

	after = fuzz_text((const uint8_t *)before, len);
	check_tiling(before, len);
	if (token_rewrite(after, len, &params, &e) == ERR_OK) {
		FUZZ_CHECK(strlen(after) == len && params.count <= TOKEN_MAX_PARAMS);
		check_estrings(before, after, len);
		describe(after, len);
	} else {
		FUZZ_CHECK(strlen(e.sqlstate) == 5 && e.text[0] != '\0');
	}
	free(before);
	free(after);
	return 0;
}
