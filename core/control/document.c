/* fsm-document: prints docs/fsm.md from the rule table, after checking the table. */
#include "core/control/rules.h"

#include <stdio.h>

int main(void)
{
	struct buf out = {0};
	struct err e = ERR_INIT;

	if (rules_check(&e) != ERR_OK) {
		fprintf(stderr, "fsm-document: %s\n", e.text);
		return 1;
	}
	rules_document(&out);
	fwrite(out.data, 1, out.len, stdout);
	buf_done(&out);
	return 0;
}
