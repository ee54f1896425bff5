/* What mha-dbd reads back: the output of pg_controldata, and the file with the epochs. */
#include "drivers/epoch.h"
#include "drivers/postgresql/pg.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct pg_control c;
	struct epochs have = {0, 0};
	struct err e = ERR_INIT;
	struct fuzz_file f;

	if (pg_parse_control(text, &c, &e) == ERR_OK)
		FUZZ_CHECK(strnlen(c.system_id, sizeof c.system_id) < sizeof c.system_id);
	free(text);
	fuzz_file_open(&f, data, size);
	if (epoch_read(f.path, &have, &e) != ERR_OK)
		FUZZ_CHECK(have.seen == 0 && have.promoted == 0);
	fuzz_file_close(&f);
	return 0;
}
