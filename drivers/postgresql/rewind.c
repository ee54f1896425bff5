#include "drivers/file.h"
#include "drivers/postgresql/pg.h"
#include "drivers/tool.h"

#include <stdio.h>
#include <string.h>

#define REWIND_LIMIT_MS   (110 * 60000)
#define RECOVERY_LIMIT_MS 600000
#define STOP_LIMIT_MS     60000

/* pg_rewind reads the source's timeline from its control file, which after a promotion still says the old one until the next
 * checkpoint: it would find nothing to do and leave the divergence in place. */
static int checkpoint_peer(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	PGconn *conn;
	PGresult *r;
	int rc = pg_connect_peer(ctx, order, &conn, e);

	if (rc != ERR_OK)
		return rc;
	r = PQexec(conn, "CHECKPOINT");
	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		rc = err_set(e, ERR_SQL, "checkpoint at node \"%s\": %.200s", order->peer_node, PQerrorMessage(conn));
	PQclear(r);
	PQfinish(conn);
	return rc;
}

/* A former primary recovers in single-user mode, whose closing checkpoint marks the divergence for pg_rewind even when all that
 * differs is a record without data. A standby cannot run that way: it is started fenced, following nobody, and stopped. */
static int make_clean(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char path[DRIVER_PATH_SIZE];
	struct pg_control c;
	int rc = pg_read_control(ctx, ctx->inst->data_dir, &c, e);

	if (rc != ERR_OK || c.is_clean)
		return rc;
	snprintf(path, sizeof path, "%s/standby.signal", ctx->inst->data_dir);
	if (!file_exists(path))
		return pg_run_single(ctx, "", RECOVERY_LIMIT_MS, e);
	rc = pg_start_fenced(ctx, order, false, RECOVERY_LIMIT_MS, e);
	if (pg_stop_and_wait(ctx, STOP_LIMIT_MS, rc == ERR_OK ? e : NULL) != ERR_OK && rc == ERR_OK)
		rc = (int)e->code;
	return rc;
}

static int run_pg_rewind(struct driver_ctx *ctx, const struct dbd_msg *order, bool is_rehearsal, struct err *e)
{
	char program[DRIVER_PATH_SIZE], source[256];
	const char *argv[] = {program,
	                      "-D",
	                      ctx->inst->data_dir,
	                      "--source-server",
	                      source,
	                      "--no-ensure-shutdown",
	                      is_rehearsal ? "--dry-run" : NULL,
	                      NULL};
	struct tool t = {.argv = argv, .limit_ms = REWIND_LIMIT_MS};
	int rc = pg_find_program(ctx, "pg_rewind", program, e);

	snprintf(source, sizeof source,
	         "host=%s port=%u user=%s dbname=postgres connect_timeout=5 tcp_user_timeout=30000 application_name=mha-rewind",
	         order->peer_host, order->peer_port, ctx->inst->replication_user);
	return rc == ERR_OK ? tool_run(&t, NULL, e) : rc;
}

/* The rehearsal finds what makes a rewind impossible (no common history, WAL gone, no access) while the directory is still
 * whole; from the marker on it is usable only if the rewind ends well. */
static int rewind_files(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char marker[DRIVER_PATH_SIZE];
	int rc = run_pg_rewind(ctx, order, true, e);

	if (rc != ERR_OK)
		return err_wrap(e, "cannot be rewound, rebuild it");
	driver_path(ctx, PG_REWINDING, marker);
	if ((rc = file_write(marker, "", 0, e)) != ERR_OK)
		return rc;
	if ((rc = run_pg_rewind(ctx, order, false, e)) != ERR_OK)
		return err_wrap(e, "failed half-way, rebuild it");
	rc = pg_mark_standby(ctx->inst->data_dir, e);
	return rc == ERR_OK ? file_remove(marker, e) : rc;
}

int pg_rewind(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct pg_role role;
	unsigned major;
	int rc;

	if ((rc = pg_require_stopped(ctx, e)) != ERR_OK || (rc = pg_check_version(ctx, &major, e)) != ERR_OK ||
	    (rc = pg_check_whole(ctx, e)) != ERR_OK || (rc = pg_check_system_id(ctx, order, e)) != ERR_OK ||
	    (rc = pg_role_read(ctx, &role, e)) != ERR_OK || (rc = pg_role_set_upstream(&role, order, e)) != ERR_OK ||
	    (rc = checkpoint_peer(ctx, order, e)) != ERR_OK || (rc = make_clean(ctx, order, e)) != ERR_OK ||
	    (rc = rewind_files(ctx, order, e)) != ERR_OK)
		return rc;
	return pg_role_write(ctx, &role, NULL, e);
}
