#include "store/node_identity.h"
#include "core/base/save.h"
#include "core/base/str.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define BOOTSTRAP_ID                                                                                                           \
	UINT64_C(0x2dc171858c3155be) /* like 1, dqlite makes it a cluster of its own whenever its directory is empty */
#define FILE_MODE 0600

static const char *const state_names[] = {"fresh", "initialising", "joining", "member"};

static const struct {
	const char *profile;
	unsigned latency_ms;
} latencies[] = {{"fast", 20}, {"default", 40}, {"relaxed", 100}};

int identity_latency_ms(const char *profile, unsigned *ret, struct err *e)
{
	for (size_t i = 0; i < sizeof latencies / sizeof *latencies; i++) {
		if (strcmp(profile, latencies[i].profile) == 0) {
			*ret = latencies[i].latency_ms;
			return 0;
		}
	}
	return err_set(e, ERR_INVAL, "profile \"%s\" is unknown: fast, default or relaxed", profile);
}

int identity_check_uuid(const char *uuid, struct err *e)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i = 0;

	while (i < sizeof shape - 1 && uuid[i] != '\0' &&
	       (shape[i] == '-' ? uuid[i] == '-' : strchr("0123456789abcdef", uuid[i]) != NULL))
		i++;
	if (i < sizeof shape - 1 || uuid[i] != '\0')
		return err_set(e, ERR_INVAL, "\"%s\" is not a UUID in lower case", uuid);
	return 0;
}

int identity_create(const char *name, const char *address, struct identity *ret, struct err *e)
{
	struct identity id = {.state = IDENTITY_FRESH};

	do {
		if (getrandom(&id.id, sizeof id.id, 0) != (ssize_t)sizeof id.id)
			return err_sys(e, errno, "cannot draw a random node id");
		id.id &= INT64_MAX;
	} while (id.id <= 1 || id.id == BOOTSTRAP_ID);
	if (!str_copy(id.name, sizeof id.name, name) || !str_copy(id.address, sizeof id.address, address))
		return err_set(e, ERR_INVAL, "node name \"%s\" or address \"%s\" is too long", name, address);
	*ret = id;
	return 0;
}

/* --- reading --- */

static int take_text(json_t *root, const char *key, char *dst, size_t cap, struct err *e)
{
	const char *s = json_string_value(json_object_get(root, key));

	if (s == NULL || !str_copy(dst, cap, s))
		return err_set(e, ERR_INVAL, "\"%s\" is missing or no text of less than %zu bytes", key, cap);
	return 0;
}

static int check_id(const char *text, uint64_t *ret, struct err *e)
{
	int rc = str_to_u64(text, "id", 2, INT64_MAX, ret, e);

	if (rc == 0 && *ret == BOOTSTRAP_ID)
		return err_set(e, ERR_INVAL, "id %s is one that dqlite would start a cluster with by itself", text);
	return rc;
}

static int take_state(json_t *root, struct identity *id, struct err *e)
{
	const char *s = json_string_value(json_object_get(root, "state"));

	for (size_t i = 0; s != NULL && i < sizeof state_names / sizeof *state_names; i++) {
		if (strcmp(s, state_names[i]) == 0) {
			id->state = (enum identity_state)i;
			return 0;
		}
	}
	return err_set(e, ERR_INVAL, "\"state\" is not one of fresh, initialising, joining, member");
}

static int take_all(json_t *root, struct identity *id, struct err *e)
{
	char id_text[24];
	unsigned latency_ms;
	int rc = take_text(root, "name", id->name, sizeof id->name, e);

	if (rc == 0)
		rc = take_text(root, "id", id_text, sizeof id_text, e);
	if (rc == 0)
		rc = check_id(id_text, &id->id, e);
	if (rc == 0)
		rc = take_text(root, "cluster", id->cluster, sizeof id->cluster, e);
	if (rc == 0)
		rc = take_text(root, "cluster_uuid", id->cluster_uuid, sizeof id->cluster_uuid, e);
	if (rc == 0)
		rc = take_text(root, "profile", id->profile, sizeof id->profile, e);
	if (rc == 0)
		rc = take_text(root, "address", id->address, sizeof id->address, e);
	if (rc == 0)
		rc = take_state(root, id, e);
	if (rc == 0 && id->state != IDENTITY_FRESH)
		rc = identity_check_uuid(id->cluster_uuid, e);
	if (rc == 0 && id->state != IDENTITY_FRESH)
		rc = identity_latency_ms(id->profile, &latency_ms, e);
	return rc;
}

int identity_load(const char *path, struct identity *ret, struct err *e)
{
	struct identity id = {0};
	json_error_t je;
	json_t *root;
	int rc;

	if (access(path, F_OK) != 0 && errno == ENOENT)
		return err_set(e, ERR_NOTFOUND, "%s does not exist", path);
	if (access(path, R_OK) != 0)
		return err_sys(e, errno, "cannot read %s", path);
	root = json_load_file(path, 0, &je);
	if (root == NULL)
		return err_set(e, ERR_INVAL, "%s, line %d: %s; restore it from a backup", path, je.line, je.text);
	rc = take_all(root, &id, e);
	json_decref(root);
	if (rc != 0)
		return err_wrap(e, "%s", path);
	*ret = id;
	return 0;
}

/* --- writing --- */

static char *render(const struct identity *id)
{
	char id_text[24];
	json_t *root;
	char *text;

	snprintf(id_text, sizeof id_text, "%llu", (unsigned long long)id->id);
	root = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name", id->name, "id", id_text, "cluster", id->cluster,
	                 "cluster_uuid", id->cluster_uuid, "profile", id->profile, "address", id->address, "state",
	                 state_names[id->state]);
	text = root != NULL ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	return text;
}

int identity_save(const char *path, const struct identity *id, struct err *e)
{
	char *text = render(id);
	int rc;

	if (text == NULL)
		return err_set(e, ERR_NOMEM, "out of memory while writing %s", path);
	rc = save_file(path, text, strlen(text), FILE_MODE, e);
	free(text);
	return rc;
}
