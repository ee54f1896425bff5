/* Join tokens: a text that a person pastes, from wherever. What is accepted is printed and read again unchanged. */
#include "core/base/token.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* The shell around a token would hide nearly everything from the fuzzer: a text that is no token is taken as the JSON inside
 * one. */
static char *wrap(const char *json)
{
	char *base64 = token_base64_encode(json, strlen(json)), *text = malloc(strlen(base64) + 6);

	if (text == NULL)
		abort();
	memcpy(text, "mha1.", 5);
	memcpy(text + 5, base64, strlen(base64) + 1);
	free(base64);
	return text;
}

static void check_base64(const char *text)
{
	size_t len = 0;
	char *bytes = token_base64_decode(text, strlen(text), &len), *again;

	if (bytes == NULL)
		return;
	FUZZ_CHECK(bytes[len] == '\0' && len <= strlen(text));
	again = token_base64_encode(bytes, len);
	FUZZ_CHECK(strcmp(again, text) == 0);
	free(again);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct token first, second;
	struct err e = ERR_INIT;
	char *bytes = fuzz_text(data, size), *text, *once, *twice;

	memset(&first, 0, sizeof first);
	check_base64(bytes);
	text = bytes[0] == '{' ? wrap(bytes) : strdup(bytes);
	free(bytes);
	if (token_parse(text, &first, &e) != ERR_OK) {
		FUZZ_CHECK(first.id[0] == '\0' && e.text[0] != '\0');
		free(text);
		return 0;
	}
	free(text);
	FUZZ_CHECK(first.address_count >= 1 && first.address_count <= TOKEN_ADDRESSES_MAX);
	once = token_format(&first);
	FUZZ_CHECK(token_parse(once, &second, &e) == ERR_OK);
	twice = token_format(&second);
	FUZZ_CHECK(strcmp(once, twice) == 0);
	free(once);
	free(twice);
	return 0;
}
