#include "shell/confirm.h"

#include "shell/shell.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int confirm(struct shell *sh, const struct options *o, const char *effect, const char *typed, struct err *e)
{
	char answer[128];
	bool yes;

	if (o->yes)
		return ERR_OK;
	fflush(sh->out.stream);
	fputs(effect, stderr);
	if (!isatty(STDIN_FILENO)) {
		shell_hint(sh, "read the effect above; pass -y (--yes) to do it without being asked");
		return err_set(e, ERR_INVAL, "not done: this needs a yes, and there is no terminal to ask on");
	}
	if (typed != NULL)
		fprintf(stderr, "type \"%s\" to go on: ", typed);
	else
		fprintf(stderr, "go on? [y/N] ");
	if (fgets(answer, sizeof answer, stdin) == NULL) {
		answer[0] = '\0'; /* the end of input or Ctrl-C is no yes */
		clearerr(stdin);
		fputc('\n', stderr);
	}
	answer[strcspn(answer, "\r\n")] = '\0';
	yes = typed != NULL ? strcmp(answer, typed) == 0 : strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
	return yes ? ERR_OK : err_set(e, ERR_REFUSED, "not done: the answer was no");
}
