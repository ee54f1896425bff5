/* The roster: from other nodes, and from the disk. What is accepted is written and read again unchanged, and merges into a
 * configuration. */
#include "core/base/roster.h"
#include "core/base/str.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_merge(const struct roster *r)
{
	static const char yaml[] = "{cluster: lab, node: n1, address: 10.0.0.1}";
	struct config *c = NULL;
	struct fuzz_file f;
	struct err e = ERR_INIT;
	unsigned i;

	fuzz_file_open(&f, (const uint8_t *)yaml, sizeof yaml - 1);
	FUZZ_CHECK(config_load(f.path, &c, &e) == ERR_OK);
	fuzz_file_close(&f);
	if (roster_merge(r, c, &e) == ERR_OK) {
		FUZZ_CHECK(c->nodes_count <= CONFIG_NODES_MAX && strcmp(c->nodes[0].name, "n1") == 0);
		FUZZ_CHECK(strcmp(c->nodes[0].address, "10.0.0.1") == 0);
		for (i = 0; i < r->count; i++)
			FUZZ_CHECK(config_find_node(c, r->nodes[i].name) != NULL);
	}
	config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct roster first, second;
	struct err e = ERR_INIT;
	char *text = fuzz_text(data, size), *once, *twice;

	memset(&first, 0, sizeof first);
	if (roster_parse(text, &first, &e) != ERR_OK) {
		FUZZ_CHECK(first.count == 0 && e.text[0] != '\0');
		free(text);
		return 0;
	}
	free(text);
	FUZZ_CHECK(first.count <= ROSTER_NODES_MAX && first.number >= 1);
	once = roster_format(&first);
	FUZZ_CHECK(roster_parse(once, &second, &e) == ERR_OK);
	twice = roster_format(&second);
	FUZZ_CHECK(strcmp(once, twice) == 0);
	free(once);
	free(twice);
	check_merge(&first);
	return 0;
}
