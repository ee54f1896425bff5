#include "store/frontend/columns.h"

#include "core/base/str.h"
#include "store/frontend/token.h"
#include "store/frontend/types.h"

#include <string.h>

#define ITEMS_MAX 64 /* of a list that is looked into: each may cost a look of its own */
#define DEPTH_MAX 3

/* 0: the type of the first argument. */
static const struct {
	const char *name;
	uint32_t oid;
} functions[] = {
        {"count", OID_INT8},
        {"length", OID_INT8},
        {"instr", OID_INT8},
        {"unixepoch", OID_INT8},
        {"row_number", OID_INT8},
        {"rank", OID_INT8},
        {"dense_rank", OID_INT8},
        {"ntile", OID_INT8},
        {"random", OID_INT8},
        {"json_array_length", OID_INT8},
        {"changes", OID_INT8},
        {"total_changes", OID_INT8},
        {"last_insert_rowid", OID_INT8},
        {"unicode", OID_INT8},
        {"avg", OID_FLOAT8},
        {"total", OID_FLOAT8},
        {"julianday", OID_FLOAT8},
        {"randomblob", OID_BYTEA},
        {"zeroblob", OID_BYTEA},
        {"pg_is_in_recovery", OID_BOOL},
        {"exists", OID_BOOL},
        {"max", 0},
        {"min", 0},
        {"sum", 0},
        {"abs", 0},
        {"coalesce", 0},
        {"ifnull", 0},
        {"nullif", 0},
};

struct item {
	const char *at, *end;
};

static struct token after(const struct token *t, const char *end)
{
	return token_next_solid(t->at + t->len, end);
}

static int depth_of(const struct token *t)
{
	return token_is_symbol(t, '(') ? 1 : token_is_symbol(t, ')') ? -1 : 0;
}

/* What follows the first SELECT (or the last RETURNING) outside parentheses; TOKEN_END: there is none. */
static struct token list_start(const char *sql, const char *end)
{
	struct token t = token_next_solid(sql, end), found = {TOKEN_END, end, 0};
	bool has_select = false;
	int depth = 0;

	for (; t.kind != TOKEN_END; t = after(&t, end)) {
		depth += depth_of(&t);
		if (depth != 0 || !(token_is_word(&t, "RETURNING") || (!has_select && token_is_word(&t, "SELECT"))))
			continue;
		has_select = true;
		found = after(&t, end);
		if (token_is_word(&found, "DISTINCT") || token_is_word(&found, "ALL"))
			found = after(&found, end);
	}
	return found;
}

static bool ends_list(const struct token *t)
{
	static const char *const words[] = {"FROM",  "WHERE",  "GROUP",     "ORDER", "LIMIT",
	                                    "UNION", "EXCEPT", "INTERSECT", "WINDOW"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (token_is_word(t, words[i]))
			return true;
	return t->kind == TOKEN_END || token_is_symbol(t, ';');
}

/* The items of the list, at most ITEMS_MAX; 0 when a '*' makes them no match for the columns. */
static size_t split(struct token t, const char *end, struct item *items)
{
	size_t n = 0;
	int depth = 0;

	if (t.kind == TOKEN_END)
		return 0;
	items[0].at = t.at;
	for (;; t = after(&t, end)) {
		bool is_end = depth == 0 && (ends_list(&t) || token_is_symbol(&t, ','));

		if (t.kind == TOKEN_END || is_end) {
			items[n++].end = t.at;
			if (!token_is_symbol(&t, ',') || n == ITEMS_MAX)
				return n;
			items[n].at = t.at + 1;
			continue;
		}
		depth += depth_of(&t);
		if (depth == 0 && token_is_symbol(&t, '*') && (t.at == items[n].at || t.at[-1] == '.'))
			return 0;
	}
}

/* The ')' that closes t, a '('. */
static struct token closing(struct token t, const char *end)
{
	int depth = 0;

	for (; t.kind != TOKEN_END; t = after(&t, end)) {
		depth += depth_of(&t);
		if (depth == 0)
			break;
	}
	return t;
}

/* Behind it the item goes on only with its alias, OVER or FILTER, not with an operator. */
static bool stands_alone(const struct token *last, const char *end)
{
	struct token t = after(last, end);

	return t.kind == TOKEN_END || t.kind == TOKEN_QUOTED ||
	       (t.kind == TOKEN_WORD && !token_is_word(&t, "COLLATE") && !token_is_word(&t, "IS") && !token_is_word(&t, "IN") &&
	        !token_is_word(&t, "LIKE") && !token_is_word(&t, "AND") && !token_is_word(&t, "OR") &&
	        !token_is_word(&t, "BETWEEN"));
}

/* CAST(x AS type) */
static uint32_t cast_type(struct token open, const struct token *close)
{
	struct token t = after(&open, close->at), type = {TOKEN_END, close->at, 0};
	char name[64];
	int depth = 0;

	for (; t.kind != TOKEN_END; t = after(&t, close->at)) {
		depth += depth_of(&t);
		if (depth == 0 && token_is_word(&t, "AS"))
			type = after(&t, close->at);
	}
	return type.kind == TOKEN_WORD && token_value(&type, name, sizeof(name)) ? type_oid_of_decltype(name) : OID_TEXT;
}

struct guess {
	struct shadow *sh;
	const char *sql;
	size_t len;
	unsigned depth; /* of calls inside calls that are still looked into */
};

static void guess(const struct guess *g, size_t first, size_t stop, struct shadow_info *info);

/* The type that the first argument of a call would have as a column in the place of the item. */
static uint32_t argument_type(const struct guess *g, const struct item *item, struct token open, const struct token *close,
                              size_t index)
{
	struct token t = after(&open, close->at);
	const char *argument = t.at;
	struct guess inner = {.sh = g->sh, .depth = g->depth - 1};
	struct shadow_info info = {0};
	struct buf text = {0};
	struct sqlerr e = SQLERR_INIT;
	uint32_t oid = OID_TEXT;
	int depth = 0;

	for (; t.kind != TOKEN_END && !(depth == 0 && token_is_symbol(&t, ',')); t = after(&t, close->at))
		depth += depth_of(&t);
	buf_add(&text, g->sql, (size_t)(item->at - g->sql));
	buf_puts(&text, " ");
	buf_add(&text, argument, (size_t)(t.at - argument));
	buf_puts(&text, " ");
	buf_add(&text, item->end, (size_t)(g->sql + g->len - item->end));
	inner.sql = text.data;
	inner.len = text.len;
	if (shadow_prepare(g->sh, text.data, text.len, &info, &e) == ERR_OK) {
		guess(&inner, index, index + 1, &info);
		if (index < info.column_count)
			oid = info.columns[index].oid;
		shadow_info_done(&info);
	}
	buf_done(&text);
	return oid;
}

static uint32_t item_type(const struct guess *g, const struct item *item, size_t index)
{
	struct token t = token_next_solid(item->at, item->end), open, close;
	size_t i;

	if (t.kind == TOKEN_NUMBER && stands_alone(&t, item->end))
		return memchr(t.at, '.', t.len) == NULL && (memchr(t.at, 'e', t.len) == NULL || t.at[1] == 'x') ? OID_INT8
		                                                                                                : OID_FLOAT8;
	open = after(&t, item->end);
	if (t.kind != TOKEN_WORD || !token_is_symbol(&open, '('))
		return OID_TEXT;
	close = closing(open, item->end);
	if (close.kind == TOKEN_END || !stands_alone(&close, item->end))
		return OID_TEXT;
	if (token_is_word(&t, "CAST"))
		return cast_type(open, &close);
	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (token_is_word(&t, functions[i].name))
			return functions[i].oid != 0 ? functions[i].oid : argument_type(g, item, open, &close, index);
	return OID_TEXT;
}

/* Columns first to stop - 1. */
static void guess(const struct guess *g, size_t first, size_t stop, struct shadow_info *info)
{
	struct item items[ITEMS_MAX];
	size_t i, n, expressions = 0;

	for (i = first; i < stop && i < info->column_count; i++)
		expressions += info->columns[i].is_expression ? 1 : 0;
	if (expressions == 0 || g->depth == 0)
		return;
	n = split(list_start(g->sql, g->sql + g->len), g->sql + g->len, items);
	for (i = first; n == info->column_count && i < n && i < stop; i++)
		if (info->columns[i].is_expression)
			info->columns[i].oid = item_type(g, &items[i], i);
}

void columns_guess(struct shadow *sh, const char *sql, size_t len, struct shadow_info *info)
{
	struct guess g = {.sh = sh, .sql = sql, .len = len, .depth = DEPTH_MAX};

	guess(&g, 0, info->column_count, info);
}
