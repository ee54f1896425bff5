#include "shell/sql_split.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum token { TOKEN_NONE, TOKEN_WORD, TOKEN_SEMICOLON, TOKEN_OTHER, TOKEN_OPEN /* a string or comment that does not end */ };

static bool is_word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* Past what begins at pos and ends with `end`; len + 1 when it does not end. Doubled quotes read as two strings, which is the
 * same to us. */
static size_t skip_past(const char *text, size_t len, size_t pos, const char *end)
{
	const char *p = memmem(text + pos, len - pos, end, strlen(end));

	return p != NULL ? (size_t)(p - text) + strlen(end) : len + 1;
}

/* Past blanks and comments; an unfinished comment gives len + 1. */
static size_t skip_blanks(const char *text, size_t len, size_t pos)
{
	while (pos < len) {
		if (isspace((unsigned char)text[pos]))
			pos++;
		else if (len - pos >= 2 && memcmp(text + pos, "--", 2) == 0)
			/* A line comment may end with the text. */
			pos = memchr(text + pos, '\n', len - pos) != NULL ? skip_past(text, len, pos, "\n") : len;
		else if (len - pos >= 2 && memcmp(text + pos, "/*", 2) == 0)
			pos = skip_past(text, len, pos + 2, "*/");
		else
			break;
	}
	return pos;
}

/* The token at *pos (after blanks and comments); *pos moves past it, *ret_start is where it began. */
static enum token next_token(const char *text, size_t len, size_t *pos, size_t *ret_start)
{
	size_t p = skip_blanks(text, len, *pos);
	enum token token = TOKEN_OTHER;

	*ret_start = p;
	if (p == len)
		token = TOKEN_NONE;
	else if (p > len)
		token = TOKEN_OPEN;
	else if (text[p] == ';')
		token = TOKEN_SEMICOLON;
	else if (is_word_char(text[p]))
		token = TOKEN_WORD;
	if (token == TOKEN_WORD)
		while (p < len && is_word_char(text[p]))
			p++;
	else if (token == TOKEN_OTHER && strchr("'\"`", text[p]) != NULL)
		p = skip_past(text, len, p + 1, (char[]){text[p], '\0'});
	else if (token == TOKEN_OTHER && text[p] == '[')
		p = skip_past(text, len, p + 1, "]");
	else if (token == TOKEN_OTHER || token == TOKEN_SEMICOLON)
		p++;
	*pos = p;
	return p > len ? TOKEN_OPEN : token;
}

static bool is_word(const char *text, size_t start, size_t end, const char *word)
{
	return end - start == strlen(word) && strncasecmp(text + start, word, end - start) == 0;
}

/* How the words at the start of a statement are recognised: CREATE [TEMP | TEMPORARY] TRIGGER, perhaps after EXPLAIN [QUERY
 * PLAN]. */
enum head { HEAD_START, HEAD_CREATE, HEAD_TRIGGER, HEAD_PLAIN };

static enum head head_next(enum head head, const char *text, size_t start, size_t end)
{
	if (head == HEAD_START &&
	    (is_word(text, start, end, "explain") || is_word(text, start, end, "query") || is_word(text, start, end, "plan")))
		return HEAD_START;
	if (head == HEAD_START && is_word(text, start, end, "create"))
		return HEAD_CREATE;
	if (head == HEAD_CREATE && (is_word(text, start, end, "temp") || is_word(text, start, end, "temporary")))
		return HEAD_CREATE;
	if (head == HEAD_CREATE && is_word(text, start, end, "trigger"))
		return HEAD_TRIGGER;
	return head == HEAD_TRIGGER ? HEAD_TRIGGER : HEAD_PLAIN;
}

size_t sql_split_first(const char *text, size_t len)
{
	bool after_semicolon = false, after_end = false; /* in a trigger: "; END ;" ends it */
	enum head head = HEAD_START;
	size_t pos = 0, start;
	enum token token;

	while ((token = next_token(text, len, &pos, &start)) != TOKEN_NONE && token != TOKEN_OPEN) {
		if (token == TOKEN_SEMICOLON && (head != HEAD_TRIGGER || after_end))
			return pos;
		after_end = token == TOKEN_WORD && after_semicolon && is_word(text, start, pos, "end");
		after_semicolon = token == TOKEN_SEMICOLON;
		if (token == TOKEN_WORD)
			head = head_next(head, text, start, pos);
		else if (head != HEAD_TRIGGER)
			head = HEAD_PLAIN;
	}
	return 0;
}

bool sql_split_is_empty(const char *text, size_t len)
{
	size_t pos = 0, start;
	enum token token;

	do
		token = next_token(text, len, &pos, &start);
	while (token == TOKEN_SEMICOLON);
	return token == TOKEN_NONE;
}
