/* node.json: who this node is. */
#include "store/node_identity.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct identity id = {0};
	struct err e = ERR_INIT;
	struct fuzz_file f;

	fuzz_file_open(&f, data, size);
	if (identity_load(f.path, &id, &e) != ERR_OK)
		FUZZ_CHECK(id.id == 0 && e.text[0] != '\0');
	else
		FUZZ_CHECK(id.id > 1 && (id.state == IDENTITY_FRESH || identity_check_uuid(id.cluster_uuid, &e) == ERR_OK));
	fuzz_file_close(&f);
	return 0;
}
