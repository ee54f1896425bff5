/* Requests to the API: the first line is the path, the second an argument of the query, the rest the body. */
#include "core/api/message.h"
#include "core/api/route.h"
#include "core/base/str.h"
#include "core/run/link_internal.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_path(const char *path)
{
	struct api_route r;
	char again[128];

	if (!api_route_parse(path, &r)) {
		FUZZ_CHECK(!r.is_v1 && r.noun[0] == '\0' && r.name[0] == '\0' && r.verb[0] == '\0');
		return;
	}
	FUZZ_CHECK(r.name[0] == '\0' || (str_is_name(r.name) && r.verb[0] != '\0'));
	FUZZ_CHECK(r.is_v1 || r.verb[0] == '\0');
	/* Nothing of the path was left over. */
	snprintf(again, sizeof again, "%s/%s%s%s%s%s", r.is_v1 ? "/v1" : "", r.noun, r.name[0] != '\0' ? "/" : "", r.name,
	         r.verb[0] != '\0' ? "/" : "", r.verb);
	FUZZ_CHECK(strcmp(again, path) == 0);
}

/* Every request is answered once, with JSON that has something in it. */
static void take_answer(void *arg, int status, const char *content_type, const char *body)
{
	int *answers = arg;
	json_t *o = json_loads(body, 0, NULL);

	(*answers)++;
	FUZZ_CHECK(strcmp(content_type, "application/json") == 0 && status >= 200 && json_is_object(o));
	if (status != 200) {
		FUZZ_CHECK(json_string_value(json_object_get(o, "error")) != NULL);
		FUZZ_CHECK(json_string_value(json_object_get(o, "message")) != NULL);
	}
	json_decref(o);
}

/* As a route does: the numbers, the body, then an answer that quotes what came. */
static void serve(struct http_request *r)
{
	uint64_t n = 7;
	json_t *body;
	char text[64];

	if (!api_query_number(r, "limit", 1000, &n))
		return;
	FUZZ_CHECK(n <= 1000);
	body = api_body(r);
	if (body == NULL)
		return;
	FUZZ_CHECK(json_is_object(body));
	snprintf(text, sizeof text, "there is no node \"%.20s\"", api_member(body, "to"));
	json_decref(body);
	if (http_query(r, "quote") != NULL)
		api_json(r, 200, json_pack("{s:o}", "quote", api_text(http_query(r, "quote"))));
	else
		api_error(r, ERR_NOTFOUND, text, http_path(r));
}

static char *end_line(char *text)
{
	char *end = strchr(text, '\n');

	if (end == NULL)
		return text + strlen(text);
	*end = '\0';
	return end + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = fuzz_text(data, size), *arg = end_line(path), *body = end_line(arg);
	struct http_copy h = {.method = "POST", .path = path, .body = body, .name = "", .from = "", .args = {arg}};
	struct link_hub l = {0};
	int answers = 0;

	h.args_count = 1;
	check_path(path);
	serve(http_request_new(&l, &h, take_answer, &answers));
	FUZZ_CHECK(answers == 1 && l.requests == NULL);
	free(path);
	return 0;
}
