#include "drivers/file.h"
#include "drivers/postgresql/pg.h"
#include "drivers/procs.h"
#include "drivers/tool.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define INITDB_LIMIT_MS 120000
#define SINGLE_LIMIT_MS 300000

/* An interrupted initdb leaves a directory that looks half like a database; the marker says that it was empty before. */
static int run_initdb(struct driver_ctx *ctx, struct err *e)
{
	char program[DRIVER_PATH_SIZE], marker[DRIVER_PATH_SIZE];
	const char *argv[] = {program,
	                      "-D",
	                      ctx->inst->data_dir,
	                      "-U",
	                      pg_of(ctx)->user,
	                      "--data-checksums",
	                      "--encoding=UTF8",
	                      "--locale=C.UTF-8",
	                      "--auth-local=peer",
	                      "--auth-host=reject",
	                      NULL};
	struct tool t = {.argv = argv, .limit_ms = INITDB_LIMIT_MS};
	int rc;

	driver_path(ctx, PG_CREATING, marker);
	if ((rc = pg_find_program(ctx, "initdb", program, e)) != ERR_OK)
		return rc;
	if (file_exists(marker) && (rc = file_remove_tree(ctx->inst->data_dir, false, e)) != ERR_OK)
		return rc;
	if (!file_is_empty_dir(ctx->inst->data_dir))
		return err_set(e, ERR_REFUSED,
		               "data directory \"%s\" is neither empty nor a database: empty it or name another one",
		               ctx->inst->data_dir);
	if ((rc = file_write(marker, "", 0, e)) != ERR_OK || (rc = tool_run(&t, NULL, e)) != ERR_OK)
		return rc;
	return file_remove(marker, e);
}

/* name between marks, which are doubled inside it: an identifier or a string. */
static void add_quoted(struct buf *b, char mark, const char *name)
{
	buf_add(b, &mark, 1);
	for (; *name != '\0'; name++) {
		if (*name == mark)
			buf_add(b, &mark, 1);
		buf_add(b, name, 1);
	}
	buf_add(b, &mark, 1);
}

/* No exception may be caught here: exit_on_error ends the session at the first one, caught or not. */
static void add_login_role(struct buf *b, const char *name, const char *attribute)
{
	buf_puts(b, "DO $mha$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ");
	add_quoted(b, '\'', name);
	buf_puts(b, ") THEN CREATE ROLE ");
	add_quoted(b, '"', name);
	buf_puts(b, "; END IF; END$mha$;\nALTER ROLE ");
	add_quoted(b, '"', name);
	buf_printf(b, " LOGIN %s;\n", attribute);
}

/* The role for replication and for pg_rewind: no superuser, it may read the files that pg_rewind needs and ask for a
 * checkpoint. */
static void add_role_statements(struct driver_ctx *ctx, unsigned major, struct buf *b)
{
	static const char *const functions[] = {"pg_catalog.pg_ls_dir(text, boolean, boolean)",
	                                        "pg_catalog.pg_stat_file(text, boolean)",
	                                        "pg_catalog.pg_read_binary_file(text)",
	                                        "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)"};
	struct buf name = {0};
	size_t i;

	add_login_role(b, pg_of(ctx)->user, "SUPERUSER");
	add_login_role(b, ctx->inst->replication_user, "REPLICATION");
	add_quoted(&name, '"', ctx->inst->replication_user);
	for (i = 0; i < sizeof functions / sizeof functions[0]; i++)
		buf_printf(b, "GRANT EXECUTE ON FUNCTION %s TO %s;\n", functions[i], name.data);
	if (major >= 15)
		buf_printf(b, "GRANT pg_checkpoint TO %s;\n", name.data);
	buf_done(&name);
}

static int add_roles(struct driver_ctx *ctx, unsigned major, struct err *e)
{
	struct buf sql = {0};
	int rc;

	add_role_statements(ctx, major, &sql);
	rc = pg_run_single(ctx, sql.data, SINGLE_LIMIT_MS, e);
	buf_done(&sql);
	return rc == ERR_OK ? rc : err_wrap(e, "roles for replication");
}

static int check_adoptable(struct driver_ctx *ctx, bool *ret_is_done, struct err *e)
{
	char path[DRIVER_PATH_SIZE], real[PATH_MAX];
	int rc = pg_check_whole(ctx, e);

	if (rc != ERR_OK)
		return rc;
	if (procs_find_main(procs_real_dir(ctx->inst->data_dir, real), "postgres") != 0)
		return err_set(e, ERR_REFUSED, "a server that mha-dbd has not started runs on \"%s\": stop it first",
		               ctx->inst->data_dir);
	snprintf(path, sizeof path, "%s/standby.signal", ctx->inst->data_dir);
	*ret_is_done = file_exists(path);
	if (*ret_is_done && !file_exists(driver_path(ctx, PG_CONF, path)))
		return err_set(e, ERR_REFUSED,
		               "\"%s\" is a standby of some other server: promote it there, or name the primary's directory",
		               ctx->inst->data_dir);
	return ERR_OK;
}

/* Single-user mode instead of a server that listens somewhere: nobody can connect while the roles are made, and nothing is left
 * running. The standby mark is last: it says that all the rest is done. */
int pg_create(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char marker[DRIVER_PATH_SIZE];
	bool is_done = false;
	unsigned major;
	int rc;

	if ((rc = pg_require_stopped(ctx, e)) != ERR_OK || (rc = pg_check_version(ctx, &major, e)) != ERR_OK)
		return rc;
	if (!pg_has_cluster(ctx) || file_exists(driver_path(ctx, PG_CREATING, marker)))
		rc = run_initdb(ctx, e);
	if (rc != ERR_OK || (rc = check_adoptable(ctx, &is_done, e)) != ERR_OK ||
	    (rc = pg_check_system_id(ctx, order, e)) != ERR_OK || is_done)
		return rc;
	if ((rc = add_roles(ctx, major, e)) != ERR_OK)
		return rc;
	return pg_mark_standby(ctx->inst->data_dir, e);
}
