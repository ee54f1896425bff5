/* A session's settings: PostgreSQL's names, answered by the session itself. */
#ifndef STORE_FRONTEND_SETTINGS_H
#define STORE_FRONTEND_SETTINGS_H

#include "core/base/str.h"
#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>

#define SETTINGS_MAX 32
#define SETTING_SIZE 128

struct settings {
	char *values[SETTINGS_MAX]; /* NULL: the default */
};

void settings_done(struct settings *s);

/* NULL when there is no setting of that name. */
const char *settings_get(const struct settings *s, const char *name);

/* value NULL: back to the default. *ret_reported: the client is to be told (ParameterStatus). Errors: 42704 unknown, 22023 a
 * value that cannot be, 55P02 one that cannot be changed. */
int settings_set(struct settings *s, const char *name, const char *value, bool *ret_reported, struct sqlerr *e) MUST_USE;
void settings_reset_all(struct settings *s, struct buf *out); /* with a ParameterStatus for each that changes */

/* The right spelling of a reported setting's name. */
const char *settings_name(const char *name);

/* ParameterStatus of everything that is reported. */
void settings_report(const struct settings *s, struct buf *out);

/* name, value, in order, until it returns false. For SHOW ALL. */
bool settings_at(const struct settings *s, size_t index, const char **ret_name, const char **ret_value);

#endif
