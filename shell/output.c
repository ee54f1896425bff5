#include "shell/output.h"

#include "shell/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_COLUMNS 80
#define MIN_WRAP_WIDTH  20
#define SGR_RESET       "\033[0m"
#define SGR_BOLD        "\033[1m"

const char *out_sgr(enum cell_colour colour)
{
	static const char *const sgr_of[] = {
	        [COLOUR_NONE] = SGR_RESET,
	        [COLOUR_GOOD] = "\033[32m",
	        [COLOUR_WARN] = "\033[33m",
	        [COLOUR_BAD] = "\033[31m",
	};

	return sgr_of[colour];
}

static size_t terminal_columns(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
		return ws.ws_col;
	return DEFAULT_COLUMNS;
}

void out_init(struct out *o, enum out_format format)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	o->stream = stdout;
	o->format = format;
	o->is_terminal = isatty(STDOUT_FILENO) == 1;
	o->has_colour =
	        o->is_terminal && (no_color == NULL || no_color[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
	o->columns = terminal_columns();
}

int out_parse_format(const char *word, enum out_format *ret, struct err *e)
{
	static const char *const names[] = {[OUT_TABLE] = "table", [OUT_JSON] = "json", [OUT_CSV] = "csv"};
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(word, names[i]) == 0) {
			*ret = (enum out_format)i;
			return ERR_OK;
		}
	}
	return err_set(e, ERR_INVAL, "there is no format \"%s\": use table, json or csv", word);
}

void out_json(const struct out *o, const json_t *value)
{
	/* 15 digits: 0.21 stays 0.21. Numbers beyond 2^53 are integers in our JSON and not touched by it. */
	size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);

	json_dumpf(value, o->stream, flags | (o->is_terminal ? JSON_INDENT(2) : JSON_COMPACT));
	fputc('\n', o->stream);
}

void table_init(struct table *t)
{
	memset(t, 0, sizeof *t);
}

void table_done(struct table *t)
{
	size_t i;

	for (i = 0; i < t->column_count; i++)
		free(t->titles[i]);
	for (i = 0; i < t->cell_count; i++)
		free(t->cells[i]);
	free(t->titles);
	free(t->is_number);
	free(t->min_width);
	free(t->cells);
	free(t->colours);
	memset(t, 0, sizeof *t);
}

void table_column(struct table *t, const char *title, bool is_number, size_t min_width)
{
	size_t n = t->column_count + 1;

	t->titles = mem_resize(t->titles, n * sizeof *t->titles);
	t->is_number = mem_resize(t->is_number, n * sizeof *t->is_number);
	t->min_width = mem_resize(t->min_width, n * sizeof *t->min_width);
	t->titles[n - 1] = mem_strdup(title);
	t->is_number[n - 1] = is_number;
	t->min_width[n - 1] = min_width;
	t->column_count = n;
}

void table_cell_coloured(struct table *t, const char *text, enum cell_colour colour)
{
	if (t->cell_count == t->cell_cap) {
		t->cell_cap = t->cell_cap > 0 ? t->cell_cap * 2 : 32;
		t->cells = mem_resize(t->cells, t->cell_cap * sizeof *t->cells);
		t->colours = mem_resize(t->colours, t->cell_cap * sizeof *t->colours);
	}
	t->cells[t->cell_count] = text != NULL ? mem_strdup(text) : NULL;
	t->colours[t->cell_count] = colour;
	t->cell_count++;
}

void table_cell(struct table *t, const char *text)
{
	table_cell_coloured(t, text, COLOUR_NONE);
}

void table_cell_uint(struct table *t, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, n);
	table_cell(t, text);
}

size_t table_rows(const struct table *t)
{
	return t->column_count > 0 ? t->cell_count / t->column_count : 0;
}

static void pad(FILE *f, size_t n)
{
	fprintf(f, "%*s", (int)n, "");
}

/* What a cell looks like; b is cleared first. */
static const char *cell_text(struct buf *b, const char *cell, enum table_style style)
{
	buf_clear(b);
	if (cell != NULL)
		text_add_safe(b, cell);
	else if (style == TABLE_PLAIN)
		buf_puts(b, "-");
	return b->data != NULL ? b->data : "";
}

static size_t *measure(const struct table *t, enum table_style style)
{
	size_t *widths = mem_alloc(t->column_count * sizeof *widths);
	struct buf b = {0};
	size_t i, c, w;

	for (c = 0; c < t->column_count; c++) {
		w = text_width(cell_text(&b, t->titles[c], style));
		widths[c] = w > t->min_width[c] ? w : t->min_width[c];
	}
	for (i = 0; i < t->cell_count; i++) {
		c = i % t->column_count;
		w = text_width(cell_text(&b, t->cells[i], style));
		if (w > widths[c])
			widths[c] = w;
	}
	buf_done(&b);
	return widths;
}

/* Where to break text that is longer than `columns`: after the last blank that fits, else within a word. */
static size_t break_at(const char *text, size_t columns)
{
	size_t fits = text_prefix(text, columns), n;

	if (text[fits] == '\0')
		return fits;
	for (n = fits; n > 0; n--)
		if (text[n] == ' ')
			return n;
	return fits > 0 ? fits : 1;
}

/* Print text; what does not fit into width continues on lines that begin with `hang` blanks. 0: no limit. */
static void print_wrapped(FILE *f, const char *text, size_t width, size_t hang)
{
	size_t n;

	while (width > 0 && text_width(text) > width) {
		n = break_at(text, width);
		fwrite(text, 1, n, f);
		fputc('\n', f);
		pad(f, hang);
		text += n;
		text += strspn(text, " ");
	}
	fputs(text, f);
}

/* Room for the last column when it must be wrapped, else 0. */
static size_t last_width(const struct table *t, const struct out *o, const size_t *widths, size_t start)
{
	size_t last = t->column_count - 1;

	if (!o->is_terminal || start + widths[last] <= o->columns || start + MIN_WRAP_WIDTH > o->columns)
		return 0;
	return o->columns - start;
}

struct row_layout {
	const struct out *out;
	enum table_style style;
	const size_t *widths;
	size_t indent;
	size_t start; /* column where the last cell begins */
	size_t wrap;  /* room for the last cell; 0: no limit */
};

/* One cell. is_end: nothing follows on this line. */
static void print_cell(const struct table *t, const struct row_layout *l, size_t c, const char *text, bool is_end)
{
	size_t fill = l->widths[c] - text_width(text);
	FILE *f = l->out->stream;

	if (l->style == TABLE_RULED)
		fputc(' ', f);
	if (t->is_number[c])
		pad(f, fill);
	if (c + 1 == t->column_count && !t->is_number[c] && l->style == TABLE_PLAIN)
		print_wrapped(f, text, l->wrap, l->start);
	else
		fputs(text, f);
	if (is_end)
		return;
	if (!t->is_number[c])
		pad(f, fill);
	fputs(l->style == TABLE_RULED ? " |" : "  ", f);
}

/* How many cells of a row are printed: plain tables leave out empty ones at the end, and with them blanks that nobody sees. */
static size_t used_cells(const struct table *t, const struct row_layout *l, char *const *cells)
{
	size_t n = t->column_count;

	while (l->style == TABLE_PLAIN && n > 1 && cells[n - 1] != NULL && cells[n - 1][0] == '\0')
		n--;
	return n;
}

static void print_row(const struct table *t, const struct row_layout *l, size_t first_cell)
{
	const struct out *o = l->out;
	size_t c, count = used_cells(t, l, t->cells + first_cell);
	struct buf b = {0};
	enum cell_colour colour;

	pad(o->stream, l->indent);
	for (c = 0; c < count; c++) {
		colour = o->has_colour ? t->colours[first_cell + c] : COLOUR_NONE;
		if (colour != COLOUR_NONE)
			fputs(out_sgr(colour), o->stream);
		print_cell(t, l, c, cell_text(&b, t->cells[first_cell + c], l->style), c + 1 == count);
		if (colour != COLOUR_NONE)
			fputs(SGR_RESET, o->stream);
	}
	fputc('\n', o->stream);
	buf_done(&b);
}

static void print_titles(const struct table *t, const struct row_layout *l)
{
	const struct out *o = l->out;
	size_t c, i, count = used_cells(t, l, t->titles);
	struct buf b = {0};
	char *p;

	pad(o->stream, l->indent);
	if (o->has_colour)
		fputs(SGR_BOLD, o->stream);
	for (c = 0; c < count; c++) {
		cell_text(&b, t->titles[c], l->style);
		for (p = b.data; l->style == TABLE_PLAIN && p != NULL && *p != '\0'; p++)
			*p = *p == '_' ? ' ' : (char)toupper((unsigned char)*p);
		print_cell(t, l, c, b.data != NULL ? b.data : "", c + 1 == count);
	}
	fputs(o->has_colour ? SGR_RESET "\n" : "\n", o->stream);
	buf_done(&b);
	if (l->style != TABLE_RULED)
		return;
	for (c = 0; c < t->column_count; c++) {
		for (i = 0; i < l->widths[c] + 2; i++)
			fputc('-', o->stream);
		fputs(c + 1 < t->column_count ? "+" : "\n", o->stream);
	}
}

static void print_table(const struct table *t, const struct row_layout *wanted, bool with_titles)
{
	struct row_layout l = *wanted;
	size_t *widths, c, row;

	if (t->column_count == 0)
		return;
	widths = measure(t, l.style);
	l.widths = widths;
	l.start = l.indent;
	for (c = 0; c + 1 < t->column_count; c++)
		l.start += widths[c] + 2;
	l.wrap = l.style == TABLE_PLAIN ? last_width(t, l.out, widths, l.start) : 0;
	if (with_titles)
		print_titles(t, &l);
	for (row = 0; row < table_rows(t); row++)
		print_row(t, &l, row * t->column_count);
	free(widths);
}

void table_print(const struct table *t, const struct out *o, enum table_style style, size_t indent)
{
	print_table(t, &(struct row_layout){.out = o, .style = style, .indent = indent}, true);
}

void table_print_rows(const struct table *t, const struct out *o, enum table_style style, size_t indent)
{
	print_table(t, &(struct row_layout){.out = o, .style = style, .indent = indent}, false);
}

static void print_csv_field(FILE *f, const char *s)
{
	if (s == NULL)
		return;
	/* RFC 4180. An empty string is quoted, so that it differs from no value. */
	if (s[0] != '\0' && strpbrk(s, ",\"\r\n") == NULL) {
		fputs(s, f);
		return;
	}
	fputc('"', f);
	for (; *s != '\0'; s++) {
		if (*s == '"')
			fputc('"', f);
		fputc(*s, f);
	}
	fputc('"', f);
}

void table_print_csv(const struct table *t, const struct out *o, bool with_titles)
{
	size_t i, c;

	if (t->column_count == 0)
		return;
	for (c = 0; with_titles && c < t->column_count; c++) {
		print_csv_field(o->stream, t->titles[c]);
		fputc(c + 1 < t->column_count ? ',' : '\n', o->stream);
	}
	for (i = 0; i < t->cell_count; i++) {
		print_csv_field(o->stream, t->cells[i]);
		fputc((i + 1) % t->column_count != 0 ? ',' : '\n', o->stream);
	}
}

void out_wrapped(const struct out *o, const char *prefix, const char *text)
{
	size_t start = text_width(prefix);
	struct buf b = {0};
	bool wrap = o->is_terminal && start + MIN_WRAP_WIDTH <= o->columns;

	text_add_safe(&b, text);
	fputs(prefix, o->stream);
	print_wrapped(o->stream, b.data != NULL ? b.data : "", wrap ? o->columns - start : 0, start);
	fputc('\n', o->stream);
	buf_done(&b);
}
