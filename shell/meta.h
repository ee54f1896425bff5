/* The backslash commands of the SQL prompt. */
#ifndef SHELL_META_H
#define SHELL_META_H

#include "core/base/err.h"

#include <stdbool.h>

struct shell;
struct options;

/* line begins with a backslash. *ret_quit is set by \q. ERR_INVAL for an unknown one. */
int meta_run(struct shell *sh, struct options *o, const char *line, bool *ret_quit, struct err *e) MUST_USE;

#endif
