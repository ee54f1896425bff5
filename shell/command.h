/* The table of commands: what can be typed, what it takes, what it does. The help text is this table. */
#ifndef SHELL_COMMAND_H
#define SHELL_COMMAND_H

#include "core/base/err.h"
#include "shell/options.h"

struct shell;

struct command {
	const char *noun;
	const char *verb; /* NULL: the noun stands alone */
	const char *args; /* as shown in help: "GROUP" */
	const char *help; /* one line, in the words of operators */
	unsigned arg_min, arg_max;
	unsigned options; /* enum option_bit, besides OPT_GLOBAL */
	/* args: the words after noun and verb, ended by NULL. Errors go to the caller, who prints them and picks the exit code.
	 */
	int (*run)(struct shell *sh, const struct options *o, const char *const *args, struct err *e);
};

/* Row i, or NULL after the last. */
const struct command *command_at(size_t i);

/* The command that o's words name, with its number of arguments and options checked; *ret_args are its arguments (borrowed from
 * o). ERR_INVAL says what is wrong, suggests the nearest noun or verb, or lists the verbs. */
int command_find(const struct options *o, const struct command **ret, const char *const **ret_args, struct err *e) MUST_USE;

bool command_is_noun(const char *word);

/* Help into b: everything (noun NULL), one noun, or one command. ERR_INVAL when there is none of the name. */
int command_help(struct buf *b, const char *noun, const char *verb, struct err *e) MUST_USE;

#endif
