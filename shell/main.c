/* mha-shell: administration of a cluster, and its SQL prompt. */
#include "shell/options.h"
#include "shell/prompt.h"
#include "shell/shell.h"

#include <curl/curl.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

/* Widths and safe printing need to know what a character is; without a locale we take UTF-8, which is what the cluster speaks.
 */
static void set_locale(void)
{
	setlocale(LC_ALL, "");
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
	setlocale(LC_NUMERIC, "C");
}

static enum shell_exit run(struct shell *sh, struct options *o)
{
	if ((o->given & OPT_VERSION) != 0) {
		o->words[0] = "version";
		o->words[1] = NULL;
		o->word_count = 1;
	}
	if (o->word_count > 0 || (o->given & OPT_HELP) != 0)
		return shell_run(sh, o);
	return prompt_run(sh, o);
}

int main(int argc, char **argv)
{
	struct shell sh = {.out.stream = stdout};
	struct err e = ERR_INIT;
	struct options o;
	enum shell_exit code;

	set_locale();
	curl_global_init(CURL_GLOBAL_ALL);
	options_init(&o);
	if (options_parse(&o, argc, argv, &e) != ERR_OK) {
		shell_hint(&sh, "`mha-shell help` lists commands and options");
		code = shell_report(&sh, &e);
	} else if (shell_init(&sh, &o, &e) != ERR_OK) {
		code = shell_report(&sh, &e);
	} else {
		code = run(&sh, &o);
	}
	if (fflush(stdout) != 0 && code == SHELL_OK) {
		shell_say("cannot write to standard output: %m");
		code = SHELL_ERROR;
	}
	shell_done(&sh);
	curl_global_cleanup();
	return (int)code;
}
