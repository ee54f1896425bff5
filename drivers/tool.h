/* Run a program to its end and keep what it says. For workers only: it blocks. */
#ifndef DRIVERS_TOOL_H
#define DRIVERS_TOOL_H

#include "core/base/err.h"
#include "core/base/str.h"

struct tool {
	const char *const *argv; /* NULL-terminated, argv[0] a path */
	const char *input;       /* its standard input; NULL: nothing */
	int limit_ms;            /* SIGKILL and ERR_TIMEOUT then */
};

/* out (may be NULL) gets standard output and standard error. A failure's error ends in the last line the tool wrote;
 * ERR_NOTFOUND when the program is missing. The tool dies with this process. */
int tool_run(const struct tool *t, struct buf *out, struct err *e) MUST_USE;

#endif
