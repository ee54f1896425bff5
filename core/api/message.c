#include "core/api/message.h"

#include "core/base/str.h"

#include <stdlib.h>

void api_json(struct http_request *r, int status, json_t *body)
{
	char *text;

	json_object_set_new(body, "version", json_integer(1));
	text = json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(body);
	if (text != NULL)
		http_reply(r, status, "application/json", text);
	else
		http_reply(r, 500, "application/json",
		           "{\"error\":\"io\",\"message\":\"the answer is not UTF-8 text\",\"version\":1}");
	free(text);
}

json_t *api_text(const char *text)
{
	char *utf8 = str_utf8(text);
	json_t *s = json_string(utf8);

	free(utf8);
	return s;
}

static int http_status(enum err_code code)
{
	switch (code) {
	case ERR_OK:
		return 200;
	case ERR_INVAL:
		return 400;
	case ERR_NOTFOUND:
		return 404;
	case ERR_REFUSED:
	case ERR_EXISTS:
		return 409;
	case ERR_NOQUORUM:
	case ERR_UNREACHABLE:
		return 503;
	case ERR_TIMEOUT:
		return 504;
	default:
		return 500;
	}
}

void api_error(struct http_request *r, enum err_code code, const char *message, const char *hint)
{
	json_t *o = json_pack("{s:s,s:o}", "error", err_name(code), "message", api_text(message));

	if (hint != NULL)
		json_object_set_new(o, "hint", api_text(hint));
	api_json(r, http_status(code), o);
}

json_t *api_body(struct http_request *r)
{
	json_t *body = json_loads(http_body(r)[0] != '\0' ? http_body(r) : "{}", JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(body))
		return body;
	json_decref(body);
	api_error(r, ERR_INVAL, "the body is no JSON object", NULL);
	return NULL;
}

const char *api_member(const json_t *body, const char *key)
{
	const char *text = json_string_value(json_object_get(body, key));

	return text != NULL ? text : "";
}

bool api_query_number(struct http_request *r, const char *name, uint64_t max, uint64_t *ret)
{
	const char *text = http_query(r, name);
	struct err e = ERR_INIT;

	if (text == NULL || text[0] == '\0')
		return true;
	if (str_to_u64(text, name, 0, max, ret, &e) == ERR_OK)
		return true;
	api_error(r, ERR_INVAL, e.text, NULL);
	return false;
}
