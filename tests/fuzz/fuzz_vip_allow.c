/* vip.allow: what a program with network privileges may touch. */
#include "tests/fuzz/fuzz.h"
#include "vipd/allow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct allow a = {0};
	struct vip_set all;
	struct err e = ERR_INIT;
	struct fuzz_file f;
	char text[256];
	unsigned i;

	fuzz_file_open(&f, data, size);
	if (allow_load(f.path, &a, &e) != ERR_OK) {
		FUZZ_CHECK(a.vip_count == 0 && e.text[0] != '\0');
	} else {
		FUZZ_CHECK(a.vip_count <= ALLOW_MAX_VIPS && a.port_count <= ALLOW_MAX_PORTS && a.peer_count <= ALLOW_MAX_PEERS);
		for (i = 0; i < a.vip_count; i++)
			FUZZ_CHECK(allow_find_vip(&a, a.vips[i].addr) == (int)i && a.vips[i].dev[0] != '\0');
		for (i = 0; i < a.port_count; i++)
			FUZZ_CHECK(a.ports[i] != 0 && allow_find_port(&a, a.ports[i]) == (int)i);
		all = allow_all(&a);
		FUZZ_CHECK((unsigned)__builtin_popcount(all.vips) == a.vip_count);
		(void)allow_describe(&a, &all, text, sizeof text);
	}
	fuzz_file_close(&f);
	return 0;
}
