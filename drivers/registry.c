#include "drivers/driver.h"

#include "drivers/fake/fake.h"
#include "drivers/postgresql/postgresql.h"

#include <stdio.h>
#include <string.h>

static const struct driver *const drivers[] = {&driver_postgresql, &driver_fake};

const struct driver *driver_find(const char *engine)
{
	size_t i;

	for (i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
		if (strcmp(drivers[i]->name, engine) == 0)
			return drivers[i];
	return NULL;
}

const struct driver_verb *driver_verb_of(const struct driver *d, enum dbd_msg_type type)
{
	switch (type) {
	case DBD_CREATE:
		return &d->create;
	case DBD_START:
		return &d->start;
	case DBD_PROMOTE:
		return &d->promote;
	case DBD_FOLLOW:
		return &d->follow;
	case DBD_DETACH:
		return &d->detach;
	case DBD_SYNC_SET:
		return &d->sync_set;
	case DBD_CHECKPOINT:
		return &d->checkpoint;
	case DBD_REWIND:
		return &d->rewind;
	case DBD_REBUILD:
		return &d->rebuild;
	default:
		return NULL;
	}
}

const char *driver_verb_name(enum dbd_msg_type type)
{
	static const char *const names[] = {
	        [DBD_LEASE] = "lease",           [DBD_REPORT_NOW] = "report", [DBD_CREATE] = "create",
	        [DBD_START] = "start",           [DBD_STOP] = "stop",         [DBD_PROMOTE] = "promote",
	        [DBD_FOLLOW] = "follow",         [DBD_DETACH] = "detach",     [DBD_SYNC_SET] = "sync_set",
	        [DBD_CHECKPOINT] = "checkpoint", [DBD_REWIND] = "rewind",     [DBD_REBUILD] = "rebuild",
	};

	if ((size_t)type >= sizeof names / sizeof names[0] || names[type] == NULL)
		return "nothing";
	return names[type];
}

char *driver_path(const struct driver_ctx *ctx, const char *name, char *buf)
{
	/* The guard has checked at its start that state_dir leaves room for every name of ours. */
	if (snprintf(buf, DRIVER_PATH_SIZE, "%s/%s", ctx->state_dir, name) >= DRIVER_PATH_SIZE)
		buf[0] = '\0';
	return buf;
}
