#include "store/frontend/statement.h"

#include "core/base/str.h"
#include "store/frontend/columns.h"
#include "store/frontend/local.h"
#include "store/frontend/set.h"
#include "store/frontend/types.h"
#include "store/guard.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *word;
	enum statement_kind kind;
	const char *tag;
} session_words[] = {
        {"BEGIN", STATEMENT_BEGIN, "BEGIN"},
        {"START", STATEMENT_BEGIN, "START TRANSACTION"},
        {"COMMIT", STATEMENT_COMMIT, "COMMIT"},
        {"END", STATEMENT_COMMIT, "COMMIT"},
        {"ROLLBACK", STATEMENT_ROLLBACK, "ROLLBACK"},
        {"ABORT", STATEMENT_ROLLBACK, "ROLLBACK"},
        {"SAVEPOINT", STATEMENT_SAVEPOINT, "SAVEPOINT"},
        {"RELEASE", STATEMENT_RELEASE, "RELEASE"},
        {"SET", STATEMENT_SET, "SET"},
        {"SHOW", STATEMENT_SHOW, "SHOW"},
        {"RESET", STATEMENT_RESET, "RESET"},
        {"DISCARD", STATEMENT_DISCARD, "DISCARD ALL"},
        {"DEALLOCATE", STATEMENT_DEALLOCATE, "DEALLOCATE"},
        {"LISTEN", STATEMENT_LISTEN, "LISTEN"},
        {"UNLISTEN", STATEMENT_UNLISTEN, "UNLISTEN"},
        {"NOTIFY", STATEMENT_NOTIFY, "NOTIFY"},
        {"CALL", STATEMENT_CALL, "CALL"},
};

static struct token next_of(const struct token *t, const char *end)
{
	return token_next_solid(t->at + t->len, end);
}

/* The first word that is not ';'. */
static struct token first_token(const char *sql, const char *end)
{
	struct token t = token_next_solid(sql, end);

	while (token_is_symbol(&t, ';'))
		t = next_of(&t, end);
	return t;
}

/* ROLLBACK [WORK|TRANSACTION] TO ... */
static bool is_rollback_to(struct token t, const char *end)
{
	t = next_of(&t, end);
	if (token_is_word(&t, "WORK") || token_is_word(&t, "TRANSACTION"))
		t = next_of(&t, end);
	return token_is_word(&t, "TO");
}

static enum statement_kind kind_of(const struct token *t, const char *end, const char **ret_tag)
{
	size_t i;

	if (t->kind == TOKEN_END)
		return STATEMENT_EMPTY;
	for (i = 0; i < sizeof(session_words) / sizeof(session_words[0]); i++) {
		if (!token_is_word(t, session_words[i].word))
			continue;
		*ret_tag = session_words[i].tag;
		if (session_words[i].kind == STATEMENT_ROLLBACK && is_rollback_to(*t, end))
			return STATEMENT_ROLLBACK_TO;
		return session_words[i].kind;
	}
	return STATEMENT_SQL;
}

enum statement_kind statement_kind_of(const char *sql, size_t len)
{
	struct token t = first_token(sql, sql + len);
	const char *tag;

	return kind_of(&t, sql + len, &tag);
}

bool statement_follows(const char *sql, size_t len)
{
	return first_token(sql, sql + len).kind != TOKEN_END;
}

bool statement_returns_rows(const struct statement *st)
{
	return st->info.column_count > 0;
}

/* --- tags --- */

static void put_upper(char *dst, size_t cap, const struct token *t)
{
	size_t at = strlen(dst), i;

	if (at > 0 && at + 1 < cap)
		dst[at++] = ' ';
	for (i = 0; i < t->len && at + 1 < cap; i++)
		dst[at++] = (char)toupper((unsigned char)t->at[i]);
	dst[at] = '\0';
}

/* WITH ... [SELECT | INSERT | ...]: the first verb outside parentheses. */
static struct token main_verb(struct token t, const char *end)
{
	static const char *const verbs[] = {"SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"};
	int depth = 0;
	size_t i;

	for (; t.kind != TOKEN_END; t = next_of(&t, end)) {
		depth += token_is_symbol(&t, '(') ? 1 : token_is_symbol(&t, ')') ? -1 : 0;
		for (i = 0; depth == 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
			if (token_is_word(&t, verbs[i]))
				return t;
	}
	return t;
}

static void fill_tag(struct statement *st, struct token t, const char *end)
{
	struct token object;

	if (token_is_word(&t, "WITH"))
		t = main_verb(t, end);
	st->tag[0] = '\0';
	if (token_is_word(&t, "INSERT") || token_is_word(&t, "REPLACE")) {
		str_copy(st->tag, sizeof(st->tag), "INSERT 0");
	} else if (token_is_word(&t, "VALUES") || token_is_word(&t, "PRAGMA")) {
		str_copy(st->tag, sizeof(st->tag), st->info.column_count > 0 ? "SELECT" : "PRAGMA");
	} else {
		put_upper(st->tag, sizeof(st->tag), &t);
		if (!token_is_word(&t, "CREATE") && !token_is_word(&t, "DROP") && !token_is_word(&t, "ALTER"))
			return;
		object = next_of(&t, end);
		while (token_is_word(&object, "UNIQUE") || token_is_word(&object, "VIRTUAL"))
			object = next_of(&object, end);
		put_upper(st->tag, sizeof(st->tag), &object);
	}
}

void statement_format_tag(const struct statement *st, uint64_t count, char *dst, size_t cap)
{
	static const char *const counted[] = {"INSERT 0", "UPDATE", "DELETE", "SELECT"};
	size_t i;

	for (i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
		if (strcmp(st->tag, counted[i]) == 0) {
			snprintf(dst, cap, "%s %" PRIu64, st->tag, count);
			return;
		}
	}
	str_copy(dst, cap, st->tag);
}

/* --- keeping declared types from dqlite --- */

static bool has_deadly_column(const struct shadow_info *info)
{
	size_t i;

	for (i = 0; i < info->column_count; i++)
		if (info->columns[i].is_deadly)
			return true;
	return false;
}

/* Offset of what follows the last RETURNING outside parentheses; 0: none. */
static size_t returning_list(const char *sql, size_t len)
{
	struct token t = token_next_solid(sql, sql + len);
	size_t found = 0;
	int depth = 0;

	for (; t.kind != TOKEN_END; t = next_of(&t, sql + len)) {
		depth += token_is_symbol(&t, '(') ? 1 : token_is_symbol(&t, ')') ? -1 : 0;
		if (depth == 0 && token_is_word(&t, "RETURNING"))
			found = (size_t)(t.at + t.len - sql);
	}
	return found;
}

static bool wrap_returning(const struct statement *st, struct buf *out)
{
	const char **names = mem_alloc(st->info.column_count * sizeof(*names));
	size_t len = strlen(st->sql), list = returning_list(st->sql, len), i;
	bool ok;

	for (i = 0; i < st->info.column_count; i++)
		names[i] = st->info.columns[i].name;
	ok = list > 0 && guard_wrap_returning(st->sql, len, list, names, st->info.column_count, out);
	free(names);
	return ok;
}

/* The wrapped text is prepared too: it must be sound, give the same columns, and have lost the deadly types. */
static int wrap(struct shadow *sh, struct statement *st, struct sqlerr *e)
{
	struct shadow_info check = {0};
	struct buf out = {0};
	bool ok = true;

	if (!has_deadly_column(&st->info) || st->info.is_local)
		return ERR_OK;
	if (st->info.is_readonly)
		guard_wrap_select(st->sql, strlen(st->sql), st->info.column_count, &out);
	else
		ok = wrap_returning(st, &out);
	ok = ok && shadow_prepare(sh, out.data, out.len, &check, e) == ERR_OK && check.column_count == st->info.column_count &&
	     !has_deadly_column(&check);
	shadow_info_done(&check);
	if (!ok) {
		buf_done(&out);
		sqlerr_set(e, "0A000",
		           "a result column is declared BOOLEAN, DATE, DATETIME or TIMESTAMP, and this statement cannot be "
		           "made safe for it");
		sqlerr_hint(e, "Write the column as an expression: +name AS name.");
		return ERR_SQL;
	}
	st->sent = out.data;
	return ERR_OK;
}

/* --- statements of the session --- */

void statement_set_columns(struct statement *st, const char *const *names, size_t count)
{
	size_t i;

	shadow_info_done(&st->info);
	st->info.columns = mem_alloc(count * sizeof(*st->info.columns));
	st->info.column_count = count;
	for (i = 0; i < count; i++) {
		st->info.columns[i].name = mem_strdup(names[i]);
		st->info.columns[i].oid = OID_TEXT;
	}
}

/* SHOW of a setting is one column of its name; SHOW ALL two; of SHOW mha.x only the answer tells. */
static void describe_show(struct statement *st)
{
	static const char *const all[] = {"name", "setting"};
	char name[64];
	const char *names[1] = {name};

	if (local_is_admin_show(st->sql, name, sizeof(name)))
		return;
	set_shown_name(st->sql, name, sizeof(name));
	if (strcasecmp(name, "all") == 0)
		statement_set_columns(st, all, 2);
	else
		statement_set_columns(st, names, 1);
}

/* --- reading --- */

static char *copy_text(const char *s, size_t len)
{
	char *copy = mem_alloc(len + 1);

	memcpy(copy, s, len);
	return copy;
}

static int read_sql(struct shadow *sh, const char *sql, size_t len, const struct token *first, struct statement *st,
                    struct sqlerr *e)
{
	size_t text_len;
	int rc = shadow_prepare(sh, first->at, (size_t)(sql + len - first->at), &st->info, e);

	if (rc != ERR_OK) {
		if (e->position > 0)
			e->position += token_position(sql, (size_t)(first->at - sql)) - 1;
		return rc;
	}
	text_len = st->info.size;
	st->size = (size_t)(first->at - sql) + text_len;
	if (text_len > 0 && first->at[text_len - 1] == ';')
		text_len--;
	st->sql = copy_text(first->at, text_len);
	fill_tag(st, *first, sql + st->size);
	columns_guess(sh, st->sql, text_len, &st->info);
	rc = wrap(sh, st, e);
	if (rc != ERR_OK)
		statement_done(st);
	return rc;
}

int statement_read(struct shadow *sh, const char *sql, size_t len, struct statement *ret, struct sqlerr *e)
{
	const char *end = sql + len, *tag = "", *stop;
	struct token first = first_token(sql, end);
	struct statement st = {0};
	int rc;

	st.kind = kind_of(&first, end, &tag);
	if (st.kind == STATEMENT_SQL) {
		rc = read_sql(sh, sql, len, &first, &st, e);
		if (rc != ERR_OK)
			return rc;
	} else {
		stop = token_statement_end(first.at, end);
		st.sql = copy_text(first.at, (size_t)(stop - first.at));
		st.size = (size_t)(stop - sql) + (stop < end ? 1 : 0);
		str_copy(st.tag, sizeof(st.tag), tag);
		if (st.kind == STATEMENT_SHOW)
			describe_show(&st);
	}
	*ret = st;
	return ERR_OK;
}

void statement_done(struct statement *st)
{
	shadow_info_done(&st->info);
	free(st->sql);
	free(st->sent);
	memset(st, 0, sizeof(*st));
}
