#include "shell/options.h"

#include "shell/text.h"

#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET        "/run/mha4rdb/api.sock"
#define DEFAULT_NODE          "http://127.0.0.1:7400"
#define DEFAULT_TLS_DIR       ".mha4rdb" /* under $HOME */
#define DEFAULT_SQL_PORT      "5433"
#define DEFAULT_EVENTS        50
#define DEFAULT_WATCH_SECONDS 2
#define MAX_NUMBER            10000
#define LONG_CODE             256 /* getopt's code of a long option: this + its row */

/* Where a plain option goes: a flag or a text of struct options. What is checked first has no place here. */
#define FLAG(member) .flag = offsetof(struct options, member)
#define TEXT(member) .text = offsetof(struct options, member)
#define CHECKED      .flag = 0, .text = 0

struct option_row {
	unsigned bit;
	int letter; /* 0: none */
	int has_arg;
	const char *name, *arg, *help;
	size_t flag, text; /* 0: not one */
};

static const struct option_row rows[] = {
        {OPT_NODE, 'n', 1, "--node", "URL,...",
         "nodes to ask, in this order: https://HOST:7400, or unix:PATH ($MHA_NODE, else this host's)", TEXT(nodes)},
        {OPT_TLS_DIR, 0, 1, "--tls-dir", "DIR", "where ca.pem, admin.pem and admin.key are ($MHA_TLS_DIR, else ~/.mha4rdb)",
         TEXT(tls_dir)},
        {OPT_FORMAT, 'f', 1, "--format", "FORMAT", "table, json or csv; after the noun sql only as --format", CHECKED},
        {OPT_YES, 'y', 0, "--yes", "", "do not ask before something that interrupts clients or may lose data", FLAG(yes)},
        {OPT_WATCH, 0, 2, "--watch", "=SECONDS", "show it again and again (every 2 seconds)", CHECKED},
        {OPT_TO, 0, 1, "--to", "NODE",
         "the node that becomes the primary (default: the best one); of a backup: its name, or an absolute path on the "
         "leader's node",
         TEXT(to)},
        {OPT_RESTORE, 0, 1, "--restore", "FILE", "load this backup (a file on the node) into the new cluster", TEXT(restore)},
        {OPT_FORCE, 0, 0, "--force", "", "even if acknowledged transactions may be lost", FLAG(force)},
        {OPT_FOLLOW, 0, 0, "--follow", "", "wait for new events and show them as they come", FLAG(follow)},
        {OPT_AFTER, 0, 1, "--after", "ID", "only events with a higher number", CHECKED},
        {OPT_LIMIT, 0, 1, "--limit", "N", "at most N events (50)", CHECKED},
        {OPT_ROLE, 0, 1, "--role", "ROLE", "data (default) or arbiter", TEXT(role)},
        {OPT_TTL, 0, 1, "--ttl", "TIME", "how long the token is good: 90s, 30m, 1h (default), 2d", TEXT(ttl)},
        {OPT_OUT, 0, 1, "--out", "DIR", "where the files go", TEXT(out_dir)},
        {OPT_DAYS, 0, 1, "--days", "N", "valid for so many days (default: the cluster's policy)", CHECKED},
        {OPT_COMMAND, 'c', 1, "--command", "SQL", "run this and end", TEXT(command)},
        {OPT_FILE, 0, 1, "--file", "FILE", "run the statements of a file (also -f FILE; - is standard input)", TEXT(file)},
        {OPT_DATABASE, 'd', 1, "--database", "NAME", "config (default) or mha, the cluster's own", TEXT(database)},
        {OPT_USER, 'U', 1, "--user", "NAME", "SQL user (default: your login name)", TEXT(user)},
        {OPT_SQL_HOST, 0, 1, "--sql-host", "HOST", "where the SQL port is (default: the hosts of --node)", TEXT(sql_host)},
        {OPT_SQL_PORT, 0, 1, "--sql-port", "PORT", "SQL port (" DEFAULT_SQL_PORT ")", TEXT(sql_port)},
        {OPT_HELP, 'h', 0, "--help", "", "explain the command", CHECKED},
        {OPT_VERSION, 0, 0, "--version", "", "print the version", CHECKED},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : otherwise;
}

void options_init(struct options *o)
{
	static char tls_dir[512];

	memset(o, 0, sizeof *o);
	o->nodes = from_environment("MHA_NODE", access(DEFAULT_SOCKET, F_OK) == 0 ? "unix:" DEFAULT_SOCKET : DEFAULT_NODE);
	snprintf(tls_dir, sizeof tls_dir, "%s/" DEFAULT_TLS_DIR, from_environment("HOME", "/root"));
	o->tls_dir = from_environment("MHA_TLS_DIR", tls_dir);
	o->database = "config";
	o->sql_port = DEFAULT_SQL_PORT;
	o->limit = DEFAULT_EVENTS;
}

const char *const *options_names(void)
{
	static const char *names[ROW_COUNT + 1];
	size_t i;

	for (i = 0; i < ROW_COUNT; i++)
		names[i] = rows[i].name;
	return names;
}

const char *options_name(unsigned bits)
{
	size_t i;

	for (i = 0; i < ROW_COUNT; i++)
		if ((rows[i].bit & bits) != 0)
			return rows[i].name;
	return "";
}

void options_help(struct buf *b, unsigned bits)
{
	const struct option_row *r;
	char left[64];
	size_t i;

	for (i = 0; i < ROW_COUNT; i++) {
		r = &rows[i];
		if ((r->bit & bits) == 0)
			continue;
		if (r->has_arg == optional_argument)
			snprintf(left, sizeof left, "%s[%s]", r->name, r->arg);
		else
			snprintf(left, sizeof left, "%s%s%s", r->name, r->has_arg == required_argument ? " " : "", r->arg);
		if (r->letter != 0)
			buf_printf(b, "  -%c, %-18s %s\n", r->letter, left, r->help);
		else
			buf_printf(b, "      %-18s %s\n", left, r->help);
	}
}

/* getopt's two descriptions, made of our one. */
static void describe(struct option *longs, char *shorts)
{
	size_t i, n = 0;

	shorts[n++] = '-'; /* give words in their order, as code 1 */
	shorts[n++] = ':'; /* tell a missing argument from an unknown option */
	for (i = 0; i < ROW_COUNT; i++) {
		longs[i] = (struct option){rows[i].name + 2, rows[i].has_arg, NULL, LONG_CODE + (int)i};
		if (rows[i].letter == 0)
			continue;
		shorts[n++] = (char)rows[i].letter;
		if (rows[i].has_arg == required_argument)
			shorts[n++] = ':';
	}
	shorts[n] = '\0';
	longs[ROW_COUNT] = (struct option){0};
}

static const struct option_row *find_row_of_bit(unsigned bit)
{
	size_t i;

	for (i = 0; i < ROW_COUNT; i++)
		if (rows[i].bit == bit)
			return &rows[i];
	return NULL;
}

/* The row of a code of getopt's; NULL for an unknown one. After the noun sql the letter f is --file, as in other SQL shells. */
static const struct option_row *find_row(const struct options *o, int code)
{
	size_t i;

	if (code >= LONG_CODE)
		return &rows[code - LONG_CODE];
	if (code == 'f' && o->word_count > 0 && strcmp(o->words[0], "sql") == 0)
		return find_row_of_bit(OPT_FILE);
	for (i = 0; i < ROW_COUNT; i++)
		if (rows[i].letter == code)
			return &rows[i];
	return NULL;
}

static int take_number(const struct option_row *r, struct options *o, const char *arg, struct err *e)
{
	uint64_t n = DEFAULT_WATCH_SECONDS, max = r->bit == OPT_AFTER ? INT64_MAX : r->bit == OPT_SQL_PORT ? 65535 : MAX_NUMBER;
	int rc;

	if (arg != NULL) {
		rc = str_to_u64(arg, r->name, r->bit == OPT_AFTER ? 0 : 1, max, &n, e);
		if (rc != ERR_OK)
			return rc;
	}
	if (r->bit == OPT_AFTER)
		o->after = n;
	else if (r->bit == OPT_LIMIT)
		o->limit = (unsigned)n;
	else if (r->bit == OPT_DAYS)
		o->days = (unsigned)n;
	else if (r->bit == OPT_WATCH)
		o->watch_seconds = (unsigned)n;
	return ERR_OK;
}

static int take_option(struct options *o, const struct option_row *r, const char *arg, struct err *e)
{
	o->given |= r->bit;
	if (r->flag != 0)
		*(bool *)((char *)o + r->flag) = true;
	if (r->text != 0)
		*(const char **)((char *)o + r->text) = arg;
	if (r->bit == OPT_FORMAT)
		return out_parse_format(arg, &o->format, e);
	if ((r->bit & (OPT_WATCH | OPT_AFTER | OPT_LIMIT | OPT_DAYS | OPT_SQL_PORT)) != 0)
		return take_number(r, o, arg, e);
	return ERR_OK;
}

static int take_word(struct options *o, const char *word, struct err *e)
{
	if (o->word_count == OPTIONS_MAX_WORDS)
		return err_set(e, ERR_INVAL, "too many words, from \"%s\" on", word);
	o->words[o->word_count++] = word;
	return ERR_OK;
}

static int refuse_unknown(const char *typed, struct err *e)
{
	char name[64];
	const char *near;

	str_copy(name, sizeof name, typed);
	name[strcspn(name, "=")] = '\0';
	near = name[0] == '-' && name[1] == '-' ? text_nearest(name, options_names()) : NULL;
	if (near != NULL)
		return err_set(e, ERR_INVAL, "there is no option %s: did you mean %s?", name, near);
	return err_set(e, ERR_INVAL, "there is no option %s", name);
}

int options_parse(struct options *o, int argc, char *const *argv, struct err *e)
{
	struct option longs[ROW_COUNT + 1];
	char shorts[2 * ROW_COUNT + 3];
	const struct option_row *r;
	int code, rc = ERR_OK;

	describe(longs, shorts);
	o->given = 0;
	o->word_count = 0;
	memset(o->words, 0, sizeof o->words);
	optind = 0; /* glibc: start over */
	opterr = 0;
	while (rc == ERR_OK && (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		r = find_row(o, code);
		if (code == 1)
			rc = take_word(o, optarg, e);
		else if (code == ':')
			rc = err_set(e, ERR_INVAL, "option %s needs a value", argv[optind - 1]);
		else if (r != NULL)
			rc = take_option(o, r, optarg, e);
		else if (optopt > 0 && optopt < LONG_CODE)
			rc = err_set(e, ERR_INVAL, "there is no option -%c", optopt);
		else
			rc = refuse_unknown(argv[optind - 1], e);
	}
	while (rc == ERR_OK && optind < argc) /* after "--" */
		rc = take_word(o, argv[optind++], e);
	return rc;
}
