/* The question before something that interrupts clients or may lose data. */
#ifndef SHELL_CONFIRM_H
#define SHELL_CONFIRM_H

#include "core/base/err.h"

struct shell;
struct options;

/* Show `effect` (lines, on stderr) and ask. typed: the word that must be typed to go on; NULL: y is enough. -y skips
 * everything. ERR_INVAL without a terminal and without -y; ERR_REFUSED when the answer is not yes. */
int confirm(struct shell *sh, const struct options *o, const char *effect, const char *typed, struct err *e) MUST_USE;

#endif
