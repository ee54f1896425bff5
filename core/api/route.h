/* A request's path, taken apart. */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>

/* /NOUN (health), /v1/NOUN, /v1/NOUN/VERB or /v1/NOUN/NAME/VERB; what a path has not is "". */
struct api_route {
	bool is_v1;
	char noun[16], name[33], verb[16];
};

/* The whole path: nouns and verbs are 1 to 15 of a-z, a name is one for str_is_name. False: no route looks like this, and
 * *ret is empty. */
bool api_route_parse(const char *path, struct api_route *ret);

/* Is it /v1/NOUN (verb "") or /v1/NOUN/VERB, without a name? */
bool api_route_is(const struct api_route *r, const char *noun, const char *verb);

/* Is it /v1/NOUN/NAME/VERB, with some verb? */
bool api_route_names(const struct api_route *r, const char *noun);

#endif
