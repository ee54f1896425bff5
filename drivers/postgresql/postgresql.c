#include "drivers/postgresql/postgresql.h"

#include "drivers/file.h"
#include "drivers/postgresql/pg.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MINUTES 60000
#define HOURS   (60 * MINUTES)

/* The server removes standby.signal at the end of recovery, before it accepts the first write; nothing puts it back while it
 * runs. */
static bool is_fenced(const struct config_instance *inst)
{
	char path[DRIVER_PATH_SIZE];

	snprintf(path, sizeof path, "%s/standby.signal", inst->data_dir);
	return file_exists(path);
}

static int open_driver(struct driver_ctx *ctx, struct err *e)
{
	struct passwd *pw = getpwuid(geteuid());
	struct pg *pg;

	if (pw == NULL)
		return err_set(e, ERR_NOTFOUND, "uid %d has no name: add the OS user", (int)geteuid());
	pg = mem_alloc(sizeof *pg);
	str_copy(pg->user, sizeof pg->user, pw->pw_name);
	ctx->own = pg;
	/* Tools must speak the language that is parsed here, and no PG* variable may redirect a connection. */
	if (setenv("LC_ALL", "C", 1) != 0 || unsetenv("PGHOST") != 0 || unsetenv("PGOPTIONS") != 0 ||
	    unsetenv("PGSERVICE") != 0 || unsetenv("PGDATA") != 0)
		return err_sys(e, errno, "environment");
	return ERR_OK;
}

static void close_driver(struct driver_ctx *ctx)
{
	struct pg *pg = pg_of(ctx);

	if (pg != NULL)
		pg_disconnect(pg);
	free(pg);
	ctx->own = NULL;
}

const struct driver driver_postgresql = {
        .name = "postgresql",
        .fast_signal = SIGINT,
        .immediate_signal = SIGQUIT,
        .program = "postgres",
        .is_fenced = is_fenced,
        .open = open_driver,
        .close = close_driver,
        .probe = pg_probe,
        .peers = pg_peers,
        .create = {pg_create, 10 * MINUTES},
        .start = {pg_start, 1 * MINUTES},
        .promote = {pg_promote, 1 * MINUTES},
        .follow = {pg_follow, 1 * MINUTES},
        .detach = {pg_detach, 10000},
        .sync_set = {pg_sync_set, 15000},
        .checkpoint = {pg_checkpoint, 10 * MINUTES},
        .rewind = {pg_rewind, 2 * HOURS},
        .rebuild = {pg_rebuild, 24 * HOURS},
};
