/* What goes to stdout: tables for people, JSON and CSV for programs. */
#ifndef SHELL_OUTPUT_H
#define SHELL_OUTPUT_H

#include "core/base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum out_format { OUT_TABLE, OUT_JSON, OUT_CSV };

struct out {
	FILE *stream; /* borrowed */
	enum out_format format;
	bool is_terminal; /* JSON is indented, long text is wrapped at `columns` */
	bool has_colour;
	size_t columns; /* of the terminal */
};

/* For stdout as it is now: colour only on a terminal, and not when NO_COLOR is set. */
void out_init(struct out *o, enum out_format format);

/* "table", "json", "csv"; ERR_INVAL names the three. */
int out_parse_format(const char *word, enum out_format *ret, struct err *e) MUST_USE;

/* One JSON value and a newline: one line, or indented on a terminal. */
void out_json(const struct out *o, const json_t *value);

enum cell_colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD };

/* The escape sequence that switches to a colour; COLOUR_NONE: back to normal. Borrowed, static. */
const char *out_sgr(enum cell_colour colour);

enum table_style {
	TABLE_PLAIN, /* upper-case titles, columns apart by two blanks */
	TABLE_RULED  /* titles as they are, a rule below, columns apart by " | ": query results */
};

struct table {
	size_t column_count;
	char **titles;
	bool *is_number;   /* per column: to the right */
	size_t *min_width; /* per column; 0: as wide as its cells */
	char **cells;      /* row by row; NULL: no value */
	enum cell_colour *colours;
	size_t cell_count, cell_cap;
};

void table_init(struct table *t);
void table_done(struct table *t);

/* Columns first, then cells row by row. A text of NULL is "no value": "-" in a table, nothing in CSV. */
void table_column(struct table *t, const char *title, bool is_number, size_t min_width);
void table_cell(struct table *t, const char *text);
void table_cell_coloured(struct table *t, const char *text, enum cell_colour colour);
void table_cell_uint(struct table *t, uint64_t n);
size_t table_rows(const struct table *t);

/* indent: blanks before each line. The last column is wrapped when the stream is a terminal too narrow for it (TABLE_PLAIN). */
void table_print(const struct table *t, const struct out *o, enum table_style style, size_t indent);
void table_print_rows(const struct table *t, const struct out *o, enum table_style style, size_t indent); /* without titles */
void table_print_csv(const struct table *t, const struct out *o, bool with_titles);

/* A line of text wrapped like a last column: prefix once, then text, hanging under itself. */
void out_wrapped(const struct out *o, const char *prefix, const char *text);

#endif
