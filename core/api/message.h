/* What requests say and what they are told: JSON bodies, numbers in a query, answers. */
#ifndef API_MESSAGE_H
#define API_MESSAGE_H

#include "core/base/err.h"
#include "core/run/link.h"

#include <jansson.h>
#include <stdint.h>

/* Takes body; answers with it as JSON. NULL (something in it was no text) answers 500. */
void api_json(struct http_request *r, int status, json_t *body);

/* Both texts arrive, as far as they are UTF-8. */
void api_error(struct http_request *r, enum err_code code, const char *message, const char *hint);

/* A string of a text that came from elsewhere: what is not UTF-8 is replaced. */
json_t *api_text(const char *text);

/* The request's body as an object; NULL: it was none, and the request has been answered. json_decref. */
json_t *api_body(struct http_request *r);

/* A text member; "" when it is missing or no text. Borrowed. */
const char *api_member(const json_t *body, const char *key);

/* A number of the query; *ret stays when it is not given. False: it was none, and the request has been answered. */
bool api_query_number(struct http_request *r, const char *name, uint64_t max, uint64_t *ret);

#endif
