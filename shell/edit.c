#include "shell/edit.h"

#include "core/base/str.h"
#include "shell/complete.h"

#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HISTORY_NAME    ".mha_history"
#define HISTORY_ENTRIES 1000
#define MAX_OFFERS      64

struct edit {
	EditLine *el; /* NULL: no terminal */
	History *history;
	char *history_path;
	const char *prompt;
	const json_t *status;
	bool is_cancelled;
	char *line; /* getline's */
	size_t line_cap;
	struct buf text;
};

static struct edit *edit_of(EditLine *el)
{
	void *data = NULL;

	el_get(el, EL_CLIENTDATA, &data);
	return data;
}

static char *get_prompt(EditLine *el)
{
	return (char *)edit_of(el)->prompt;
}

/* Bound to Ctrl-C, which is an ordinary key while a line is edited: it throws the line away and keeps the program. */
static unsigned char take_cancel(EditLine *el, int key)
{
	(void)key;
	edit_of(el)->is_cancelled = true;
	return CC_NEWLINE;
}

static size_t common_prefix(const char *const *words, size_t count)
{
	size_t len = strlen(words[0]), i, n;

	for (i = 1; i < count; i++) {
		for (n = 0; n < len && words[i][n] == words[0][n]; n++)
			;
		len = n;
	}
	return len;
}

/* Bound to TAB: insert what is certain, list the rest when that is nothing. */
static unsigned char take_tab(EditLine *el, int key)
{
	const LineInfo *info = el_line(el);
	const char *offers[MAX_OFFERS], *word;
	char before[512], insert[64];
	size_t count, len, typed, i;

	(void)key;
	if ((size_t)(info->cursor - info->buffer) >= sizeof before)
		return CC_ERROR;
	snprintf(before, sizeof before, "%.*s", (int)(info->cursor - info->buffer), info->buffer);
	count = complete_line(before, edit_of(el)->status, offers, MAX_OFFERS, &word);
	if (count == 0)
		return CC_ERROR;
	typed = strlen(word);
	len = common_prefix(offers, count);
	if (len > typed || count == 1) {
		snprintf(insert, sizeof insert, "%.*s%s", (int)(len - typed), offers[0] + typed, count == 1 ? " " : "");
		return el_insertstr(el, insert) == 0 ? CC_REFRESH : CC_ERROR;
	}
	putchar('\n');
	for (i = 0; i < count; i++)
		printf("%s%s", offers[i], i + 1 < count ? "  " : "\n");
	fflush(stdout);
	return CC_REDISPLAY;
}

static void open_history(struct edit *ed)
{
	const char *home = getenv("HOME");
	struct buf path = {0};
	HistEvent ev;

	ed->history = history_init();
	if (ed->history == NULL)
		return;
	history(ed->history, &ev, H_SETSIZE, HISTORY_ENTRIES);
	history(ed->history, &ev, H_SETUNIQUE, 1);
	el_set(ed->el, EL_HIST, history, ed->history);
	if (home == NULL || home[0] != '/')
		return;
	buf_printf(&path, "%s/" HISTORY_NAME, home);
	ed->history_path = path.data;
	history(ed->history, &ev, H_LOAD, ed->history_path);
}

static void open_terminal(struct edit *ed)
{
	ed->el = el_init("mha-shell", stdin, stdout, stderr);
	if (ed->el == NULL)
		return;
	el_set(ed->el, EL_CLIENTDATA, ed);
	el_set(ed->el, EL_PROMPT, get_prompt);
	el_set(ed->el, EL_EDITOR, "emacs");
	open_history(ed);
	el_set(ed->el, EL_ADDFN, "mha-tab", "complete a word", take_tab);
	el_set(ed->el, EL_ADDFN, "mha-cancel", "throw the line away", take_cancel);
	el_set(ed->el, EL_BIND, "^I", "mha-tab", NULL);
	el_set(ed->el, EL_BIND, "^C", "mha-cancel", NULL);
	el_set(ed->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_set(ed->el, EL_SETTY, "-d", "-isig", NULL);
	el_source(ed->el, NULL); /* the user's ~/.editrc comes last: it may change any of this */
}

struct edit *edit_new(void)
{
	struct edit *ed = mem_alloc(sizeof *ed);

	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		open_terminal(ed);
	return ed;
}

void edit_free(struct edit *ed)
{
	mode_t old_mask;
	HistEvent ev;

	if (ed == NULL)
		return;
	if (ed->history != NULL && ed->history_path != NULL) {
		old_mask = umask(077); /* statements may contain secrets */
		history(ed->history, &ev, H_SAVE, ed->history_path);
		umask(old_mask);
	}
	if (ed->el != NULL)
		el_end(ed->el);
	if (ed->history != NULL)
		history_end(ed->history);
	free(ed->history_path);
	free(ed->line);
	buf_done(&ed->text);
	free(ed);
}

static enum edit_result read_plain(struct edit *ed, const char **ret_line)
{
	ssize_t n = getline(&ed->line, &ed->line_cap, stdin);

	if (n < 0)
		return EDIT_END;
	ed->line[strcspn(ed->line, "\r\n")] = '\0';
	*ret_line = ed->line;
	return EDIT_LINE;
}

enum edit_result edit_read(struct edit *ed, const char *prompt, const json_t *status, const char **ret_line)
{
	const char *line;
	int n = 0;

	if (ed->el == NULL)
		return read_plain(ed, ret_line);
	ed->prompt = prompt;
	ed->status = status;
	ed->is_cancelled = false;
	fflush(stdout);
	line = el_gets(ed->el, &n);
	if (ed->is_cancelled) {
		el_reset(ed->el);
		fputs("^C\n", stderr);
		return EDIT_CANCELLED;
	}
	if (line == NULL || n <= 0) {
		fputc('\n', stdout);
		return EDIT_END;
	}
	buf_clear(&ed->text);
	buf_add(&ed->text, line, strcspn(line, "\r\n"));
	*ret_line = ed->text.data;
	return EDIT_LINE;
}

void edit_remember(struct edit *ed, const char *text)
{
	struct buf one = {0};
	HistEvent ev;
	char *p;

	if (ed->history == NULL)
		return;
	buf_puts(&one, text);
	for (p = one.data; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	while (one.len > 0 && one.data[one.len - 1] == ' ')
		one.data[--one.len] = '\0';
	if (one.len > 0)
		history(ed->history, &ev, H_ENTER, one.data);
	buf_done(&one);
}
