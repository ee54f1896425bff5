/* The command line: ONE option table for all commands, which is also the help text. */
#ifndef SHELL_OPTIONS_H
#define SHELL_OPTIONS_H

#include "core/base/err.h"
#include "shell/output.h"

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_MAX_WORDS 8

/* Bits of options.given and of a command's set of options. */
enum option_bit {
	OPT_NODE = 1 << 0,
	OPT_FORMAT = 1 << 1,
	OPT_YES = 1 << 2,
	OPT_WATCH = 1 << 3,
	OPT_TO = 1 << 4,
	OPT_FORCE = 1 << 5,
	OPT_FOLLOW = 1 << 6,
	OPT_AFTER = 1 << 7,
	OPT_LIMIT = 1 << 8,
	OPT_COMMAND = 1 << 9,
	OPT_FILE = 1 << 10,
	OPT_DATABASE = 1 << 11,
	OPT_USER = 1 << 12,
	OPT_SQL_HOST = 1 << 13,
	OPT_SQL_PORT = 1 << 14,
	OPT_HELP = 1 << 15,
	OPT_VERSION = 1 << 16,
	OPT_TLS_DIR = 1 << 17,
	OPT_ROLE = 1 << 20,
	OPT_TTL = 1 << 21,
	OPT_OUT = 1 << 22,
	OPT_DAYS = 1 << 23,
	OPT_RESTORE = 1 << 24
};

/* Taken by every command. */
#define OPT_GLOBAL                                                                                                             \
	(OPT_NODE | OPT_FORMAT | OPT_YES | OPT_DATABASE | OPT_USER | OPT_SQL_HOST | OPT_SQL_PORT | OPT_HELP | OPT_VERSION |    \
	 OPT_TLS_DIR)

/* All strings are borrowed from argv or the environment. */
struct options {
	unsigned given;      /* enum option_bit */
	const char *nodes;   /* comma-separated URLs */
	const char *tls_dir; /* ca.pem, admin.pem, admin.key */
	enum out_format format;
	bool yes, force, follow;
	unsigned watch_seconds; /* 0: run once */
	const char *to;
	const char *role, *ttl, *out_dir;
	unsigned days; /* 0: not said */
	const char *restore;
	uint64_t after;
	unsigned limit;
	const char *command, *file;
	const char *database, *user, *sql_host, *sql_port;
	const char *words[OPTIONS_MAX_WORDS + 1]; /* noun, verb, arguments; NULL after the last */
	unsigned word_count;
};

/* Defaults, with what the environment says. */
void options_init(struct options *o);

/* Read argv[1..] over what o holds already (words and `given` are set anew). "-f" after the noun sql is --file, else --format.
 * ERR_INVAL names the option; a mistyped one comes with the nearest that exists. */
int options_parse(struct options *o, int argc, char *const *argv, struct err *e) MUST_USE;

/* Name of the lowest option in bits, as typed ("--to"). Borrowed, static. */
const char *options_name(unsigned bits);

/* Append help lines for the options in bits. */
void options_help(struct buf *b, unsigned bits);

/* Long option names for completion and suggestions: with "--", ended by NULL. Borrowed, static. */
const char *const *options_names(void);

#endif
