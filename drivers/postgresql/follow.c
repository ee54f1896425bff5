#include "core/base/clock.h"
#include "drivers/postgresql/pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FOLLOW_LIMIT_MS 5000
#define DETACH_LIMIT_MS 8000
#define QUIET_POLLS     3
#define QUIET_POLL_MS   10

static int require_standby(struct driver_ctx *ctx, const char *why, struct err *e)
{
	bool is_standby;
	int rc = pg_is_standby(ctx, &is_standby, e);

	if (rc == ERR_OK && !is_standby)
		return err_set(e, ERR_REFUSED, "the server is a primary: %s", why);
	return rc;
}

/* Wait until no receiver is connected to anybody but the peer. Whether the peer can be reached is for the reports to show. */
static int wait_repointed(struct driver_ctx *ctx, const struct pg_role *role, struct err *e)
{
	int64_t until_ms = clock_now_ms() + FOLLOW_LIMIT_MS;
	char sql[512];
	bool is_right;
	int rc;

	snprintf(sql, sizeof sql,
	         "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE sender_host <> '%s' OR sender_port <> %u)",
	         role->host, role->port);
	for (;;) {
		rc = pg_query_true(ctx, sql, &is_right, e);
		if (rc != ERR_OK || is_right)
			return rc;
		if (clock_now_ms() >= until_ms)
			return err_set(e, ERR_TIMEOUT, "the server still receives from its former upstream");
		usleep(QUIET_POLL_MS * 1000);
	}
}

int pg_follow(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct pg_role role;
	int rc;

	if (ctx->server_pid == 0)
		return pg_start(ctx, order, e);
	if ((rc = require_standby(ctx, "stop it, and rewind it if it has diverged, before it follows another one", e)) !=
	            ERR_OK ||
	    (rc = pg_check_system_id(ctx, order, e)) != ERR_OK || (rc = pg_role_read(ctx, &role, e)) != ERR_OK ||
	    (rc = pg_role_set_upstream(&role, order, e)) != ERR_OK || (rc = pg_role_write(ctx, &role, NULL, e)) != ERR_OK ||
	    (rc = pg_role_reload(ctx, &role, e)) != ERR_OK)
		return rc;
	return wait_repointed(ctx, &role, e);
}

/* Nothing more can arrive: no receiver, seen several times in a row because recovery may have been about to start one when it
 * was told. And everything that was received before this start of the server has been found: either a receiver of this start
 * has counted it, or recovery has read all files and waits for more. */
static int wait_final(struct driver_ctx *ctx, struct err *e)
{
	static const char sql[] = "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver) AND (pg_last_wal_receive_lsn() IS NOT "
	                          "NULL OR EXISTS (SELECT FROM "
	                          "pg_stat_activity WHERE backend_type = 'startup' AND wait_event IN "
	                          "('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')))";
	int64_t until_ms = clock_now_ms() + DETACH_LIMIT_MS;
	int quiet = 0, rc;
	bool is_quiet;

	while (quiet < QUIET_POLLS) {
		rc = pg_query_true(ctx, sql, &is_quiet, e);
		if (rc != ERR_OK)
			return rc;
		quiet = is_quiet ? quiet + 1 : 0;
		if (clock_now_ms() >= until_ms)
			return err_set(e, ERR_TIMEOUT, "the server has not come to the end of what it received");
		if (quiet < QUIET_POLLS)
			usleep(QUIET_POLL_MS * 1000);
	}
	return ERR_OK;
}

int pg_detach(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct pg_role role;
	int rc;

	(void)order;
	if (ctx->server_pid == 0)
		return err_set(e, ERR_REFUSED, "the server is stopped: it receives nothing, and its position is in its report");
	if ((rc = require_standby(ctx, "it receives from nobody", e)) != ERR_OK || (rc = pg_role_read(ctx, &role, e)) != ERR_OK)
		return rc;
	role.upstream[0] = '\0';
	if ((rc = pg_role_write(ctx, &role, NULL, e)) != ERR_OK || (rc = pg_role_reload(ctx, &role, e)) != ERR_OK)
		return rc;
	return wait_final(ctx, e);
}
