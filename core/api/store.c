/* The store: backups and their state. */
#include "core/api/api.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_MS 5000

struct status_job {
	struct control *c;
	struct http_request *http;
};

static json_t *disk_list(const struct control *c)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++) {
		const struct hb_extra *x = &c->last[i].extra;
		bool is_self = (int)i == c->self;

		if (c->config->nodes[i].is_removed)
			continue;
		json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:I}", "node", c->config->nodes[i].name, "free_mb",
		                                      (json_int_t)(is_self ? c->disk.free_mb : x->disk_free_mb), "free_percent",
		                                      (json_int_t)(is_self ? c->disk.percent : x->disk_percent), "schema_known",
		                                      (json_int_t)(is_self ? c->schema.known : x->schema)));
	}
	return list;
}

static void read_cb(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct status_job *j = arg;
	struct control *c = j->c;
	json_t *o =
	        outcome == STORE_DONE && res != NULL && PQntuples(res) == 1 ? json_loads(PQgetvalue(res, 0, 0), 0, NULL) : NULL;
	char text[400];

	if (o == NULL) {
		snprintf(text, sizeof text, "the store cannot be read: %s %s", sqlstate, message);
		api_error(j->http, outcome == STORE_UNKNOWN ? ERR_TIMEOUT : ERR_SQL, text, NULL);
		free(j);
		return;
	}
	json_object_set_new(o, "leader", json_string(c->config->node));
	json_object_set_new(o, "schema_known", json_integer((json_int_t)c->schema.known));
	json_object_set_new(o, "backup_dir", json_string(c->config->backup.dir));
	json_object_set_new(o, "backup_every_s", json_integer(c->config->backup.every_s));
	json_object_set_new(o, "backup_keep", json_integer(c->config->backup.keep));
	json_object_set_new(o, "now_ms", json_integer(clock_wall_ms()));
	json_object_set_new(o, "nodes", disk_list(c));
	api_json(j->http, 200, o);
	free(j);
}

void api_store_status(struct control *c, struct http_request *r)
{
	struct status_job *j = mem_alloc(sizeof *j);

	j->c = c;
	j->http = r;
	store_session_query(
	        c->store,
	        "SELECT json_object('schema', (SELECT max(version) FROM schema_version), 'last_backup', (SELECT "
	        "json_object('at_ms', at, 'node', node, 'path', path, 'bytes', bytes, 'result', result, 'reason', reason) "
	        "FROM backup ORDER BY id DESC LIMIT 1), 'last_good_ms', (SELECT max(at) FROM backup WHERE result = 'ok'))",
	        READ_MS, read_cb, j);
}

void api_store_backup(struct control *c, struct http_request *r)
{
	json_t *body = api_body(r);

	if (body == NULL)
		return;
	backups_begin(c->backups, api_member(body, "to"), r);
	json_decref(body);
}
