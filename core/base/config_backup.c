#include "core/base/config.h"

#include "core/base/str.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_KEEP 7
#define MAX_KEEP     10000
#define MIN_EVERY_S  60
#define MAX_EVERY_S  ((uint64_t)366 * 86400)

/* "90s", "30m", "6h", "1d". */
static int parse_every(const char *text, unsigned *ret_s, struct err *e)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char number[16];
	size_t len = strlen(text), i;
	uint64_t n = 0;

	for (i = 0; i < sizeof units / sizeof *units; i++) {
		if (len < 2 || text[len - 1] != units[i].unit || len > sizeof number)
			continue;
		memcpy(number, text, len - 1);
		number[len - 1] = '\0';
		if (str_to_u64(number, "every", 1, MAX_EVERY_S, &n, NULL) == ERR_OK)
			n *= units[i].seconds;
	}
	if (n < MIN_EVERY_S || n > MAX_EVERY_S)
		return err_set(e, ERR_INVAL, "backup: every: \"%s\" is not a time from 1m to 366d: write 30m, 6h or 1d", text);
	*ret_s = (unsigned)n;
	return ERR_OK;
}

int config_settle_backup(struct config *c, struct err *e)
{
	struct config_backup *b = &c->backup;
	char dir[PATH_MAX];

	if (b->dir == NULL) {
		snprintf(dir, sizeof dir, "%s/backup", c->state_dir);
		b->dir = mem_strdup(dir);
	}
	if (b->dir[0] != '/')
		return err_set(e, ERR_INVAL, "backup: dir: \"%s\" is not an absolute path", b->dir);
	if (b->keep == 0)
		b->keep = DEFAULT_KEEP;
	if (b->keep > MAX_KEEP)
		return err_set(e, ERR_INVAL, "backup: keep: %u is more than %d", b->keep, MAX_KEEP);
	return b->every != NULL ? parse_every(b->every, &b->every_s, e) : ERR_OK;
}
