/* The noun sql: --command, --file, standard input, or the prompt. */
#include "core/base/str.h"
#include "shell/prompt.h"
#include "shell/shell.h"
#include "shell/sql_session.h"
#include "shell/sql_split.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static size_t line_of(const char *text, size_t pos)
{
	size_t line = 1, i;

	for (i = 0; i < pos; i++)
		line += text[i] == '\n';
	return line;
}

/* Run every statement of text in turn until one fails; the error names its line. */
static int run_statements(struct shell *sh, const char *name, char *text, struct err *e)
{
	size_t len = strlen(text), pos = 0, n;
	char kept;
	int rc;

	while (!sql_split_is_empty(text + pos, len - pos)) {
		pos += strspn(text + pos, " \t\r\n");
		n = sql_split_first(text + pos, len - pos);
		if (n == 0)
			n = len - pos; /* the last one needs no ';' */
		kept = text[pos + n];
		text[pos + n] = '\0';
		rc = sql_run(sh, text + pos, e);
		text[pos + n] = kept;
		if (rc != ERR_OK)
			return err_wrap(e, "%s, statement at line %zu", name, line_of(text, pos));
		pos += n;
	}
	return ERR_OK;
}

static int run_file(struct shell *sh, const struct options *o, const char *path, struct err *e)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(path, "r");
	struct buf text = {0};
	char chunk[8192];
	size_t n;
	int rc;

	if (f == NULL) {
		if (strcmp(path, "json") == 0 || strcmp(path, "csv") == 0 || strcmp(path, "table") == 0)
			shell_hint(sh, "after sql, -f is a file; for the format write `mha-shell -f %s sql` or --format %s",
			           path, path);
		return err_sys(e, errno, "cannot open %s", path);
	}
	buf_puts(&text, "");
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_add(&text, chunk, n);
	rc = ferror(f) ? err_sys(e, errno, "cannot read %s", path) : ERR_OK;
	if (!is_stdin)
		fclose(f);
	if (rc == ERR_OK && strlen(text.data) != text.len)
		rc = err_set(e, ERR_INVAL, "%s is not text: it contains a NUL byte", path);
	if (rc == ERR_OK)
		rc = sql_open(sh, o, e);
	if (rc == ERR_OK)
		rc = run_statements(sh, is_stdin ? "standard input" : path, text.data, e);
	buf_done(&text);
	return rc;
}

int sql_command(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	struct options own = *o;
	int rc;

	(void)args;
	if (o->command != NULL && o->file != NULL)
		return err_set(e, ERR_INVAL, "sql takes --command or --file, not both");
	if (o->file != NULL)
		return run_file(sh, o, o->file, e);
	if (o->command == NULL && !isatty(STDIN_FILENO))
		return sh->is_prompt ? ERR_OK : run_file(sh, o, "-", e);
	rc = sql_open(sh, o, e);
	if (rc != ERR_OK)
		return rc;
	if (o->command != NULL)
		return sql_run(sh, o->command, e);
	if (!sh->is_prompt)
		prompt_run(sh, &own);
	return ERR_OK;
}
