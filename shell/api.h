/* The API of mhad: JSON in, JSON out, its errors as ours. */
#ifndef SHELL_API_H
#define SHELL_API_H

#include "core/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct shell;

/* For what mhad answers from memory: a node that takes longer is frozen, and another one is asked. */
#define API_READ_TIMEOUT_MS 3000

struct api_call {
	const char *path;
	json_t *body; /* borrowed; NULL: GET */
	long timeout_ms;
	bool is_first_only; /* see struct http_request */
};

/* *ret is returned: json_decref. A refusal comes back as the code and sentence of the API's error, with its hint in sh->hint.
 * When an operation goes on after the API has stopped waiting (ERR_TIMEOUT), its number is printed to stdout as data. */
int api_call(struct shell *sh, const struct api_call *c, json_t **ret, struct err *e) MUST_USE;

/* GET with the usual time limit. */
int api_get(struct shell *sh, const char *path, json_t **ret, struct err *e) MUST_USE;

/* A member as text: strings as they are, numbers and booleans (yes, no) spelled out; NULL when it is missing, null or empty.
 * buf must hold 32 bytes. */
const char *api_text(const json_t *object, const char *key, char *buf);

/* An integer member, or otherwise when it is missing or null. */
int64_t api_int(const json_t *object, const char *key, int64_t otherwise);

bool api_bool(const json_t *object, const char *key);

#endif
