/* node.yaml: whoever may write it is trusted, but a slip of the pen must end in a sentence. */
#include "core/base/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;
	struct fuzz_file f;
	char path[108];
	unsigned i;

	fuzz_file_open(&f, data, size);
	if (config_load(f.path, &c, &e) != ERR_OK) {
		FUZZ_CHECK(c == NULL && e.text[0] != '\0');
	} else {
		FUZZ_CHECK(config_find_node(c, c->node) != NULL && c->nodes_count <= CONFIG_NODES_MAX);
		FUZZ_CHECK(c->ports.peer != 0 && c->ports.raft != 0 && c->ports.sql != 0);
		for (i = 0; i < c->instances_count; i++)
			FUZZ_CHECK(config_path_dbd(c, c->instances[i].group, path)[0] == '/');
		(void)config_path_vipd(c, path);
		config_free(c);
	}
	fuzz_file_close(&f);
	return 0;
}
