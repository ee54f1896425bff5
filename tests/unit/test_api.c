/* What core/api reads and says, without a network. */
#include "core/api/message.h"
#include "core/api/route.h"
#include "core/run/link_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct reply {
	int status;
	json_t *body;
};

static void take_reply(void *arg, int status, const char *content_type, const char *body)
{
	struct reply *r = arg;

	assert_string_equal(content_type, "application/json");
	r->status = status;
	r->body = json_loads(body, 0, NULL);
	assert_true(json_is_object(r->body));
}

static struct http_request *new_request(struct link_hub *l, struct reply *reply, const char *body, const char *arg)
{
	struct http_copy h = {.method = "POST", .path = "/v1/status", .body = body, .name = "", .from = "", .args = {arg}};

	h.args_count = arg != NULL;
	return http_request_new(l, &h, take_reply, reply);
}

static void check_route(const char *path, const char *noun, const char *name, const char *verb)
{
	struct api_route r;

	assert_true(api_route_parse(path, &r));
	assert_string_equal(r.noun, noun);
	assert_string_equal(r.name, name);
	assert_string_equal(r.verb, verb);
	assert_int_equal(r.is_v1, strncmp(path, "/v1/", 4) == 0);
}

static void routes_are_taken_apart(void **state)
{
	struct api_route r;

	(void)state;
	check_route("/health", "health", "", "");
	check_route("/v1/status", "status", "", "");
	check_route("/v1/store/backup", "store", "", "backup");
	check_route("/v1/groups/g-1/pause", "groups", "g-1", "pause");
	check_route("/v1/nodes/abcdefghijklmnopqrstuvwxyz012345/remove", "nodes", "abcdefghijklmnopqrstuvwxyz012345", "remove");
	assert_true(api_route_parse("/v1/groups/g/pause", &r));
	assert_true(api_route_names(&r, "groups"));
	assert_false(api_route_names(&r, "nodes"));
	assert_false(api_route_is(&r, "groups", "pause"));
	assert_true(api_route_parse("/v1/groups", &r));
	assert_true(api_route_is(&r, "groups", ""));
	assert_false(api_route_is(&r, "groups", "pause"));
	assert_false(api_route_names(&r, "groups"));
	assert_true(api_route_parse("/groups", &r));
	assert_false(api_route_is(&r, "groups", ""));
}

static void a_path_with_anything_more_is_no_route(void **state)
{
	static const char *const bad[] = {"",
	                                  "/",
	                                  "//",
	                                  "/v1/",
	                                  "/v1//",
	                                  "v1/status",
	                                  "/v2/status",
	                                  "/health/",
	                                  "/health/x",
	                                  "/v1/status/",
	                                  "/v1/Status",
	                                  "/v1/status ",
	                                  "/v1/groups/g/pause/",
	                                  "/v1/groups/g/pause/x",
	                                  "/v1/groups/g/pause1",
	                                  "/v1/groups/G/pause",
	                                  "/v1/groups/../pause",
	                                  "/v1/groups//pause",
	                                  "/v1/nodes/n/remove/x",
	                                  "/v1/nodes/abcdefghijklmnopqrstuvwxyz0123456/remove",
	                                  "/v1/nodes/n/abcdefghijklmnop",
	                                  "/v1/abcdefghijklmnop"};
	struct api_route r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (api_route_parse(bad[i], &r))
			fail_msg("\"%s\" is taken for a route", bad[i]);
		assert_true(!r.is_v1 && r.noun[0] == '\0' && r.name[0] == '\0' && r.verb[0] == '\0');
	}
}

static void check_error(const char *message, const char *heard)
{
	struct link_hub l = {0};
	struct reply reply = {0};

	api_error(new_request(&l, &reply, "", NULL), ERR_NOTFOUND, message, message);
	assert_int_equal(reply.status, 404);
	assert_string_equal(json_string_value(json_object_get(reply.body, "error")), "not_found");
	assert_string_equal(json_string_value(json_object_get(reply.body, "message")), heard);
	assert_string_equal(json_string_value(json_object_get(reply.body, "hint")), heard);
	json_decref(reply.body);
}

static void an_error_arrives_though_it_was_cut_in_a_character(void **state)
{
	(void)state;
	check_error("there is no node \"n9\"", "there is no node \"n9\"");
	check_error("there is no node \"\xc3\"", "there is no node \"\xef\xbf\xbd\"");
	check_error("there is no node \"\xc3", "there is no node \"");
}

static void an_answer_that_is_no_text_is_an_error(void **state)
{
	struct link_hub l = {0};
	struct reply reply = {0};

	(void)state;
	api_json(new_request(&l, &reply, "", NULL), 200, json_pack("{s:s}", "text", "\xc3"));
	assert_int_equal(reply.status, 500);
	json_decref(reply.body);
}

static bool body_is_taken(const char *text)
{
	struct link_hub l = {0};
	struct reply reply = {0};
	struct http_request *r = new_request(&l, &reply, text, NULL);
	json_t *body = api_body(r);

	if (body == NULL) {
		assert_int_equal(reply.status, 400);
		json_decref(reply.body);
		return false;
	}
	json_decref(body);
	api_json(r, 200, json_object());
	json_decref(reply.body);
	return true;
}

static void a_body_is_one_object(void **state)
{
	(void)state;
	assert_true(body_is_taken(""));
	assert_true(body_is_taken("{\"to\":\"n2\"}"));
	assert_false(body_is_taken("[]"));
	assert_false(body_is_taken("{\"to\":\"n2\",\"to\":\"n3\"}"));
	assert_false(body_is_taken("{} {}"));
	assert_false(body_is_taken("{\"to\":\"\xc3\"}"));
}

static bool number_is_taken(const char *arg, uint64_t *ret)
{
	struct link_hub l = {0};
	struct reply reply = {0};
	struct http_request *r = new_request(&l, &reply, "", arg);
	bool is_taken = api_query_number(r, "limit", 1000, ret);

	if (is_taken)
		api_json(r, 200, json_object());
	else
		assert_int_equal(reply.status, 400);
	json_decref(reply.body);
	return is_taken;
}

static void a_number_of_the_query_is_within_its_limits(void **state)
{
	uint64_t n = 50;

	(void)state;
	assert_true(number_is_taken("other=1", &n));
	assert_int_equal(n, 50);
	assert_false(number_is_taken("limit=1001", &n));
	assert_false(number_is_taken("limit=-1", &n));
	assert_false(number_is_taken("limit=1\xc3", &n));
	assert_int_equal(n, 50);
	assert_true(number_is_taken("limit=1000", &n));
	assert_int_equal(n, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(routes_are_taken_apart),
	        cmocka_unit_test(a_path_with_anything_more_is_no_route),
	        cmocka_unit_test(an_error_arrives_though_it_was_cut_in_a_character),
	        cmocka_unit_test(an_answer_that_is_no_text_is_an_error),
	        cmocka_unit_test(a_body_is_one_object),
	        cmocka_unit_test(a_number_of_the_query_is_within_its_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
