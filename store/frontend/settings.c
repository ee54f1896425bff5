#include "store/frontend/settings.h"

#include "store/frontend/messages.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum setting_flags {
	REPORTED = 1,
	FIXED = 2, /* can be set to what it is already, and to nothing else */
	UTF8_ONLY = 4
};

static const struct {
	const char *name, *value;
	unsigned flags;
} known[] = {
        {"server_version", "15.0", REPORTED | FIXED},
        {"client_encoding", "UTF8", REPORTED | UTF8_ONLY},
        {"server_encoding", "UTF8", REPORTED | FIXED},
        {"DateStyle", "ISO, MDY", REPORTED},
        {"IntervalStyle", "postgres", REPORTED},
        {"TimeZone", "UTC", REPORTED},
        {"integer_datetimes", "on", REPORTED | FIXED},
        {"standard_conforming_strings", "on", REPORTED | FIXED},
        {"is_superuser", "off", REPORTED},
        {"session_authorization", "", REPORTED},
        {"in_hot_standby", "off", REPORTED | FIXED},
        {"default_transaction_read_only", "off", REPORTED},
        {"application_name", "", REPORTED},
        {"mha_version", "0.1.0", REPORTED | FIXED},
        {"server_version_num", "150000", FIXED},
        {"extra_float_digits", "1", 0},
        {"client_min_messages", "notice", 0},
        {"statement_timeout", "0", 0},
        {"lock_timeout", "0", 0},
        {"idle_in_transaction_session_timeout", "60s", FIXED},
        {"search_path", "public", 0},
        {"transaction_isolation", "serializable", FIXED},
        {"transaction_read_only", "off", 0},
        {"default_transaction_isolation", "serializable", 0},
        {"row_security", "off", 0},
        {"bytea_output", "hex", FIXED},
        {"synchronous_commit", "on", FIXED},
        {"jit", "off", 0},
};
#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))
_Static_assert(KNOWN_COUNT <= SETTINGS_MAX, "a session has room for every setting");

static size_t find(const char *name)
{
	size_t i;

	for (i = 0; i < KNOWN_COUNT; i++)
		if (strcasecmp(known[i].name, name) == 0)
			break;
	return i;
}

static const char *value_at(const struct settings *s, size_t i)
{
	return s->values[i] != NULL ? s->values[i] : known[i].value;
}

void settings_done(struct settings *s)
{
	size_t i;

	for (i = 0; i < KNOWN_COUNT; i++)
		free(s->values[i]);
	memset(s, 0, sizeof(*s));
}

const char *settings_get(const struct settings *s, const char *name)
{
	size_t i = find(name);

	return i < KNOWN_COUNT ? value_at(s, i) : NULL;
}

const char *settings_name(const char *name)
{
	size_t i = find(name);

	return i < KNOWN_COUNT ? known[i].name : name;
}

static bool is_utf8(const char *value)
{
	return strcasecmp(value, "UTF8") == 0 || strcasecmp(value, "UTF-8") == 0 || strcasecmp(value, "UNICODE") == 0;
}

int settings_set(struct settings *s, const char *name, const char *value, bool *ret_reported, struct sqlerr *e)
{
	size_t i = find(name);

	if (i == KNOWN_COUNT) {
		sqlerr_set(e, "42704", "unrecognized configuration parameter \"%.64s\"", name);
		sqlerr_hint(e, "SHOW ALL lists what a session can set.");
		return ERR_SQL;
	}
	if (value != NULL && (known[i].flags & UTF8_ONLY) != 0) {
		if (!is_utf8(value))
			return sqlerr_set(e, "22023", "the encoding of this store is UTF8, not \"%.32s\"", value);
		value = NULL;
	}
	if (value != NULL && (known[i].flags & FIXED) != 0 && strcasecmp(value, known[i].value) != 0)
		return sqlerr_set(e, "55P02", "parameter \"%s\" cannot be changed: it is \"%s\"", known[i].name,
		                  known[i].value);
	if (value != NULL && strlen(value) >= SETTING_SIZE)
		return sqlerr_set(e, "22023", "the value of \"%s\" is too long", known[i].name);
	free(s->values[i]);
	s->values[i] = value != NULL ? mem_strdup(value) : NULL;
	*ret_reported = (known[i].flags & REPORTED) != 0;
	return ERR_OK;
}

/* Who one is stays: RESET is about what one asked for. */
static bool is_identity(size_t i)
{
	return strcmp(known[i].name, "is_superuser") == 0 || strcmp(known[i].name, "session_authorization") == 0 ||
	       strcmp(known[i].name, "application_name") == 0;
}

void settings_reset_all(struct settings *s, struct buf *out)
{
	size_t i;

	for (i = 0; i < KNOWN_COUNT; i++) {
		if (s->values[i] == NULL || is_identity(i))
			continue;
		free(s->values[i]);
		s->values[i] = NULL;
		if ((known[i].flags & REPORTED) != 0)
			msg_put_parameter_status(out, known[i].name, known[i].value);
	}
}

void settings_report(const struct settings *s, struct buf *out)
{
	size_t i;

	for (i = 0; i < KNOWN_COUNT; i++)
		if ((known[i].flags & REPORTED) != 0)
			msg_put_parameter_status(out, known[i].name, value_at(s, i));
}

bool settings_at(const struct settings *s, size_t index, const char **ret_name, const char **ret_value)
{
	if (index >= KNOWN_COUNT)
		return false;
	*ret_name = known[index].name;
	*ret_value = value_at(s, index);
	return true;
}
