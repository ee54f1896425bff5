/* Frames between control processes. What is accepted must come out of its own encoding unchanged: else two nodes would read two
 * things from one frame. */
#include "core/run/codec.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static struct config_node nodes[] = {{.name = "n1"}, {.name = "n2"}, {.name = "n3"}, {.name = "arb"}};
static const struct config config = {.node = (char *)(uintptr_t) "n1", .nodes = nodes, .nodes_count = 4};

static char *encode(const struct frame *f)
{
	switch (f->type) {
	case FRAME_HEARTBEAT:
		return codec_heartbeat(&config, &f->heartbeat, &f->extra);
	case FRAME_REPLY:
		return codec_reply(&config, &f->reply);
	case FRAME_ORDER:
		return codec_order(&config, &f->order);
	case FRAME_RELEASE:
		return codec_release(f->release.resource, f->release.value);
	default:
		return NULL;
	}
}

static void check_bounds(const struct frame *f)
{
	size_t i;

	FUZZ_CHECK(f->heartbeat.node == 1 && f->reply.voter == 1);
	if (f->type == FRAME_HEARTBEAT) {
		FUZZ_CHECK(f->heartbeat.ask_count <= sizeof f->asks / sizeof f->asks[0]);
		FUZZ_CHECK(f->heartbeat.report_count <= sizeof f->reports / sizeof f->reports[0]);
		FUZZ_CHECK((f->heartbeat.voters.members >> config.nodes_count) == 0);
		for (i = 0; i < f->heartbeat.report_count; i++)
			FUZZ_CHECK(f->reports[i].process <= PROC_STOPPING && f->reports[i].role <= ROLE_REPLICA);
	} else if (f->type == FRAME_ORDER) {
		FUZZ_CHECK(f->order.role <= ORDER_STOP && f->order.vip_count <= MAX_VIPS);
		FUZZ_CHECK(f->order.primary == NODE_NONE || (unsigned)f->order.primary < config.nodes_count);
	}
}

/* Nothing was lost on the way out or in. Both were zeroed before they were read, gaps included. */
static void check_same(struct frame *a, struct frame *b)
{
	a->heartbeat.asks = b->heartbeat.asks = NULL;
	a->heartbeat.reports = b->heartbeat.reports = NULL;
	FUZZ_CHECK(memcmp(a, b, sizeof *a) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct frame first, second;
	struct err e = ERR_INIT;
	char *text = fuzz_text(data, size), *once, *twice;

	memset(&first, 0, sizeof first);
	memset(&second, 0, sizeof second);
	if (codec_decode(&config, "n2", text, size, &first, &e) != ERR_OK) {
		FUZZ_CHECK(e.text[0] != '\0');
		free(text);
		return 0;
	}
	free(text);
	check_bounds(&first);
	once = encode(&first);
	if (once != NULL) {
		FUZZ_CHECK(codec_decode(&config, "n2", once, strlen(once), &second, &e) == ERR_OK);
		FUZZ_CHECK(second.type == first.type);
		twice = encode(&second);
		FUZZ_CHECK(strcmp(once, twice) == 0);
		free(twice);
		check_same(&first, &second);
	}
	free(once);
	return 0;
}
