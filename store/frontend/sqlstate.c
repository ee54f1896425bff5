#include "store/frontend/sqlstate.h"

#include "core/base/str.h"
#include "store/dq.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int sqlerr_set(struct sqlerr *e, const char *sqlstate, const char *fmt, ...)
{
	va_list ap;

	memset(e, 0, sizeof(*e));
	str_copy(e->sqlstate, sizeof(e->sqlstate), sqlstate);
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return ERR_SQL;
}

void sqlerr_hint(struct sqlerr *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
	va_end(ap);
}

/* SQLITE_ERROR says what it is only in its text. First match wins. */
static const struct {
	const char *part;
	const char *sqlstate;
} message_states[] = {
        {"no such table", "42P01"},
        {"no such view", "42P01"},
        {"no such index", "42704"},
        {"no such trigger", "42704"},
        {"no such column", "42703"},
        {"has no column named", "42703"},
        {"no such function", "42883"},
        {"wrong number of arguments", "42883"},
        {"ambiguous column", "42702"},
        {"already exists", "42P07"},
        {"duplicate column name", "42701"},
        {"no such savepoint", "3B001"},
        {"syntax error", "42601"},
        {"incomplete input", "42601"},
        {"unrecognized token", "42601"},
        {"values for", "42601"}, /* table t has 2 columns but 3 values were supplied */
        {"values were supplied", "42601"},
        {"may not be modified", "42809"},
        {"cannot modify", "42809"},
        {"misuse of aggregate", "42803"},
        {"integer overflow", "22003"},
        {"malformed JSON", "22032"},
        {"nonempty statement tail", "42601"},
        {"interrupted", "57014"},
};

/* Extended codes before the primary code they belong to. */
static const struct {
	int code;
	const char *sqlstate;
} code_states[] = {
        {DQ_NOT_LEADER, "57P01"},
        {DQ_LEADERSHIP_LOST, "08007"},
        {DQ_DISCONNECTED, "08007"},
        {SQLITE_CONSTRAINT_UNIQUE, "23505"},
        {SQLITE_CONSTRAINT_PRIMARYKEY, "23505"},
        {SQLITE_CONSTRAINT_ROWID, "23505"},
        {SQLITE_CONSTRAINT_NOTNULL, "23502"},
        {SQLITE_CONSTRAINT_FOREIGNKEY, "23503"},
        {SQLITE_CONSTRAINT_CHECK, "23514"},
        {SQLITE_CONSTRAINT_TRIGGER, "P0001"}, /* RAISE() in a trigger */
        {SQLITE_CONSTRAINT_DATATYPE, "42804"},
        {SQLITE_CONSTRAINT, "23000"},
        {SQLITE_BUSY_SNAPSHOT, "40001"},
        {SQLITE_BUSY, "55P03"},
        {SQLITE_LOCKED, "55P03"},
        {SQLITE_READONLY, "25006"},
        {SQLITE_INTERRUPT, "57014"},
        {SQLITE_TOOBIG, "54000"},
        {SQLITE_FULL, "53100"},
        {SQLITE_NOMEM, "53200"},
        {SQLITE_CORRUPT, "XX001"},
        {SQLITE_NOTADB, "XX001"},
        {SQLITE_IOERR, "58030"},
        {SQLITE_AUTH, "42501"},
        {SQLITE_MISMATCH, "42804"},
        {SQLITE_RANGE, "22023"},
};

const char *sqlstate_of(int code, const char *message)
{
	size_t i;

	for (i = 0; i < sizeof(code_states) / sizeof(code_states[0]); i++)
		if (code_states[i].code == code)
			return code_states[i].sqlstate;
	for (i = 0; code > 0 && i < sizeof(code_states) / sizeof(code_states[0]); i++)
		if (code_states[i].code == (code & 0xff))
			return code_states[i].sqlstate;
	for (i = 0; i < sizeof(message_states) / sizeof(message_states[0]); i++)
		if (strstr(message, message_states[i].part) != NULL)
			return message_states[i].sqlstate;
	return (code & 0xff) == SQLITE_ERROR ? "42000" : "XX000";
}

/* "... constraint failed: table.column[, table.other]": the first one. */
static void fill_names(struct sqlerr *e, const char *message)
{
	const char *start = strstr(message, " constraint failed: ");
	size_t table_len, column_len;

	if (start == NULL)
		return;
	start += strlen(" constraint failed: ");
	table_len = strcspn(start, ".,");
	if (start[table_len] != '.' || table_len >= sizeof(e->table))
		return;
	memcpy(e->table, start, table_len);
	start += table_len + 1;
	column_len = strcspn(start, ",");
	if (column_len < sizeof(e->column))
		memcpy(e->column, start, column_len);
}

int sqlerr_from_code(struct sqlerr *e, int code, const char *message)
{
	sqlerr_set(e, sqlstate_of(code, message), "%s",
	           message[0] != '\0' ? message : "the store refused the statement without a reason");
	if ((code & 0xff) == SQLITE_CONSTRAINT)
		fill_names(e, message);
	return ERR_SQL;
}
