#include "core/base/clock.h"
#include "drivers/postgresql/pg.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_MS       300
#define SETTLE_LIMIT_MS 10000

static int wait_true(struct driver_ctx *ctx, const char *sql, int64_t until_ms, const char *failure, struct err *e)
{
	bool is_true;
	int rc;

	for (;;) {
		rc = pg_query_true(ctx, sql, &is_true, e);
		if (rc != ERR_OK || is_true)
			return rc;
		if (clock_now_ms() >= until_ms)
			return err_set(e, ERR_TIMEOUT, "%s", failure);
		usleep(PG_POLL_MS * 1000);
	}
}

/* Whether commits wait at all is a flag in shared memory that only the checkpointer sets, when it gets round to reading the new
 * settings: at once when idle or pausing between writes, but not while it syncs files. */
int pg_wait_checkpointer(struct driver_ctx *ctx, int limit_ms, struct err *e)
{
	return wait_true(ctx,
	                 "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND wait_event IN"
	                 " ('CheckpointerMain', 'CheckpointWriteDelay'))",
	                 clock_now_ms() + limit_ms,
	                 "the checkpointer is too busy to take over the new sync members: is the disk overloaded?", e);
}

/* Each sender of WAL decides for itself whether its standby counts: all connected ones must say what role wants of them. */
static int wait_senders(struct driver_ctx *ctx, const struct pg_role *role, struct err *e)
{
	struct buf sql = {0};
	int rc;

	buf_printf(&sql,
	           "SELECT coalesce(bool_and((sync_state IN ('sync', 'quorum')) = (application_name = ANY "
	           "(string_to_array('%s', ',')))), true)"
	           " FROM pg_stat_replication WHERE state IN ('streaming', 'catchup')",
	           role->sync_members);
	rc = wait_true(ctx, sql.data, clock_now_ms() + SETTLE_LIMIT_MS,
	               "a sender of WAL does not take over the new sync members", e);
	buf_done(&sql);
	return rc;
}

int pg_sync_settle(struct driver_ctx *ctx, const struct pg_role *role, int settle_ms, uint64_t *ret_position, struct err *e)
{
	char text[32];
	unsigned high, low;
	int rc;

	/* The signal reaches sessions first, the checkpointer and the senders a moment later. */
	usleep((unsigned)settle_ms * 1000);
	if ((rc = pg_wait_checkpointer(ctx, SETTLE_LIMIT_MS, e)) != ERR_OK || (rc = wait_senders(ctx, role, e)) != ERR_OK ||
	    (rc = pg_query_text(ctx, "SELECT pg_current_wal_lsn()", text, sizeof text, e)) != ERR_OK)
		return rc;
	if (sscanf(text, "%X/%X", &high, &low) != 2)
		return err_set(e, ERR_PROTOCOL, "\"%s\" is not a WAL position", text);
	*ret_position = (uint64_t)high << 32 | low;
	return ERR_OK;
}

int pg_sync_set(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct pg_role role;
	bool is_standby;
	int rc;

	if (ctx->server_pid == 0)
		return err_set(e, ERR_REFUSED, "the server is stopped: sync members are set when it is promoted");
	rc = pg_is_standby(ctx, &is_standby, e);
	if (rc == ERR_OK && is_standby)
		return err_set(e, ERR_REFUSED, "the server is a replica: sync members are set when it is promoted");
	if (rc != ERR_OK || (rc = pg_role_read(ctx, &role, e)) != ERR_OK ||
	    (rc = pg_role_set_sync(&role, order, e)) != ERR_OK || (rc = pg_role_write(ctx, &role, NULL, e)) != ERR_OK ||
	    (rc = pg_role_reload(ctx, &role, e)) != ERR_OK)
		return rc;
	return pg_sync_settle(ctx, &role, SETTLE_MS, &ctx->sync_since, e);
}

int pg_checkpoint(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	(void)order;
	if (ctx->server_pid == 0)
		return err_set(e, ERR_REFUSED, "the server is stopped");
	return pg_query(ctx, "CHECKPOINT", 10 * 60000, NULL, e);
}
