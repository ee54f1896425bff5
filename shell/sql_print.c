#include "shell/sql_print.h"

#include "shell/output.h"
#include "shell/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Type OIDs of PostgreSQL's protocol that have a JSON type of their own; everything else is a string, numeric too, which stays
 * exact. */
enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_FLOAT4 = 700, OID_FLOAT8 = 701, OID_NUMERIC = 1700 };

#define MARK_WIDTH 70 /* characters of a long line that are shown around an error */

static bool is_number_type(Oid type)
{
	return type == OID_INT8 || type == OID_INT2 || type == OID_INT4 || type == OID_FLOAT4 || type == OID_FLOAT8 ||
	       type == OID_NUMERIC;
}

static json_t *json_text(const char *text)
{
	struct buf b = {0};
	json_t *j;

	text_add_utf8(&b, text);
	j = json_stringn(b.data != NULL ? b.data : "", b.len);
	buf_done(&b);
	return j;
}

/* SQLite may keep any value in any column: what does not read as its column's type is a string. */
static json_t *json_value(Oid type, const char *text)
{
	long long integer;
	double real;
	char *end;

	errno = 0;
	if (type == OID_BOOL && (strcmp(text, "t") == 0 || strcmp(text, "f") == 0))
		return json_boolean(text[0] == 't');
	if (type == OID_INT8 || type == OID_INT4 || type == OID_INT2) {
		integer = strtoll(text, &end, 10);
		if (errno == 0 && end != text && *end == '\0')
			return json_integer(integer);
	}
	if (type == OID_FLOAT8 || type == OID_FLOAT4) {
		real = strtod(text, &end);
		if (end != text && *end == '\0' && isfinite(real))
			return json_real(real);
	}
	return json_text(text);
}

/* Names of columns as keys: a second "id" becomes "id_2". */
static char **unique_names(const PGresult *res)
{
	int n = PQnfields(res), c, other, count;
	char **names = mem_alloc((size_t)n * sizeof *names);
	struct buf b = {0};

	for (c = 0; c < n; c++) {
		count = 1;
		for (other = 0; other < c; other++)
			count += strcmp(PQfname(res, other), PQfname(res, c)) == 0;
		buf_clear(&b);
		text_add_utf8(&b, PQfname(res, c));
		if (count > 1)
			buf_printf(&b, "_%d", count);
		names[c] = mem_strdup(b.data != NULL ? b.data : "");
	}
	buf_done(&b);
	return names;
}

static json_t *json_columns(const PGresult *res, char *const *names)
{
	json_t *columns = json_array(), *column;
	int c;

	for (c = 0; c < PQnfields(res); c++) {
		column = json_pack("{s:s,s:I}", "name", names[c], "type", (json_int_t)PQftype(res, c));
		json_array_append_new(columns, column);
	}
	return columns;
}

static json_t *json_rows(const PGresult *res, char *const *names)
{
	json_t *rows = json_array(), *row, *value;
	int r, c;

	for (r = 0; r < PQntuples(res); r++) {
		row = json_object();
		for (c = 0; c < PQnfields(res); c++) {
			value = PQgetisnull(res, r, c) ? json_null() : json_value(PQftype(res, c), PQgetvalue(res, r, c));
			json_object_set_new(row, names[c], value);
		}
		json_array_append_new(rows, row);
	}
	return rows;
}

static void print_json(const struct out *o, const PGresult *res, bool has_rows)
{
	json_t *reply = json_pack("{s:i}", "version", 1);
	char **names;
	int c;

	if (has_rows) {
		names = unique_names(res);
		json_object_set_new(reply, "columns", json_columns(res, names));
		json_object_set_new(reply, "rows", json_rows(res, names));
		for (c = 0; c < PQnfields(res); c++)
			free(names[c]);
		free(names);
	}
	json_object_set_new(reply, "command", json_text(PQcmdStatus((PGresult *)res)));
	out_json(o, reply);
	json_decref(reply);
}

static const char *cell(const PGresult *res, int row, int column)
{
	return PQgetisnull(res, row, column) ? NULL : PQgetvalue(res, row, column);
}

static void print_rows(const struct out *o, const PGresult *res)
{
	int rows = PQntuples(res), r, c;
	struct table t;

	table_init(&t);
	for (c = 0; c < PQnfields(res); c++)
		table_column(&t, PQfname(res, c), is_number_type(PQftype(res, c)), 0);
	for (r = 0; r < rows; r++)
		for (c = 0; c < PQnfields(res); c++)
			table_cell(&t, cell(res, r, c));
	if (o->format == OUT_CSV) {
		table_print_csv(&t, o, true);
	} else {
		table_print(&t, o, TABLE_RULED, 0);
		fprintf(o->stream, "(%d row%s)\n", rows, rows == 1 ? "" : "s");
	}
	table_done(&t);
}

static void print_expanded(const struct out *o, const PGresult *res)
{
	struct table t;
	int r, c;

	for (r = 0; r < PQntuples(res); r++) {
		fprintf(o->stream, "-[ row %d ]-\n", r + 1);
		table_init(&t);
		table_column(&t, "", false, 0);
		table_column(&t, "", false, 0);
		for (c = 0; c < PQnfields(res); c++) {
			table_cell(&t, PQfname(res, c));
			table_cell(&t, cell(res, r, c));
		}
		table_print_rows(&t, o, TABLE_RULED, 0);
		table_done(&t);
	}
	if (PQntuples(res) == 0)
		fputs("(0 rows)\n", o->stream);
}

void sql_print_result(const struct out *o, const PGresult *res, bool is_expanded)
{
	bool has_rows = PQresultStatus(res) == PGRES_TUPLES_OK;

	if (o->format == OUT_JSON)
		print_json(o, res, has_rows);
	else if (!has_rows)
		fprintf(stderr, "%s\n", PQcmdStatus((PGresult *)res));
	else if (is_expanded && o->format == OUT_TABLE)
		print_expanded(o, res);
	else
		print_rows(o, res);
}

/* Byte offset of the character number `position` (from 1). */
static size_t offset_of(const char *s, unsigned position)
{
	const char *p = s;

	while (*p != '\0' && position > 1) {
		p++;
		while (((unsigned char)*p & 0xc0) == 0x80)
			p++;
		position--;
	}
	return (size_t)(p - s);
}

static char *part_of(const char *from, const char *to)
{
	struct buf part = {0}, safe = {0};
	char *p;

	buf_add(&part, from, (size_t)(to - from));
	for (p = part.data; *p != '\0'; p++)
		if (*p == '\t')
			*p = ' ';
	buf_puts(&safe, "");
	text_add_safe(&safe, part.data);
	buf_done(&part);
	return safe.data;
}

void sql_print_position(struct buf *b, const char *statement, unsigned position)
{
	const char *at, *line, *end, *p;
	char *before, *after;
	size_t start, number = 1;

	if (position == 0)
		return;
	at = statement + offset_of(statement, position);
	for (line = at; line > statement && line[-1] != '\n'; line--)
		;
	for (p = statement; p < line; p++)
		number += *p == '\n';
	end = at + strcspn(at, "\r\n");
	/* Of a long line the part around the error: whole characters on both sides. */
	if (at - line > MARK_WIDTH)
		for (line = at - MARK_WIDTH; line < at && ((unsigned char)*line & 0xc0) == 0x80; line++)
			;
	if (end - at > MARK_WIDTH)
		for (end = at + MARK_WIDTH; end > at && ((unsigned char)*end & 0xc0) == 0x80; end--)
			;
	before = part_of(line, at);
	after = part_of(at, end);
	start = b->len;
	buf_printf(b, "LINE %zu: ", number);
	start = b->len - start;
	buf_printf(b, "%s%s\n%*s^\n", before, after, (int)(start + text_width(before)), "");
	free(before);
	free(after);
}
