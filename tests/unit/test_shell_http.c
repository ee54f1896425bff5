#include "shell/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void hosts_are(const char *nodes, const char *expected)
{
	struct err e = ERR_INIT;
	struct http *h = NULL;

	assert_int_equal(http_new(nodes, "/nonexistent", &h, &e), ERR_OK);
	assert_string_equal(http_hosts(h), expected);
	http_free(h);
}

static void hosts_of_nodes_are_known_however_they_are_written(void **state)
{
	(void)state;
	hosts_are("http://127.0.0.1:7400", "127.0.0.1");
	hosts_are("n1,n2:7500, https://n3/", "n1,n2,n3");
	hosts_are("unix:/run/mha4rdb/api.sock", "/run/mha4rdb");
	hosts_are("http://[fd00::1]:7400,[fd00::2]", "fd00::1,fd00::2");
}

static void a_bad_url_is_named(void **state)
{
	struct err e = ERR_INIT;
	struct http *h = NULL;

	(void)state;
	assert_int_equal(http_new("n1,http://n2:99999", "/nonexistent", &h, &e), ERR_INVAL);
	assert_string_equal(e.text, "--node: \"http://n2:99999\" is not a URL like https://n1:7400");
	assert_int_equal(http_new(",", "/nonexistent", &h, &e), ERR_INVAL);
	assert_int_equal(http_new("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "/nonexistent", &h, &e), ERR_INVAL);
	assert_int_equal(http_new("unix:run/api.sock", "/nonexistent", &h, &e), ERR_INVAL);
	assert_string_equal(e.text, "--node: \"unix:run/api.sock\" is not the absolute path of a socket");
	assert_null(h);
}

static void missing_certificate_file_is_named_and_nothing_is_sent(void **state)
{
	struct http_request r = {.path = "/v1/x", .body = "{}", .timeout_ms = 1000};
	struct http_reply reply = {0};
	struct err e = ERR_INIT;
	struct http *h = NULL;

	(void)state;
	assert_int_equal(http_new("https://127.0.0.1:1", "/nonexistent", &h, &e), ERR_OK);
	assert_int_equal(http_send(h, &r, &reply, &e), ERR_INVAL);
	assert_non_null(strstr(e.text, "/nonexistent/ca.pem cannot be read"));
	http_free(h);
}

static void nobody_listening_is_unreachable_and_each_node_is_named(void **state)
{
	struct http_request r = {.path = "/v1/status", .timeout_ms = 1000};
	struct http_reply reply = {0};
	struct err e = ERR_INIT;
	struct http *h = NULL;

	(void)state;
	assert_int_equal(http_new("127.0.0.1:1,127.0.0.1:2", "/nonexistent", &h, &e), ERR_OK);
	assert_int_equal(http_send(h, &r, &reply, &e), ERR_UNREACHABLE);
	assert_string_equal(e.text, "no node answers: http://127.0.0.1:1: nobody listens there; "
	                            "http://127.0.0.1:2: nobody listens there");
	http_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(hosts_of_nodes_are_known_however_they_are_written),
	        cmocka_unit_test(a_bad_url_is_named),
	        cmocka_unit_test(missing_certificate_file_is_named_and_nothing_is_sent),
	        cmocka_unit_test(nobody_listening_is_unreachable_and_each_node_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
