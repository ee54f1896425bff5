#include "core/api/route.h"

#include "core/base/str.h"

#include <string.h>

#define PARTS_MAX 3

static bool is_word(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz");

	return len > 0 && text[len] == '\0';
}

/* "a/b/c" into its parts; 0: there are too many, or one does not fit. */
static unsigned split(const char *path, char parts[PARTS_MAX][33])
{
	unsigned count = 0;

	for (;;) {
		size_t len = strcspn(path, "/");

		if (count == PARTS_MAX || len >= sizeof parts[0])
			return 0;
		memcpy(parts[count], path, len);
		parts[count++][len] = '\0';
		if (path[len] == '\0')
			return count;
		path += len + 1;
	}
}

static bool take_word(char *dst, size_t size, const char *word)
{
	return is_word(word) && str_copy(dst, size, word);
}

bool api_route_parse(const char *path, struct api_route *ret)
{
	struct api_route r = {.is_v1 = strncmp(path, "/v1/", 4) == 0};
	char parts[PARTS_MAX][33];
	unsigned count;

	memset(ret, 0, sizeof *ret);
	if (path[0] != '/')
		return false;
	count = split(path + (r.is_v1 ? 4 : 1), parts);
	if (count == 0 || (!r.is_v1 && count > 1) || !take_word(r.noun, sizeof r.noun, parts[0]))
		return false;
	if (count == 3 && (!str_is_name(parts[1]) || !str_copy(r.name, sizeof r.name, parts[1])))
		return false;
	if (count > 1 && !take_word(r.verb, sizeof r.verb, parts[count - 1]))
		return false;
	*ret = r;
	return true;
}

bool api_route_is(const struct api_route *r, const char *noun, const char *verb)
{
	return r->is_v1 && r->name[0] == '\0' && strcmp(r->noun, noun) == 0 && strcmp(r->verb, verb) == 0;
}

bool api_route_names(const struct api_route *r, const char *noun)
{
	return r->is_v1 && r->name[0] != '\0' && strcmp(r->noun, noun) == 0;
}
