#include "core/base/roster.h"

#include "core/base/save.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MODE     0644
#define TEXT_MAX      65536
#define PATH_OF(c, b) snprintf(b, sizeof b, "%s/roster/nodes.json", (c)->state_dir)

/* --- reading --- */

static int take_text(const json_t *o, const char *key, char *dst, size_t cap, struct err *e)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (s == NULL || !str_copy(dst, cap, s))
		return err_set(e, ERR_INVAL, "roster: \"%s\" is missing or no text of less than %zu bytes", key, cap);
	return ERR_OK;
}

static int take_port(const json_t *o, const char *key, uint16_t *ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 1 || n > UINT16_MAX)
		return err_set(e, ERR_INVAL, "roster: \"%s\" is no port", key);
	*ret = (uint16_t)n;
	return ERR_OK;
}

static int check_node(const struct roster_node *n, struct err *e)
{
	unsigned char ip[16];

	if (!str_is_name(n->name))
		return err_set(e, ERR_INVAL, "roster: \"%s\" is no name of a node", n->name);
	if (inet_pton(AF_INET, n->address, ip) != 1 && inet_pton(AF_INET6, n->address, ip) != 1)
		return err_set(e, ERR_INVAL, "roster: node \"%s\": \"%s\" is no numeric address", n->name, n->address);
	if (strcmp(n->role, "data") != 0 && strcmp(n->role, "arbiter") != 0)
		return err_set(e, ERR_INVAL, "roster: node \"%s\": role \"%s\" is neither data nor arbiter", n->name, n->role);
	if (n->failure_domain[0] != '\0' && !str_is_name(n->failure_domain))
		return err_set(e, ERR_INVAL, "roster: node \"%s\": \"%s\" is no name of a failure domain", n->name,
		               n->failure_domain);
	if (strspn(n->raft_id, "0123456789") != strlen(n->raft_id))
		return err_set(e, ERR_INVAL, "roster: node \"%s\": \"%s\" is no store id", n->name, n->raft_id);
	return ERR_OK;
}

static int take_node(const json_t *o, struct roster_node *n, struct err *e)
{
	int rc = take_text(o, "name", n->name, sizeof n->name, e);

	if (rc == ERR_OK)
		rc = take_text(o, "address", n->address, sizeof n->address, e);
	if (rc == ERR_OK)
		rc = take_text(o, "role", n->role, sizeof n->role, e);
	if (rc == ERR_OK)
		rc = take_text(o, "failure_domain", n->failure_domain, sizeof n->failure_domain, e);
	if (rc == ERR_OK)
		rc = take_text(o, "raft_id", n->raft_id, sizeof n->raft_id, e);
	if (rc == ERR_OK)
		rc = take_port(o, "peer_port", &n->peer_port, e);
	if (rc == ERR_OK)
		rc = take_port(o, "raft_port", &n->raft_port, e);
	if (rc == ERR_OK)
		rc = take_port(o, "sql_port", &n->sql_port, e);
	n->is_removed = json_is_true(json_object_get(o, "removed"));
	return rc == ERR_OK ? check_node(n, e) : rc;
}

static int take_nodes(const json_t *list, struct roster *r, struct err *e)
{
	const json_t *o;
	size_t i;
	unsigned j;
	int rc;

	if (!json_is_array(list) || json_array_size(list) > ROSTER_NODES_MAX)
		return err_set(e, ERR_INVAL, "roster: \"nodes\" is no list of at most %d", ROSTER_NODES_MAX);
	json_array_foreach(list, i, o)
	{
		rc = take_node(o, &r->nodes[r->count], e);
		if (rc != ERR_OK)
			return rc;
		for (j = 0; j < r->count; j++)
			if (strcmp(r->nodes[j].name, r->nodes[r->count].name) == 0)
				return err_set(e, ERR_INVAL, "roster: node \"%s\" comes twice", r->nodes[j].name);
		r->count++;
	}
	return ERR_OK;
}

static int take_all(const json_t *o, struct roster *r, struct err *e)
{
	const json_t *number = json_object_get(o, "number");
	int rc = take_text(o, "uuid", r->uuid, sizeof r->uuid, e);

	if (rc != ERR_OK)
		return rc;
	if (!json_is_integer(number) || json_integer_value(number) < 1)
		return err_set(e, ERR_INVAL, "roster: \"number\" is no number from 1 on");
	r->number = (uint64_t)json_integer_value(number);
	return take_nodes(json_object_get(o, "nodes"), r, e);
}

int roster_parse(const char *json, struct roster *ret, struct err *e)
{
	json_t *o = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	struct roster r = {0};
	int rc;

	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(e, ERR_INVAL, "roster: the text is no JSON object");
	}
	rc = take_all(o, &r, e);
	json_decref(o);
	if (rc == ERR_OK)
		*ret = r;
	return rc;
}

/* --- writing --- */

char *roster_format(const struct roster *r)
{
	json_t *o = json_pack("{s:i,s:I,s:s,s:[]}", "version", 1, "number", (json_int_t)r->number, "uuid", r->uuid, "nodes");
	char *text;
	unsigned i;

	for (i = 0; i < r->count; i++) {
		const struct roster_node *n = &r->nodes[i];

		json_array_append_new(json_object_get(o, "nodes"),
		                      json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:b}", "name", n->name, "address", n->address,
		                                "role", n->role, "failure_domain", n->failure_domain, "raft_id", n->raft_id,
		                                "peer_port", n->peer_port, "raft_port", n->raft_port, "sql_port", n->sql_port,
		                                "removed", n->is_removed));
	}
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

int roster_save(const struct config *c, const struct roster *r, struct err *e)
{
	char path[PATH_MAX];
	char *text = roster_format(r);
	int rc;

	PATH_OF(c, path);
	rc = save_file(path, text, strlen(text), FILE_MODE, e);
	free(text);
	return rc;
}

int roster_load(const struct config *c, struct roster *ret, struct err *e)
{
	char path[PATH_MAX], *text;
	ssize_t n;
	int fd, rc;

	PATH_OF(c, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s does not exist", path)
		                       : err_sys(e, errno, "cannot read %s", path);
	text = mem_alloc(TEXT_MAX);
	n = read(fd, text, TEXT_MAX - 1);
	rc = n < 0 ? err_sys(e, errno, "cannot read %s", path) : roster_parse(text, ret, e);
	close(fd);
	free(text);
	return rc == ERR_OK ? rc : err_wrap(e, "%s", path);
}

/* --- merging --- */

static void replace(char **field, const char *value)
{
	if (strcmp(*field, value) == 0)
		return;
	free(*field);
	*field = mem_strdup(value);
}

int roster_merge(const struct roster *r, struct config *c, struct err *e)
{
	unsigned i, added = 0;

	for (i = 0; i < r->count; i++)
		added += config_find_node(c, r->nodes[i].name) == NULL ? 1 : 0;
	if (c->nodes_count + added > CONFIG_NODES_MAX)
		return err_set(e, ERR_INVAL, "the cluster has more than %d nodes", CONFIG_NODES_MAX);
	for (i = 0; i < r->count; i++) {
		const struct roster_node *from = &r->nodes[i];
		struct config_node *to = (struct config_node *)(uintptr_t)config_find_node(c, from->name);

		if (to == NULL)
			to = config_add_node(c, from->name, from->address, from->role);
		if (strcmp(from->name, c->node) != 0) {
			replace(&to->address, from->address);
			to->peer_port = from->peer_port;
			to->raft_port = from->raft_port;
			to->sql_port = from->sql_port;
		}
		replace(&to->role, from->role);
		replace(&to->failure_domain, from->failure_domain);
		to->is_removed = from->is_removed;
	}
	return ERR_OK;
}

int roster_apply(struct config *c, struct err *e)
{
	struct roster *r = mem_alloc(sizeof *r);
	int rc = roster_load(c, r, e);

	if (rc == ERR_OK)
		rc = roster_merge(r, c, e);
	else if (rc == ERR_NOTFOUND)
		rc = ERR_OK;
	free(r);
	return rc;
}
