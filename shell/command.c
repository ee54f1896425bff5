#include "shell/command.h"

#include "shell/shell.h"
#include "shell/text.h"

#include <string.h>

#define MAX_CANDIDATES 32

static const struct command commands[] = {
        {"cluster", "init", "", "make a cluster of this node; once, before anything else", 0, 0, OPT_RESTORE, cluster_init},
        {"cluster", "status", "", "who leads, who is primary, who holds the addresses, and why", 0, 0, OPT_WATCH,
         cluster_status},
        {"cluster", "events", "", "what was decided, and why", 0, 0, OPT_FOLLOW | OPT_AFTER | OPT_LIMIT, cluster_events},
        {"cluster", "policy", "", "what the whole cluster goes by", 0, 0, 0, cluster_policy},
        {"cluster", "set", "POLICY VALUE", "change a policy of the whole cluster", 2, 2, 0, cluster_set},
        {"node", "list", "", "the hosts and when they were last heard of", 0, 0, OPT_WATCH, node_list},
        {"node", "add", "NODE", "invite a host: print the token that `mhad join` takes there", 1, 1, OPT_ROLE | OPT_TTL,
         node_add},
        {"node", "remove", "NODE", "let a node leave the cluster for good, whether it is online or not", 1, 1, 0, node_remove},
        {"node", "keep", "NODE", "take a removal back that is not through yet", 1, 1, 0, node_keep},
        {"node", "move", "NODE ADDRESS", "tell the cluster that a node, stopped now, has another address", 2, 2, 0, node_move},
        {"group", "list", "", "the managed databases and what is being done to them", 0, 0, OPT_WATCH, group_list},
        {"group", "switchover", "GROUP", "hand the primary over to another node; nothing is lost", 1, 1, OPT_TO,
         group_switchover},
        {"group", "failover", "GROUP", "replace the primary without its help", 1, 1, OPT_TO | OPT_FORCE, group_failover},
        {"group", "pause", "GROUP", "decide nothing about this group until it is resumed", 1, 1, 0, group_pause},
        {"group", "resume", "GROUP", "let the controller decide about this group again", 1, 1, 0, group_resume},
        {"store", "status", "", "schema, last backup, room on each node", 0, 0, OPT_WATCH, store_status},
        {"store", "backup", "", "write a checked backup on the leader's node", 0, 0, OPT_TO, store_backup},
        {"store", "verify", "FILE", "check a backup on this host; needs no cluster", 1, 1, 0, store_verify},
        {"vip", "list", "", "the virtual addresses and who holds them", 0, 0, OPT_WATCH, vip_list},
        {"cert", "show", "", "the certificates that were issued", 0, 0, OPT_WATCH, cert_show},
        {"cert", "rotate", "[NODE]", "have a node, or all, renew their certificates now; nothing is interrupted", 0, 1, 0,
         cert_rotate},
        {"cert", "issue", "NAME", "make a certificate for an administrator", 1, 1, OPT_OUT | OPT_DAYS, cert_issue},
        {"cert", "revoke", "SERIAL", "refuse whoever shows this certificate, from now on", 1, 1, 0, cert_revoke},
        {"sql", NULL, "", "run SQL: a prompt, or --command, --file, or standard input", 0, 0, OPT_COMMAND | OPT_FILE,
         sql_command},
        {"version", NULL, "", "print the version", 0, 0, 0, shell_version},
        {"help", NULL, "[NOUN [VERB]]", "explain a command", 0, 2, 0, shell_help},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

const struct command *command_at(size_t i)
{
	return i < COMMAND_COUNT ? &commands[i] : NULL;
}

bool command_is_noun(const char *word)
{
	size_t i;

	for (i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].noun, word) == 0)
			return true;
	return false;
}

/* The nouns, or the verbs of one noun; cands has room for MAX_CANDIDATES. */
static void list_candidates(const char *noun, const char **cands)
{
	size_t i, n = 0;

	for (i = 0; i < COMMAND_COUNT && n + 1 < MAX_CANDIDATES; i++) {
		if (noun == NULL && (n == 0 || strcmp(cands[n - 1], commands[i].noun) != 0))
			cands[n++] = commands[i].noun;
		else if (noun != NULL && strcmp(commands[i].noun, noun) == 0 && commands[i].verb != NULL)
			cands[n++] = commands[i].verb;
	}
	cands[n] = NULL;
}

static void join(struct buf *b, const char *const *words)
{
	size_t i;

	for (i = 0; words[i] != NULL; i++)
		buf_printf(b, "%s%s", i > 0 ? ", " : "", words[i]);
}

/* Say that there is no such noun (noun NULL) or verb of noun, and what there is. */
static int refuse_word(const char *noun, const char *word, struct err *e)
{
	const char *cands[MAX_CANDIDATES], *near;
	struct buf b = {0};
	int rc;

	list_candidates(noun, cands);
	join(&b, cands);
	near = word != NULL ? text_nearest(word, cands) : NULL;
	if (word == NULL)
		rc = err_set(e, ERR_INVAL, "%s needs a verb: %s", noun, b.data);
	else if (near != NULL)
		rc = err_set(e, ERR_INVAL, "there is no command \"%s%s%s\": did you mean \"%s%s%s\"?", noun ? noun : "",
		             noun ? " " : "", word, noun ? noun : "", noun ? " " : "", near);
	else if (noun != NULL)
		rc = err_set(e, ERR_INVAL, "%s has no verb \"%s\": it has %s", noun, word, b.data);
	else
		rc = err_set(e, ERR_INVAL, "there is no command \"%s\": there are %s", word, b.data);
	buf_done(&b);
	return rc;
}

static int find_named(const char *noun, const char *verb, const struct command **ret, struct err *e)
{
	size_t i;

	if (!command_is_noun(noun))
		return refuse_word(NULL, noun, e);
	for (i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].noun, noun) != 0)
			continue;
		if (commands[i].verb == NULL || (verb != NULL && strcmp(commands[i].verb, verb) == 0)) {
			*ret = &commands[i];
			return ERR_OK;
		}
	}
	return refuse_word(noun, verb, e);
}

static int check_use(const struct command *c, const struct options *o, unsigned arg_count, struct err *e)
{
	unsigned foreign = o->given & ~(c->options | OPT_GLOBAL);
	const char *verb = c->verb != NULL ? c->verb : "", *blank = c->verb != NULL ? " " : "";

	if (arg_count < c->arg_min)
		return err_set(e, ERR_INVAL, "%s %s needs %s", c->noun, verb, c->args);
	if (arg_count > c->arg_max)
		return err_set(e, ERR_INVAL, "%s%s%s: what is \"%s\"?", c->noun, blank, verb, o->words[o->word_count - 1]);
	if (foreign != 0)
		return err_set(e, ERR_INVAL, "%s%s%s does not take %s", c->noun, blank, verb, options_name(foreign));
	return ERR_OK;
}

int command_find(const struct options *o, const struct command **ret, const char *const **ret_args, struct err *e)
{
	const struct command *c;
	unsigned skip;
	int rc;

	rc = find_named(o->words[0], o->words[1], &c, e);
	if (rc != ERR_OK)
		return rc;
	skip = c->verb != NULL ? 2 : 1;
	rc = check_use(c, o, o->word_count - skip, e);
	if (rc != ERR_OK)
		return rc;
	*ret = c;
	*ret_args = o->words + skip;
	return ERR_OK;
}

static void add_line(struct buf *b, const struct command *c)
{
	char left[64];

	snprintf(left, sizeof left, "%s%s%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "", c->args[0] ? " " : "",
	         c->args);
	buf_printf(b, "  %-24s %s\n", left, c->help);
}

static void help_all(struct buf *b)
{
	size_t i;

	buf_puts(b,
	         "usage: mha-shell [options] NOUN VERB ...     one command\n"
	         "       mha-shell [options]                   a prompt: commands as here, SQL ends with ';'\n\ncommands:\n");
	for (i = 0; i < COMMAND_COUNT; i++)
		add_line(b, &commands[i]);
	buf_puts(b, "\noptions of every command:\n");
	options_help(b, OPT_GLOBAL);
	buf_puts(b, "\nexit status: 0 ok, 1 error, 2 usage, 3 unreachable, 4 no quorum, 5 refused, 6 still running\n"
	            "`mha-shell help NOUN VERB` lists what a command takes besides.\n");
}

int command_help(struct buf *b, const char *noun, const char *verb, struct err *e)
{
	const struct command *c;
	unsigned options = 0;
	size_t i;
	int rc;

	if (noun == NULL) {
		help_all(b);
		return ERR_OK;
	}
	if (!command_is_noun(noun))
		return refuse_word(NULL, noun, e);
	if (verb != NULL) {
		rc = find_named(noun, verb, &c, e);
		if (rc != ERR_OK)
			return rc;
	}
	for (i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].noun, noun) != 0 ||
		    (verb != NULL && commands[i].verb != NULL && strcmp(commands[i].verb, verb) != 0))
			continue;
		add_line(b, &commands[i]);
		options |= commands[i].options;
	}
	if (options != 0) {
		buf_puts(b, "options:\n");
		options_help(b, options);
	}
	return ERR_OK;
}
