#include "drivers/epoch.h"

#include "drivers/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int epoch_read(const char *path, struct epochs *ret, struct err *e)
{
	struct epochs v;
	char text[64];
	FILE *f;
	int n;

	f = fopen(path, "re");
	if (f == NULL && errno == ENOENT) {
		*ret = (struct epochs){0, 0};
		return ERR_OK;
	}
	if (f == NULL)
		return err_sys(e, errno, "open \"%s\"", path);
	n = fgets(text, sizeof text, f) != NULL ? sscanf(text, "%" SCNu64 " %" SCNu64, &v.seen, &v.promoted) : 0;
	fclose(f);
	if (n != 2)
		return err_set(e, ERR_IO,
		               "\"%s\" does not hold two epochs: write \"SEEN PROMOTED\" with the group's epoch from the store",
		               path);
	*ret = v;
	return ERR_OK;
}

static int write_epochs(const char *path, struct epochs v, struct err *e)
{
	char text[64];

	snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 "\n", v.seen, v.promoted);
	return file_write(path, text, strlen(text), e);
}

int epoch_forget_promotion(const char *path, struct err *e)
{
	struct epochs have;
	int rc = epoch_read(path, &have, e);

	if (rc != ERR_OK || have.promoted == 0)
		return rc;
	have.promoted = 0;
	return write_epochs(path, have, e);
}

int epoch_raise(const char *path, struct epochs v, struct err *e)
{
	struct epochs have;
	int rc;

	rc = epoch_read(path, &have, e);
	if (rc != ERR_OK)
		return rc;
	if (v.seen <= have.seen && v.promoted <= have.promoted)
		return ERR_OK;
	if (v.seen < have.seen)
		v.seen = have.seen;
	if (v.promoted < have.promoted)
		v.promoted = have.promoted;
	return write_epochs(path, v, e);
}
