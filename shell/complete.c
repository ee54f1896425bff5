#include "shell/complete.h"

#include "shell/command.h"

#include <string.h>

#define MAX_WORDS 3

struct list {
	const char **words;
	size_t count, cap;
	const char *prefix;
};

/* Each word once, if it begins like the prefix. */
static void offer(struct list *l, const char *word)
{
	size_t i;

	if (word == NULL || strncmp(word, l->prefix, strlen(l->prefix)) != 0 || l->count == l->cap)
		return;
	for (i = 0; i < l->count; i++)
		if (strcmp(l->words[i], word) == 0)
			return;
	l->words[l->count++] = word;
}

static void offer_names(struct list *l, const json_t *status, const char *array)
{
	const json_t *object;
	size_t i;

	json_array_foreach(json_object_get(status, array), i, object)
	        offer(l, json_string_value(json_object_get(object, "name")));
}

static const struct command *find(const char *noun, const char *verb)
{
	const struct command *c;
	size_t i;

	for (i = 0; (c = command_at(i)) != NULL; i++)
		if (strcmp(c->noun, noun) == 0 && (c->verb == NULL || strcmp(c->verb, verb) == 0))
			return c;
	return NULL;
}

static void offer_options(struct list *l, const struct command *c)
{
	unsigned bits = c->options | OPT_FORMAT | OPT_YES, bit;

	for (bit = 1; bit <= bits; bit <<= 1)
		if ((bits & bit) != 0)
			offer(l, options_name(bit));
}

static void offer_first(struct list *l)
{
	const struct command *c;
	size_t i;

	for (i = 0; (c = command_at(i)) != NULL; i++)
		offer(l, c->noun);
	offer(l, "quit");
}

static void offer_second(struct list *l, const char *noun)
{
	const struct command *c;
	size_t i;

	for (i = 0; (c = command_at(i)) != NULL; i++)
		if (strcmp(c->noun, noun) == 0)
			offer(l, c->verb);
}

/* The first words of line before `end`, cut to names' length; returns how many there are in all. */
static size_t split(const char *line, const char *end, char words[MAX_WORDS][32], const char **ret_last)
{
	size_t n = 0, len;

	for (line += strspn(line, " \t"); line < end; line += len, line += strspn(line, " \t")) {
		len = strcspn(line, " \t");
		if (n < MAX_WORDS)
			snprintf(words[n], sizeof words[n], "%.*s", (int)len, line);
		*ret_last = line;
		n++;
	}
	return n;
}

size_t complete_line(const char *line, const json_t *status, const char **ret, size_t cap, const char **ret_word)
{
	const char *word = line + strlen(line), *last = "";
	char words[MAX_WORDS][32] = {"", "", ""};
	struct list l = {.words = ret, .cap = cap};
	const struct command *c;
	size_t n;

	while (word > line && word[-1] != ' ' && word[-1] != '\t')
		word--;
	*ret_word = word;
	l.prefix = word;
	n = split(line, word, words, &last);
	if (n == 0) {
		offer_first(&l);
		return l.count;
	}
	c = find(words[0], words[1]);
	if (c != NULL && word[0] == '-')
		offer_options(&l, c);
	else if (strncmp(last, "--to", 4) == 0)
		offer_names(&l, status, "nodes");
	else if (n == 1)
		offer_second(&l, words[0]);
	else if (n == 2 && c != NULL && strcmp(c->args, "GROUP") == 0)
		offer_names(&l, status, "groups");
	return l.count;
}
