#include "drivers/file.h"
#include "drivers/postgresql/pg.h"
#include "drivers/tool.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLONE_LIMIT_MS (23 * 60 * 60000)
/* Inside the data directory, so that it works where that is a mount point or its parent belongs to somebody else. */
#define CLONE_DIR ".mha-new"
#define OLD_DIR   ".mha-old"

static int check_tablespaces(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	PGconn *conn;
	PGresult *r;
	int rc = pg_connect_peer(ctx, order, &conn, e);

	if (rc != ERR_OK)
		return rc;
	r = PQexec(conn, "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') LIMIT 1");
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		rc = err_set(e, ERR_SQL, "node \"%s\": %.200s", order->peer_node, PQerrorMessage(conn));
	else if (PQntuples(r) > 0)
		rc = err_set(e, ERR_REFUSED,
		             "node \"%s\" uses tablespace \"%s\": instances with tablespaces cannot be rebuilt automatically, "
		             "clone this one by hand with pg_basebackup --tablespace-mapping",
		             order->peer_node, PQgetvalue(r, 0, 0));
	PQclear(r);
	PQfinish(conn);
	return rc;
}

static int clone_peer(struct driver_ctx *ctx, const struct dbd_msg *order, const char *dir, struct err *e)
{
	char program[DRIVER_PATH_SIZE], source[256];
	const char *argv[] = {program, "-D", dir, "-d", source, "-X", "stream", "--checkpoint=fast", "--no-password", NULL};
	struct tool t = {.argv = argv, .limit_ms = CLONE_LIMIT_MS};
	int rc = pg_find_program(ctx, "pg_basebackup", program, e);

	snprintf(source, sizeof source, "host=%s port=%u user=%s connect_timeout=5 tcp_user_timeout=30000 gssencmode=disable",
	         order->peer_host, order->peer_port, ctx->inst->replication_user);
	return rc == ERR_OK ? tool_run(&t, NULL, e) : rc;
}

/* The clone is the right database, and fenced before it is in its place. */
static int check_clone(struct driver_ctx *ctx, const struct dbd_msg *order, const char *dir, struct err *e)
{
	struct pg_control c;
	int rc = pg_read_control(ctx, dir, &c, e);

	if (rc != ERR_OK)
		return rc;
	if (order->system_id[0] != '\0' && strcmp(c.system_id, order->system_id) != 0)
		return err_set(e, ERR_REFUSED, "node \"%s\" serves another database (system identifier %s, the group's is %s)",
		               order->peer_node, c.system_id, order->system_id);
	return pg_mark_standby(dir, e);
}

/* Every entry of one directory but our own two into another one of the same file system. */
static int move_entries(const char *from, const char *to, struct err *e)
{
	char old_path[DRIVER_PATH_SIZE * 2], new_path[DRIVER_PATH_SIZE * 2] = "";
	DIR *dir = opendir(from);
	struct dirent *d;
	int rc = ERR_OK;

	if (dir == NULL)
		return err_sys(e, errno, "open \"%s\"", from);
	while (rc == ERR_OK && (d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || strcmp(d->d_name, CLONE_DIR) == 0 ||
		    strcmp(d->d_name, OLD_DIR) == 0 || strcmp(d->d_name, "lost+found") == 0)
			continue;
		snprintf(old_path, sizeof old_path, "%s/%s", from, d->d_name);
		snprintf(new_path, sizeof new_path, "%s/%s", to, d->d_name);
		if (rename(old_path, new_path) != 0)
			rc = err_sys(e, errno, "move \"%s\" to \"%s\"", old_path, to);
	}
	closedir(dir);
	return rc == ERR_OK && new_path[0] != '\0' ? file_sync_parent(new_path, e) : rc;
}

/* Renames only. The marker makes a half-done exchange known; rebuilding again is the way out of it. */
static int exchange(struct driver_ctx *ctx, const char *clone, const char *old, struct err *e)
{
	const char *data_dir = ctx->inst->data_dir;
	char marker[DRIVER_PATH_SIZE], other[DRIVER_PATH_SIZE];
	int rc;

	driver_path(ctx, PG_REBUILDING, marker);
	if ((rc = file_write(marker, "", 0, e)) != ERR_OK || (rc = file_remove_tree(old, true, e)) != ERR_OK ||
	    (rc = file_make_dirs(old, 0700, e)) != ERR_OK || (rc = move_entries(data_dir, old, e)) != ERR_OK ||
	    (rc = move_entries(clone, data_dir, e)) != ERR_OK || (rc = file_remove_tree(clone, true, e)) != ERR_OK ||
	    (rc = file_remove(driver_path(ctx, PG_REWINDING, other), e)) != ERR_OK ||
	    (rc = file_remove(driver_path(ctx, PG_CREATING, other), e)) != ERR_OK || (rc = file_remove(marker, e)) != ERR_OK)
		return rc;
	return file_remove_tree(old, true, e);
}

static int prepare_dir(struct driver_ctx *ctx, const char *clone, struct err *e)
{
	const char *data_dir = ctx->inst->data_dir;
	char path[DRIVER_PATH_SIZE];
	/* Half-done work of our own may be thrown away, a stranger's files may not. */
	bool is_ours = file_exists(driver_path(ctx, PG_REBUILDING, path)) || file_exists(driver_path(ctx, PG_CREATING, path)) ||
	               file_exists(clone);
	int rc = file_make_dirs(data_dir, 0700, e);

	if (rc == ERR_OK && !is_ours && !pg_has_cluster(ctx) && !file_is_empty_dir(data_dir))
		rc = err_set(e, ERR_REFUSED,
		             "data directory \"%s\" is neither empty nor a database: empty it or name another one", data_dir);
	if (rc == ERR_OK && chmod(data_dir, 0700) != 0)
		rc = err_sys(e, errno, "make \"%s\" private", data_dir);
	return rc == ERR_OK ? file_remove_tree(clone, true, e) : rc;
}

int pg_rebuild(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char clone[DRIVER_PATH_SIZE], old[DRIVER_PATH_SIZE];
	struct pg_role role;
	int rc;

	snprintf(clone, sizeof clone, "%s/" CLONE_DIR, ctx->inst->data_dir);
	snprintf(old, sizeof old, "%s/" OLD_DIR, ctx->inst->data_dir);
	if ((rc = pg_require_stopped(ctx, e)) != ERR_OK || (rc = pg_role_read(ctx, &role, e)) != ERR_OK ||
	    (rc = pg_role_set_upstream(&role, order, e)) != ERR_OK || (rc = check_tablespaces(ctx, order, e)) != ERR_OK ||
	    (rc = prepare_dir(ctx, clone, e)) != ERR_OK)
		return rc;
	rc = clone_peer(ctx, order, clone, e);
	if (rc == ERR_OK)
		rc = check_clone(ctx, order, clone, e);
	if (rc != ERR_OK) {
		if (file_remove_tree(clone, true, NULL) != ERR_OK)
			return err_wrap(e, "(\"%s\" remains)", clone);
		return rc;
	}
	if ((rc = exchange(ctx, clone, old, e)) != ERR_OK || (rc = pg_role_write(ctx, &role, NULL, e)) != ERR_OK)
		return rc;
	return pg_settings_write(ctx, e);
}
