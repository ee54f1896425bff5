#include "shell/api.h"

#include "shell/shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API_VERSION 1

const char *api_text(const json_t *object, const char *key, char *buf)
{
	const json_t *v = json_object_get(object, key);

	if (json_is_string(v) && json_string_length(v) > 0)
		return json_string_value(v);
	if (json_is_integer(v))
		snprintf(buf, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		snprintf(buf, 32, "%.6g", json_real_value(v));
	else if (json_is_boolean(v))
		snprintf(buf, 32, "%s", json_is_true(v) ? "yes" : "no");
	else
		return NULL;
	return buf;
}

int64_t api_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool api_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static enum err_code code_of_name(const char *name)
{
	int code;

	for (code = ERR_INVAL; code <= ERR_AMBIGUOUS; code++)
		if (strcmp(err_name((enum err_code)code), name) == 0)
			return (enum err_code)code;
	return ERR_IO;
}

/* When the error has no code that we know. */
static enum err_code code_of_status(long status)
{
	switch (status) {
	case 400:
		return ERR_INVAL;
	case 404:
		return ERR_NOTFOUND;
	case 401:
	case 403:
	case 409:
		return ERR_REFUSED;
	case 503:
		return ERR_NOQUORUM;
	case 504:
		return ERR_TIMEOUT;
	default:
		return ERR_IO;
	}
}

static void print_operation(struct shell *sh, const json_t *reply, int64_t operation)
{
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		fprintf(sh->out.stream, "operation\n%" PRId64 "\n", operation);
	else
		fprintf(sh->out.stream, "operation %" PRId64 " is still running\n", operation);
	if (sh->hint.len == 0)
		shell_hint(sh,
		           "`mha-shell group list` shows how far operation %" PRId64
		           " is, `mha-shell cluster events --follow` how it ends",
		           operation);
}

/* Turn an error reply into ours. */
static int refuse(struct shell *sh, const struct http_reply *r, const json_t *reply, struct err *e)
{
	const char *name = json_string_value(json_object_get(reply, "error"));
	const char *message = json_string_value(json_object_get(reply, "message"));
	const char *hint = json_string_value(json_object_get(reply, "hint"));
	int64_t operation = api_int(reply, "operation", 0);
	enum err_code code = name != NULL ? code_of_name(name) : code_of_status(r->status);

	if (hint != NULL && hint[0] != '\0')
		shell_hint(sh, "%s", hint);
	if (code == ERR_TIMEOUT && operation > 0)
		print_operation(sh, reply, operation);
	if (message == NULL)
		return err_set(e, code, "%s answers status %ld without an explanation", r->url, r->status);
	return err_set(e, code, "%s", message);
}

static int decode(struct shell *sh, const struct http_reply *r, json_t **ret, struct err *e)
{
	json_error_t je;
	json_t *reply = json_loadb(r->body.data != NULL ? r->body.data : "", r->body.len, 0, &je);
	int64_t version = api_int(reply, "version", API_VERSION);
	int rc;

	if (version != API_VERSION) {
		rc = err_set(e, ERR_PROTOCOL,
		             "%s speaks version %" PRId64
		             " of the API, this mha-shell version %d: use the mha-shell of that node",
		             r->url, version, API_VERSION);
	} else if (r->status < 200 || r->status > 299) {
		rc = refuse(sh, r, reply, e);
	} else if (!json_is_object(reply)) {
		rc = err_set(e, ERR_PROTOCOL, "%s does not answer like mhad: %s", r->url,
		             reply == NULL ? je.text : "not a JSON object");
		shell_hint(sh, "is another program listening there? --node or MHA_NODE name the nodes to ask");
	} else {
		*ret = reply;
		return ERR_OK;
	}
	json_decref(reply);
	return rc;
}

int api_call(struct shell *sh, const struct api_call *c, json_t **ret, struct err *e)
{
	struct http_reply reply = {0};
	struct http_request r = {.path = c->path, .timeout_ms = c->timeout_ms, .is_first_only = c->is_first_only};
	char *body = c->body != NULL ? json_dumps(c->body, JSON_COMPACT) : NULL;
	int rc;

	r.body = body;
	rc = http_send(sh->http, &r, &reply, e);
	if (rc == ERR_OK)
		rc = decode(sh, &reply, ret, e);
	else if (rc == ERR_UNREACHABLE)
		shell_hint(sh, "does mhad run there? --node or MHA_NODE name the nodes to ask");
	else if (rc == ERR_AMBIGUOUS)
		shell_hint(sh, "`mha-shell group list` and `mha-shell cluster events` show what came of it");
	buf_done(&reply.body);
	free(body);
	return rc;
}

int api_get(struct shell *sh, const char *path, json_t **ret, struct err *e)
{
	struct api_call c = {.path = path, .timeout_ms = API_READ_TIMEOUT_MS};

	return api_call(sh, &c, ret, e);
}
