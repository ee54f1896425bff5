/* The handshake of a link: what the other side says before it is known. */
#include "core/run/link_internal.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* A refusal's reason reaches the other side as it was said; whatever it is, there is one. */
static void check_refusal(const char *reason)
{
	char name[33] = "", *again = NULL, *frame = frame_refused(reason);

	FUZZ_CHECK(frame_parse(frame, strlen(frame), name, &again) == FRAME_REFUSED);
	FUZZ_CHECK(again[0] != '\0');
	if (reason[0] != '\0' && frame_is_utf8(reason, strlen(reason)))
		FUZZ_CHECK(strcmp(again, reason) == 0);
	free(frame);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[33] = "", *text = NULL, *bytes = fuzz_text(data, size);
	enum frame_kind kind = frame_parse(bytes, size, name, &text);

	FUZZ_CHECK((text != NULL) == (kind == FRAME_HELLO || kind == FRAME_REFUSED));
	FUZZ_CHECK((kind == FRAME_HELLO) == (name[0] != '\0'));
	if (kind == FRAME_HELLO)
		FUZZ_CHECK(str_is_name(name) && text[0] == '{' && frame_is_utf8(text, strlen(text)));
	if (kind == FRAME_REFUSED)
		check_refusal(text);
	check_refusal(bytes);
	(void)frame_is_utf8(bytes, size);
	free(text);
	free(bytes);
	return 0;
}
