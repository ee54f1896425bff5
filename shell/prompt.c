#include "shell/prompt.h"

#include "core/base/clock.h"
#include "shell/api.h"
#include "shell/command.h"
#include "shell/edit.h"
#include "shell/interrupt.h"
#include "shell/meta.h"
#include "shell/sql_session.h"
#include "shell/sql_split.h"
#include "shell/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define STATUS_TIMEOUT_MS 1000
#define STATUS_MAX_AGE_MS 2000
#define MAX_ARGS          16

struct prompt {
	struct shell *sh;
	struct options base;
	struct edit *edit;
	json_t *status; /* last one asked for; NULL: nobody answered */
	int64_t status_at_ms;
	bool is_terminal, is_quit;
	struct buf sql; /* a statement that goes on */
	struct buf text;
};

/* Are all objects of an array in this state? */
static bool are_all(const json_t *array, const char *wanted)
{
	const json_t *object;
	const char *state;
	char text[32];
	size_t i;

	json_array_foreach(array, i, object)
	{
		state = api_text(object, "state", text);
		if (state == NULL || strcmp(state, wanted) != 0)
			return false;
	}
	return true;
}

/* Everything where it should be? */
static bool is_healthy(const json_t *status)
{
	const json_t *groups = json_object_get(status, "groups"), *group;
	size_t i;

	json_array_foreach(groups, i, group) if (!are_all(json_object_get(group, "instances"), "running")) return false;
	return are_all(json_object_get(status, "nodes"), "online") && are_all(groups, "steady");
}

void prompt_text(struct buf *b, const json_t *status, bool in_transaction)
{
	char name[32], leader[32];
	const char *cluster = api_text(status, "cluster", name), *who = api_text(status, "leader", leader);

	if (status == NULL)
		buf_puts(b, "mha[no answer]");
	else if (!api_bool(status, "quorum") || who == NULL)
		buf_printf(b, "%s[no quorum]", cluster != NULL ? cluster : "mha");
	else
		buf_printf(b, "%s[leader:%s %s]", cluster != NULL ? cluster : "mha", who,
		           is_healthy(status) ? "ok" : "degraded");
	buf_puts(b, in_transaction ? "*> " : "> ");
}

static void refresh_status(struct prompt *p)
{
	struct api_call c = {.path = "/v1/status", .timeout_ms = STATUS_TIMEOUT_MS};
	json_t *status = NULL;
	struct err e = ERR_INIT;
	int rc;

	if (p->status_at_ms != 0 && clock_now_ms() - p->status_at_ms < STATUS_MAX_AGE_MS)
		return;
	rc = api_call(p->sh, &c, &status, &e);
	if (rc == ERR_NOQUORUM)
		status = json_pack("{s:b}", "quorum", 0);
	buf_clear(&p->sh->hint); /* the prompt's own question is not the operator's */
	json_decref(p->status);
	p->status = status;
	p->status_at_ms = clock_now_ms();
}

bool prompt_is_sql(const char *line)
{
	static const char *const words[] = {"alter",   "analyze", "attach",   "begin",    "call",      "close",  "commit",
	                                    "copy",    "create",  "declare",  "delete",   "detach",    "drop",   "end",
	                                    "explain", "fetch",   "insert",   "listen",   "notify",    "pragma", "reindex",
	                                    "release", "replace", "reset",    "rollback", "savepoint", "select", "set",
	                                    "show",    "start",   "unlisten", "update",   "vacuum",    "values", "with"};
	size_t i, len = 0;

	while (isalpha((unsigned char)line[len]))
		len++;
	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i]) == len && strncasecmp(words[i], line, len) == 0)
			return true;
	return line[0] == '(' || line[0] == ';' || strncmp(line, "--", 2) == 0 || strncmp(line, "/*", 2) == 0;
}

/* Cut line into words in place: blanks part them, '...' and "..." hold them together. Returns how many, -1 for a quote that
 * does not end or too many. */
static int cut_words(char *line, char **words, int cap)
{
	char *out = line, quote;
	int n = 0;

	for (;;) {
		line += strspn(line, " \t");
		if (*line == '\0')
			return n;
		if (n == cap)
			return -1;
		words[n++] = out;
		while (*line != '\0' && *line != ' ' && *line != '\t') {
			if (*line != '"' && *line != '\'') {
				*out++ = *line++;
				continue;
			}
			for (quote = *line++; *line != '\0' && *line != quote;)
				*out++ = *line++;
			if (*line++ == '\0')
				return -1;
		}
		line += *line != '\0';
		*out++ = '\0';
	}
}

static enum shell_exit report_usage(struct shell *sh, const char *text)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_INVAL, "%s", text);
	return shell_report(sh, &e);
}

static enum shell_exit run_admin(struct prompt *p, const char *line)
{
	const unsigned of_start = OPT_NODE | OPT_DATABASE | OPT_USER | OPT_SQL_HOST | OPT_SQL_PORT;
	char *copy = mem_strdup(line), *argv[MAX_ARGS + 2] = {(char *)"mha-shell"};
	struct options o = p->base;
	struct err e = ERR_INIT;
	enum shell_exit code;
	size_t len = strlen(copy);
	int argc;

	while (len > 0 && (copy[len - 1] == ';' || isspace((unsigned char)copy[len - 1])))
		copy[--len] = '\0'; /* a ';' does no harm */
	argc = cut_words(copy, argv + 1, MAX_ARGS);
	if (argc < 0)
		code = report_usage(p->sh, "a quote does not end, or there are too many words");
	else if (options_parse(&o, argc + 1, argv, &e) != ERR_OK)
		code = shell_report(p->sh, &e);
	else if ((o.given & of_start) != 0)
		code = report_usage(p->sh, "where to connect is said when mha-shell is started, not at its prompt");
	else
		code = o.word_count > 0 || (o.given & OPT_HELP) != 0 ? shell_run(p->sh, &o) : SHELL_OK;
	p->status_at_ms = 0; /* it may have changed something */
	free(copy);
	return code;
}

static enum shell_exit run_meta(struct prompt *p, const char *line)
{
	struct err e = ERR_INIT;

	p->sh->out.format = p->base.format;
	if (meta_run(p->sh, &p->base, line, &p->is_quit, &e) != ERR_OK)
		return shell_report(p->sh, &e);
	return SHELL_OK;
}

static enum shell_exit run_statement(struct prompt *p, const char *text)
{
	struct err e = ERR_INIT;
	int rc;

	edit_remember(p->edit, text);
	p->sh->out.format = p->base.format;
	rc = sql_open(p->sh, &p->base, &e);
	if (rc == ERR_OK)
		rc = sql_run(p->sh, text, &e);
	return rc != ERR_OK ? shell_report(p->sh, &e) : SHELL_OK;
}

/* Run what is complete of p->sql and keep the rest. */
static enum shell_exit run_complete(struct prompt *p)
{
	enum shell_exit code = SHELL_OK;
	struct buf rest = {0};
	char *statement;
	size_t n;

	while (code == SHELL_OK && (n = sql_split_first(p->sql.data, p->sql.len)) > 0) {
		statement = strndup(p->sql.data, n);
		if (statement == NULL)
			abort();
		if (!sql_split_is_empty(statement, n))
			code = run_statement(p, statement);
		free(statement);
		buf_clear(&rest);
		buf_add(&rest, p->sql.data + n, p->sql.len - n);
		buf_clear(&p->sql);
		buf_add(&p->sql, rest.data, rest.len);
	}
	/* After a failure the rest of what was typed with it is dropped. */
	if (code != SHELL_OK || sql_split_is_empty(p->sql.data, p->sql.len))
		buf_clear(&p->sql);
	buf_done(&rest);
	return code;
}

static enum shell_exit run_line(struct prompt *p, const char *line)
{
	const char *start = line + strspn(line, " \t");
	char word[32];

	if (p->sql.len == 0 && start[0] == '\0')
		return SHELL_OK;
	if (p->sql.len > 0 || prompt_is_sql(start)) {
		buf_puts(&p->sql, line);
		buf_puts(&p->sql, "\n");
		return run_complete(p);
	}
	edit_remember(p->edit, start);
	snprintf(word, sizeof word, "%.*s", (int)strcspn(start, " \t;"), start);
	if (strcmp(word, "quit") == 0 || strcmp(word, "exit") == 0) {
		p->is_quit = true;
		return SHELL_OK;
	}
	return start[0] == '\\' ? run_meta(p, start) : run_admin(p, start);
}

/* The end of the input ends the last statement too when it comes from a pipe. */
static enum shell_exit run_rest(struct prompt *p)
{
	if (p->is_terminal || sql_split_is_empty(p->sql.data != NULL ? p->sql.data : "", p->sql.len))
		return SHELL_OK;
	return run_statement(p, p->sql.data);
}

static const char *next_prompt(struct prompt *p)
{
	size_t width;

	if (!p->is_terminal)
		return "";
	if (p->sql.len == 0)
		refresh_status(p);
	buf_clear(&p->text);
	prompt_text(&p->text, p->status, sql_in_transaction(p->sh->sql));
	if (p->sql.len == 0)
		return p->text.data;
	width = p->text.len;
	buf_clear(&p->text);
	buf_printf(&p->text, "%*s", (int)width, "...> ");
	return p->text.data;
}

static enum shell_exit read_and_run(struct prompt *p)
{
	enum shell_exit code = SHELL_OK;
	const char *line, *text;
	enum edit_result got;

	while (!p->is_quit && (code == SHELL_OK || p->is_terminal)) {
		interrupt_clear();
		text = next_prompt(p); /* may replace p->status */
		got = edit_read(p->edit, text, p->status, &line);
		if (got == EDIT_END)
			return run_rest(p);
		if (got == EDIT_CANCELLED)
			buf_clear(&p->sql);
		else
			code = run_line(p, line);
		fflush(stdout);
		if (interrupt_is_set())
			fputc('\n', stderr); /* the next prompt stands on a line of its own */
	}
	return p->is_terminal ? SHELL_OK : code;
}

enum shell_exit prompt_run(struct shell *sh, const struct options *base)
{
	struct prompt p = {.sh = sh, .base = *base, .edit = edit_new()};
	struct sigaction old;
	enum shell_exit code;

	p.is_terminal = isatty(STDIN_FILENO) == 1;
	p.base.watch_seconds = 0;
	sh->is_prompt = true;
	if (p.is_terminal) {
		interrupt_catch(&old);
		fprintf(stderr, "mha-shell: `help` lists the commands; SQL ends with ';'; `\\?` and `quit` as elsewhere\n");
	}
	code = read_and_run(&p);
	if (p.is_terminal)
		interrupt_release(&old);
	edit_free(p.edit);
	json_decref(p.status);
	buf_done(&p.sql);
	buf_done(&p.text);
	return code;
}
