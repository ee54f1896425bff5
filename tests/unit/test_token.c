#include "core/base/str.h"
#include "core/base/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UUID   "0b7a6f0e-8f4e-4c7e-9f0e-0123456789ab"
#define SECRET "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define CA     "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static struct token sample(void)
{
	struct token t;

	memset(&t, 0, sizeof t);
	strcpy(t.cluster, "lab");
	strcpy(t.uuid, UUID);
	strcpy(t.mode, "managed");
	strcpy(t.ca, CA);
	strcpy(t.node, "n4");
	strcpy(t.role, "data");
	strcpy(t.id, "0123456789abcdef");
	strcpy(t.secret, SECRET);
	strcpy(t.addresses[0], "10.77.0.11:7400");
	strcpy(t.addresses[1], "[fd00::11]:17400");
	t.address_count = 2;
	return t;
}

/* A token of this JSON, as an attacker would make it. */
static char *token_of(const char *json)
{
	char *body = token_base64_encode(json, strlen(json));
	struct buf b = {0};

	buf_printf(&b, "mha1.%s", body);
	free(body);
	return b.data;
}

static void expect_refused(const char *text, const char *why)
{
	struct token t = sample(), before = t;
	struct err e = ERR_INIT;

	assert_int_equal(token_parse(text, &t, &e), ERR_INVAL);
	assert_memory_equal(&t, &before, sizeof t);
	if (strstr(e.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
	assert_null(strstr(e.text, SECRET));
}

static void a_token_comes_back_as_it_was(void **state)
{
	struct token t = sample(), back;
	char *text = token_format(&t), *padded;
	struct buf b = {0};

	(void)state;
	assert_int_equal(strncmp(text, "mha1.", 5), 0);
	assert_int_equal(strspn(text + 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
	                 strlen(text) - 5);
	memset(&back, 0, sizeof back);
	assert_int_equal(token_parse(text, &back, NULL), ERR_OK);
	assert_memory_equal(&t, &back, sizeof t);
	buf_printf(&b, " \n%s\r\n", text); /* as a file or a paste brings it */
	padded = b.data;
	assert_int_equal(token_parse(padded, &back, NULL), ERR_OK);
	buf_done(&b);
	free(text);
}

static void a_cut_or_changed_token_is_refused(void **state)
{
	struct token t = sample(), back;
	char *text = token_format(&t);
	size_t len = strlen(text), i;

	(void)state;
	expect_refused("", "no token");
	expect_refused("mha2.abc", "no token");
	for (i = 0; i < len; i++) {
		char *cut = strndup(text, i);

		assert_int_equal(token_parse(cut, &back, NULL), ERR_INVAL);
		free(cut);
	}
	text[len / 2] = '!';
	expect_refused(text, "damaged");
	free(text);
}

static void base64_has_one_text_for_one_value(void **state)
{
	unsigned char bytes[64];
	size_t i, n, len;

	(void)state;
	for (n = 0; n <= sizeof bytes; n++) {
		char *text, *back;

		for (i = 0; i < n; i++)
			bytes[i] = (unsigned char)(i * 37 + n);
		text = token_base64_encode(bytes, n);
		back = token_base64_decode(text, strlen(text), &len);
		assert_non_null(back);
		assert_int_equal(len, n);
		assert_memory_equal(back, bytes, n);
		free(back);
		free(text);
	}
	assert_null(token_base64_decode("QR", 2, &len)); /* bits left over: QQ is the text of this byte */
	assert_null(token_base64_decode("QQ==", 4, &len));
	assert_null(token_base64_decode("Q", 1, &len));
	assert_null(token_base64_decode("Q\0Q", 3, &len));
}

/* sample() with one member replaced or added. */
static void expect_field_refused(const char *key, const char *json_value, const char *why)
{
	static const char *const keys[] = {"v", "cluster", "uuid", "mode", "ca", "addresses", "node", "role", "id", "secret"};
	static const char *const values[] =
	        {"1",      "\"lab\"",  "\"" UUID "\"",         "\"managed\"",   "\"" CA "\"", "[\"10.77.0.11:7400\"]",
	         "\"n4\"", "\"data\"", "\"0123456789abcdef\"", "\"" SECRET "\""};
	struct buf b = {0};
	char *text;
	size_t i;

	buf_puts(&b, "{");
	for (i = 0; i < sizeof keys / sizeof *keys; i++)
		if (strcmp(keys[i], key) != 0)
			buf_printf(&b, "\"%s\":%s,", keys[i], values[i]);
	buf_printf(&b, "\"%s\":%s}", key, json_value);
	text = token_of(b.data);
	expect_refused(text, why);
	free(text);
	buf_done(&b);
}

static void every_field_is_checked(void **state)
{
	(void)state;
	expect_field_refused("v", "2", "version");
	expect_field_refused("cluster", "\"Not a name\"", "cluster");
	expect_field_refused("cluster", "7", "cluster");
	expect_field_refused("uuid", "\"short\"", "uuid");
	expect_field_refused("mode", "\"off\"", "mode");
	expect_field_refused("ca", "\"\"", "ca"); /* a managed cluster without fingerprint: anybody could be it */
	expect_field_refused("ca", "\"zz\"", "ca");
	expect_field_refused("mode", "\"files\"", "ca");
	expect_field_refused("node", "\"n4'; --\"", "node");
	expect_field_refused("role", "\"king\"", "role");
	expect_field_refused("id", "\"\"", "id");
	expect_field_refused("secret", "\"12\"", "secret");
	expect_field_refused("addresses", "[]", "addresses");
	expect_field_refused("addresses", "[\"example:7400\"]", "address");
	expect_field_refused("addresses", "[\"10.77.0.11:0\"]", "address");
	expect_field_refused("addresses", "[\"10.77.0.11\"]", "address");
	expect_field_refused("addresses", "[\"[fd00::1:7400\"]", "address");
	expect_field_refused("addresses", "[\"10.77.0.11:7400/x@\"]", "address");
	expect_field_refused("addresses", "[7]", "address");
	expect_field_refused("secret", "\"a\\u0000b\"", "damaged");
}

static void what_is_no_object_is_refused(void **state)
{
	static const char *const texts[] = {"", "[]", "1", "{", "{\"v\":1,\"v\":1}", "[[[[[[[[[[[[[[[["};
	char *text, *big;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof texts / sizeof *texts; i++) {
		text = token_of(texts[i]);
		expect_refused(text, "damaged");
		free(text);
	}
	big = malloc(TOKEN_TEXT_MAX + 10);
	memset(big, 'A', TOKEN_TEXT_MAX + 9);
	memcpy(big, "mha1.", 5);
	big[TOKEN_TEXT_MAX + 9] = '\0';
	expect_refused(big, "longer");
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_token_comes_back_as_it_was),      cmocka_unit_test(a_cut_or_changed_token_is_refused),
	        cmocka_unit_test(base64_has_one_text_for_one_value), cmocka_unit_test(every_field_is_checked),
	        cmocka_unit_test(what_is_no_object_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
