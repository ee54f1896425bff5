#include "core/base/clock.h"
#include "drivers/postgresql/pg.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_LIMIT_MS  30000
#define PROMOTE_LIMIT_MS 30000
#define TOLD_MS          10

/* Sync members first: the server must know them before it accepts its first write. */
static int set_role(struct driver_ctx *ctx, const struct dbd_msg *order, struct pg_role *role, struct err *e)
{
	bool has_changed;
	int rc;

	if ((rc = pg_role_read(ctx, role, e)) != ERR_OK || (rc = pg_role_set_sync(role, order, e)) != ERR_OK)
		return rc;
	role->upstream[0] = '\0';
	if ((rc = pg_role_write(ctx, role, &has_changed, e)) != ERR_OK || (rc = pg_role_reload(ctx, role, e)) != ERR_OK)
		return rc;
	if (has_changed)
		usleep(TOLD_MS * 1000);
	return pg_wait_checkpointer(ctx, ANSWER_LIMIT_MS, e);
}

/* pg_promote(wait) looks every 100 ms only; the end of recovery is seen here within milliseconds. What was received is replayed
 * first; the server does that by itself. */
static int promote_standby(struct driver_ctx *ctx, struct err *e)
{
	int64_t until_ms = clock_now_ms() + PROMOTE_LIMIT_MS;
	bool is_standby = true;
	int rc;

	ctx->is_committed = true;
	rc = pg_query(ctx, "SELECT pg_promote(false)", 5000, NULL, e);
	while (rc == ERR_OK && is_standby) {
		usleep(PG_POLL_MS * 1000);
		rc = pg_is_standby(ctx, &is_standby, e);
		if (rc == ERR_OK && is_standby && clock_now_ms() >= until_ms)
			return err_set(e, ERR_TIMEOUT, "the server was told to become primary and is still recovering");
	}
	return rc;
}

int pg_promote(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct pg_role role;
	bool is_standby;
	int rc;

	if (ctx->server_pid == 0)
		rc = pg_start_fenced(ctx, order, false, ANSWER_LIMIT_MS, e);
	else
		rc = pg_check_system_id(ctx, order, e);
	if (rc != ERR_OK || (rc = pg_is_standby(ctx, &is_standby, e)) != ERR_OK ||
	    (rc = set_role(ctx, order, &role, e)) != ERR_OK)
		return rc;
	if (is_standby && (rc = promote_standby(ctx, e)) != ERR_OK)
		return rc;
	return pg_sync_settle(ctx, &role, 0, &ctx->sync_since, e);
}
