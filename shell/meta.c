#include "shell/meta.h"

#include "shell/shell.h"
#include "shell/sql_session.h"

#include <stdio.h>
#include <string.h>

struct meta {
	const char *name, *args, *help;
	int (*run)(struct shell *sh, struct options *o, const char *arg, struct err *e);
};

static int list_relations(struct shell *sh, struct options *o, const char *arg, struct err *e);
static int toggle_expanded(struct shell *sh, struct options *o, const char *arg, struct err *e);
static int toggle_timing(struct shell *sh, struct options *o, const char *arg, struct err *e);
static int list_meta(struct shell *sh, struct options *o, const char *arg, struct err *e);

static const struct meta metas[] = {
        {"d", "[TABLE]", "tables and views, or the statements that made one", list_relations},
        {"x", "", "one line per value, or one line per row again", toggle_expanded},
        {"timing", "", "show how long statements take, or no longer", toggle_timing},
        {"q", "", "leave", NULL},
        {"?", "", "these commands", list_meta},
};
#define META_COUNT (sizeof metas / sizeof metas[0])

/* SQLite's quoting: the only character that matters in a string is the quote itself. */
static void add_quoted(struct buf *b, const char *s)
{
	buf_puts(b, "'");
	for (; *s != '\0'; s++)
		buf_printf(b, *s == '\'' ? "''" : "%c", *s);
	buf_puts(b, "'");
}

static int list_relations(struct shell *sh, struct options *o, const char *arg, struct err *e)
{
	struct buf b = {0};
	int rc;

	rc = sql_open(sh, o, e);
	if (rc != ERR_OK)
		return rc;
	if (arg[0] == '\0') {
		buf_puts(&b, "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE "
		             "'sqlite~_%' ESCAPE '~' "
		             "ORDER BY type, name");
	} else {
		buf_puts(&b, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name = ");
		add_quoted(&b, arg);
		buf_puts(&b, " ORDER BY type DESC, name");
	}
	rc = arg[0] == '\0' ? sql_run(sh, b.data, e) : sql_run_bare(sh, b.data, e);
	buf_done(&b);
	return rc;
}

static int toggle_expanded(struct shell *sh, struct options *o, const char *arg, struct err *e)
{
	(void)o;
	(void)arg;
	(void)e;
	sh->sql_expanded = !sh->sql_expanded;
	shell_say(sh->sql_expanded ? "one line per value" : "one line per row");
	return ERR_OK;
}

static int toggle_timing(struct shell *sh, struct options *o, const char *arg, struct err *e)
{
	(void)o;
	(void)arg;
	(void)e;
	sh->sql_timing = !sh->sql_timing;
	shell_say(sh->sql_timing ? "timing is on" : "timing is off");
	return ERR_OK;
}

static int list_meta(struct shell *sh, struct options *o, const char *arg, struct err *e)
{
	size_t i;

	(void)o;
	(void)arg;
	(void)e;
	for (i = 0; i < META_COUNT; i++)
		fprintf(sh->out.stream, "  \\%-8s %-8s %s\n", metas[i].name, metas[i].args, metas[i].help);
	return ERR_OK;
}

int meta_run(struct shell *sh, struct options *o, const char *line, bool *ret_quit, struct err *e)
{
	size_t i, len = strcspn(line + 1, " \t\r\n;");
	char arg[256];

	str_copy(arg, sizeof arg, line + 1 + len + strspn(line + 1 + len, " \t"));
	arg[strcspn(arg, "\r\n;")] = '\0';
	for (i = 0; i < META_COUNT; i++) {
		if (strlen(metas[i].name) != len || strncmp(metas[i].name, line + 1, len) != 0)
			continue;
		*ret_quit = metas[i].run == NULL;
		return metas[i].run != NULL ? metas[i].run(sh, o, arg, e) : ERR_OK;
	}
	shell_hint(sh, "`\\?` lists them");
	return err_set(e, ERR_INVAL, "there is no command \\%.*s", (int)len, line + 1);
}
