#include "store/guard.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Which PRAGMAs may be asked, and which may be set. Everything else is refused: some change one connection of a shared pool,
 * some pull the rug from under the replication. */
static const struct {
	const char *name;
	bool takes_argument; /* "PRAGMA name(x)" asks about x */
	bool can_be_set;     /* kept in the file, so the same for everybody */
} pragmas[] = {
        {"table_info", true, false},       {"table_xinfo", true, false},       {"table_list", true, false},
        {"index_list", true, false},       {"index_info", true, false},        {"index_xinfo", true, false},
        {"foreign_key_list", true, false}, {"foreign_key_check", true, false}, {"integrity_check", true, false},
        {"quick_check", true, false},      {"user_version", false, true},      {"application_id", false, true},
        {"schema_version", false, false},  {"freelist_count", false, false},   {"page_count", false, false},
        {"page_size", false, false},       {"journal_mode", false, false},     {"encoding", false, false},
        {"collation_list", false, false},  {"compile_options", false, false},  {"function_list", false, false},
        {"module_list", false, false},     {"pragma_list", false, false},      {"database_list", false, false},
        {"foreign_keys", false, false},    {"data_version", false, false},
};

static bool refuse(struct guard_refusal *ret, const char *sqlstate, const char *text, const char *what, const char *hint)
{
	ret->sqlstate = sqlstate;
	snprintf(ret->text, sizeof(ret->text), text, what);
	snprintf(ret->hint, sizeof(ret->hint), "%s", hint);
	return false;
}

static bool allow_pragma(const char *name, const char *argument, struct guard_refusal *ret)
{
	size_t i;

	for (i = 0; i < sizeof(pragmas) / sizeof(pragmas[0]); i++) {
		if (strcasecmp(name, pragmas[i].name) != 0)
			continue;
		if (argument == NULL || pragmas[i].takes_argument || pragmas[i].can_be_set)
			return true;
		return refuse(ret, "0A000", "PRAGMA %s can be read here, but not set", name,
		              "It would change one connection of a shared pool.");
	}
	return refuse(ret, "0A000", "PRAGMA %s is not available on a replicated store", name,
	              "The PRAGMAs that describe tables, integrity_check, user_version and application_id are.");
}

bool guard_allows(int action, const char *a, const char *b, struct guard_refusal *ret)
{
	switch (action) {
	case SQLITE_ATTACH:
	case SQLITE_DETACH:
		return refuse(ret, "0A000", "%s is not available: only this database is replicated",
		              action == SQLITE_ATTACH ? "ATTACH" : "DETACH",
		              "Connect to the other database in a session of its own.");
	case SQLITE_PRAGMA:
		return allow_pragma(a, b, ret);
	case SQLITE_READ:
		/* pragma_x(): a PRAGMA as a table; its argument arrives only at run time. */
		if (a != NULL && strncasecmp(a, "pragma_", 7) == 0)
			return allow_pragma(a + 7, NULL, ret);
		return true;
	case SQLITE_CREATE_TEMP_TABLE:
	case SQLITE_CREATE_TEMP_VIEW:
	case SQLITE_CREATE_TEMP_INDEX:
	case SQLITE_CREATE_TEMP_TRIGGER:
		return refuse(ret, "0A000",
		              "temporary objects are not available (%s): sessions share the connections to the store", a,
		              "Use an ordinary table.");
	case SQLITE_FUNCTION:
		if (b != NULL && strcasecmp(b, "load_extension") == 0)
			return refuse(ret, "42501", "%s is not available", b, "");
		return true;
	case SQLITE_TRANSACTION:
	case SQLITE_SAVEPOINT:
		return refuse(ret, "42601", "%s cannot stand here", "a transaction statement", "");
	default:
		return true;
	}
}

bool guard_is_deadly_type(const char *decltype)
{
	static const char *const names[] = {"DATETIME", "DATE", "TIMESTAMP", "BOOLEAN"};
	size_t i;

	for (i = 0; decltype != NULL && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(decltype, names[i]) == 0)
			return true;
	return false;
}

void guard_wrap_select(const char *sql, size_t len, size_t column_count, struct buf *out)
{
	size_t i;

	buf_puts(out, "WITH mha_q(");
	for (i = 0; i < column_count; i++)
		buf_printf(out, "%sc%zu", i > 0 ? "," : "", i);
	buf_puts(out, ") AS (\n");
	buf_add(out, sql, len);
	buf_puts(out, "\n) SELECT ");
	/* Unary plus changes no value, not even a text; it only makes an expression of a column. */
	for (i = 0; i < column_count; i++)
		buf_printf(out, "%s+c%zu", i > 0 ? "," : "", i);
	buf_puts(out, " FROM mha_q");
}

static void put_quoted(struct buf *out, const char *name)
{
	buf_puts(out, "+\"");
	for (; *name != '\0'; name++) {
		buf_add(out, name, 1);
		if (*name == '"')
			buf_add(out, name, 1);
	}
	buf_puts(out, "\"");
}

/* The end of the item at p: its comma at the top level, or stop. Strings, names and comments were balanced by SQLite's parser
 * before. */
static const char *item_end(const char *p, const char *stop)
{
	int depth = 0;

	for (; p < stop; p++) {
		if (*p == '\'' || *p == '"' || *p == '`') {
			const char *close = memchr(p + 1, *p, (size_t)(stop - p - 1));

			p = close != NULL ? close : stop - 1;
		} else if (p[0] == '-' && p + 1 < stop && p[1] == '-') {
			const char *line = memchr(p, '\n', (size_t)(stop - p));

			p = line != NULL ? line : stop - 1;
		} else if (p[0] == '/' && p + 1 < stop && p[1] == '*') {
			const char *close = memmem(p + 2, (size_t)(stop - p - 2), "*/", 2);

			p = close != NULL ? close + 1 : stop - 1;
		} else if (*p == '(') {
			depth++;
		} else if (*p == ')') {
			depth--;
		} else if (*p == ',' && depth == 0) {
			break;
		}
	}
	return p;
}

static bool is_star(const char *p, const char *stop)
{
	while (p < stop && isspace((unsigned char)*p))
		p++;
	return p < stop && *p == '*';
}

bool guard_wrap_returning(const char *sql, size_t len, size_t list, const char *const *columns, size_t column_count,
                          struct buf *out)
{
	const char *p, *stop = sql + len, *next;
	size_t items = 0, stars = 0, at = 0, i;

	for (p = sql + list; p <= stop; p = next + 1) {
		next = item_end(p, stop);
		items++;
		stars += is_star(p, next) ? 1 : 0;
	}
	if (stars > 1 || items - stars > column_count || (stars == 0 && items != column_count))
		return false;
	buf_add(out, sql, list);
	for (p = sql + list; p <= stop; p = next + 1) {
		next = item_end(p, stop);
		buf_puts(out, p == sql + list ? " " : ", ");
		if (!is_star(p, next)) {
			buf_puts(out, "+");
			buf_add(out, p, (size_t)(next - p));
			buf_puts(out, "\n"); /* ends a comment */
			at++;
			continue;
		}
		for (i = 0; i < column_count - (items - 1); i++, at++) {
			buf_puts(out, i > 0 ? ", " : "");
			put_quoted(out, columns[at]);
		}
	}
	return true;
}
