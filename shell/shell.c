#include "shell/shell.h"

#include "core/base/clock.h"
#include "shell/command.h"
#include "shell/interrupt.h"
#include "shell/sql_session.h"
#include "shell/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM      "mha-shell"
#define CLEAR_SCREEN "\033[H\033[J"

int shell_init(struct shell *sh, const struct options *o, struct err *e)
{
	memset(sh, 0, sizeof *sh);
	out_init(&sh->out, o->format);
	return http_new(o->nodes, o->tls_dir, &sh->http, e);
}

void shell_done(struct shell *sh)
{
	sql_close(sh->sql);
	http_free(sh->http);
	buf_done(&sh->detail);
	buf_done(&sh->hint);
	memset(sh, 0, sizeof *sh);
}

enum shell_exit shell_exit_of(enum err_code code)
{
	switch (code) {
	case ERR_OK:
		return SHELL_OK;
	case ERR_INVAL:
		return SHELL_USAGE;
	case ERR_UNREACHABLE:
		return SHELL_UNREACHABLE;
	case ERR_NOQUORUM:
		return SHELL_NO_QUORUM;
	case ERR_REFUSED:
	case ERR_EXISTS:
		return SHELL_REFUSED;
	case ERR_TIMEOUT:
	case ERR_AMBIGUOUS:
		return SHELL_STILL_RUNNING;
	default:
		return SHELL_ERROR;
	}
}

void shell_say(const char *fmt, ...)
{
	struct buf b = {0}, safe = {0};
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	text_add_safe(&safe, text);
	buf_printf(&b, PROGRAM ": %s\n", safe.data != NULL ? safe.data : "");
	fputs(b.data, stderr);
	buf_done(&safe);
	buf_done(&b);
}

void shell_hint(struct shell *sh, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_clear(&sh->hint);
	text_add_safe(&sh->hint, text);
}

enum shell_exit shell_report(struct shell *sh, const struct err *e)
{
	fflush(sh->out.stream); /* data first, so that both in one terminal read in order */
	shell_say("%s", e->text);
	if (sh->detail.len > 0)
		fputs(sh->detail.data, stderr);
	if (sh->hint.len > 0)
		fprintf(stderr, "hint: %s\n", sh->hint.data);
	buf_clear(&sh->detail);
	buf_clear(&sh->hint);
	return shell_exit_of(e->code);
}

static enum shell_exit run_once(struct shell *sh, const struct options *o, const struct command *c, const char *const *args)
{
	struct err e = ERR_INIT;
	int rc;

	rc = c->run(sh, o, args, &e);
	return rc != ERR_OK ? shell_report(sh, &e) : SHELL_OK;
}

/* One picture of --watch. It is drawn in memory first and replaces the last one at once: no flicker. */
static enum shell_exit draw(struct shell *sh, const struct options *o, const struct command *c, const char *const *args)
{
	struct err e = ERR_INIT;
	char now[40], iso[32];
	char *text = NULL;
	size_t len = 0;
	int rc;

	if (!sh->out.is_terminal)
		return run_once(sh, o, c, args);
	sh->out.stream = open_memstream(&text, &len);
	if (sh->out.stream == NULL)
		abort();
	rc = c->run(sh, o, args, &e);
	fclose(sh->out.stream);
	sh->out.stream = stdout;
	text_local_time(clock_format_wall(clock_wall_ms(), iso), now);
	printf(CLEAR_SCREEN "every %u s: %s %s    %.19s    Ctrl-C ends\n\n%s", o->watch_seconds, c->noun, c->verb, now, text);
	free(text);
	return rc != ERR_OK ? shell_report(sh, &e) : SHELL_OK;
}

static enum shell_exit watch(struct shell *sh, const struct options *o, const struct command *c, const char *const *args)
{
	enum shell_exit rc;

	/* Until interrupted: a node that does not answer for a while is what one watches for. Only wrong usage ends it. */
	do {
		rc = draw(sh, o, c, args);
		if (fflush(stdout) != 0)
			return SHELL_ERROR;
		if (rc != SHELL_USAGE && !interrupt_is_set())
			sleep(o->watch_seconds);
	} while (rc != SHELL_USAGE && !interrupt_is_set());
	return rc;
}

enum shell_exit shell_run(struct shell *sh, const struct options *o)
{
	const struct command *c;
	const char *const *args;
	struct err e = ERR_INIT;
	int rc;

	if ((o->given & OPT_HELP) != 0) {
		const char *const words[] = {o->words[0], o->words[0] != NULL ? o->words[1] : NULL, NULL};

		rc = shell_help(sh, o, words, &e);
		return rc != ERR_OK ? shell_report(sh, &e) : SHELL_OK;
	}
	rc = command_find(o, &c, &args, &e);
	if (rc != ERR_OK) {
		shell_hint(sh, "`%shelp` lists the commands", sh->is_prompt ? "" : PROGRAM " ");
		return shell_report(sh, &e);
	}
	sh->out.format = o->format;
	return o->watch_seconds > 0 ? watch(sh, o, c, args) : run_once(sh, o, c, args);
}

int shell_help(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	struct buf b = {0};
	int rc;

	(void)o;
	rc = command_help(&b, args[0], args[0] != NULL ? args[1] : NULL, e);
	if (rc == ERR_OK)
		fputs(b.data, sh->out.stream);
	buf_done(&b);
	return rc;
}

int shell_version(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *j;

	(void)args;
	(void)e;
	if (o->format == OUT_JSON) {
		j = json_pack("{s:i,s:s,s:s}", "version", 1, "program", PROGRAM, "release", MHA_VERSION);
		out_json(&sh->out, j);
		json_decref(j);
		return ERR_OK;
	}
	fprintf(sh->out.stream, PROGRAM " %s\n", MHA_VERSION);
	return ERR_OK;
}
