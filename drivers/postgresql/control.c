#include "drivers/file.h"
#include "drivers/postgresql/pg.h"
#include "drivers/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROLDATA_LIMIT_MS 800
#define VERSION_LIMIT_MS     5000

int pg_find_program(const struct driver_ctx *ctx, const char *name, char *buf, struct err *e)
{
	snprintf(buf, DRIVER_PATH_SIZE, "%s/%s", ctx->inst->bin_dir, name);
	if (access(buf, X_OK) != 0)
		return err_set(e, ERR_NOTFOUND,
		               "program \"%s\" is missing (%s): set bin_dir of the instance of group \"%s\" in node.yaml to "
		               "the "
		               "folder of PostgreSQL's programs",
		               buf, strerror(errno), ctx->inst->group);
	return ERR_OK;
}

/* The value of a "Name:   value" line into buf; false when there is none. */
static bool find_value(const char *text, const char *name, char *buf, size_t cap)
{
	const char *at = strstr(text, name);
	size_t len;

	if (at == NULL)
		return false;
	at += strlen(name);
	at += strspn(at, " \t");
	len = strcspn(at, "\n");
	if (len >= cap)
		return false;
	memcpy(buf, at, len);
	buf[len] = '\0';
	return true;
}

static bool find_lsn(const char *text, const char *name, uint64_t *ret)
{
	char value[64];
	unsigned high, low;

	if (!find_value(text, name, value, sizeof value) || sscanf(value, "%X/%X", &high, &low) != 2)
		return false;
	*ret = (uint64_t)high << 32 | low;
	return true;
}

int pg_parse_control(const char *text, struct pg_control *ret, struct err *e)
{
	struct pg_control c = {0};
	char tli[32], min_tli[32];
	uint64_t checkpoint, min;

	if (!find_value(text, "Database system identifier:", c.system_id, sizeof c.system_id) ||
	    !find_value(text, "Database cluster state:", c.state, sizeof c.state) ||
	    !find_lsn(text, "Latest checkpoint location:", &checkpoint) ||
	    !find_value(text, "Latest checkpoint's TimeLineID:", tli, sizeof tli) ||
	    !find_lsn(text, "Minimum recovery ending location:", &min) ||
	    !find_value(text, "Min recovery ending loc's timeline:", min_tli, sizeof min_tli))
		return err_set(e, ERR_PROTOCOL, "pg_controldata's output is not understood: is LC_ALL=C honoured?");
	c.position = min > checkpoint ? min : checkpoint;
	c.timeline = (uint32_t)strtoul(tli, NULL, 10);
	if (min > checkpoint && strtoul(min_tli, NULL, 10) > c.timeline)
		c.timeline = (uint32_t)strtoul(min_tli, NULL, 10);
	c.is_clean = strcmp(c.state, "shut down") == 0 || strcmp(c.state, "shut down in recovery") == 0;
	*ret = c;
	return ERR_OK;
}

int pg_read_control(struct driver_ctx *ctx, const char *data_dir, struct pg_control *ret, struct err *e)
{
	char program[DRIVER_PATH_SIZE];
	const char *argv[] = {program, "-D", data_dir, NULL};
	struct tool t = {.argv = argv, .limit_ms = CONTROLDATA_LIMIT_MS};
	struct buf out = {0};
	int rc;

	rc = pg_find_program(ctx, "pg_controldata", program, e);
	if (rc == ERR_OK)
		rc = tool_run(&t, &out, e);
	if (rc == ERR_OK)
		rc = pg_parse_control(out.data != NULL ? out.data : "", ret, e);
	buf_done(&out);
	return rc;
}

int pg_check_system_id(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct pg_control c;
	int rc;

	if (order->system_id[0] == '\0')
		return ERR_OK;
	rc = pg_read_control(ctx, ctx->inst->data_dir, &c, e);
	if (rc == ERR_OK && strcmp(c.system_id, order->system_id) != 0)
		return err_set(e, ERR_REFUSED,
		               "data directory \"%s\" belongs to another database (system identifier %s, the group's is %s): "
		               "set data_dir right, or rebuild this instance",
		               ctx->inst->data_dir, c.system_id, order->system_id);
	return rc;
}

int pg_check_version(struct driver_ctx *ctx, unsigned *ret_major, struct err *e)
{
	char program[DRIVER_PATH_SIZE], path[DRIVER_PATH_SIZE];
	const char *argv[] = {program, "--version", NULL};
	struct tool t = {.argv = argv, .limit_ms = VERSION_LIMIT_MS};
	struct buf out = {0}, file = {0};
	unsigned major = 0, have = 0;
	int rc;

	rc = pg_find_program(ctx, "postgres", program, e);
	if (rc == ERR_OK)
		rc = tool_run(&t, &out, e);
	if (rc == ERR_OK && (out.data == NULL || sscanf(out.data, "postgres (PostgreSQL) %u", &major) != 1 || major < 13))
		rc = err_set(e, ERR_REFUSED, "\"%s\" is not PostgreSQL 13 or later: %.100s", program,
		             out.data != NULL ? out.data : "");
	snprintf(path, sizeof path, "%s/PG_VERSION", ctx->inst->data_dir);
	if (rc == ERR_OK && file_read_tail(path, 16, &file, NULL) == ERR_OK && file.len > 0) {
		have = (unsigned)strtoul(file.data, NULL, 10);
		if (have != major)
			rc = err_set(e, ERR_REFUSED,
			             "data directory \"%s\" is of PostgreSQL %u, the programs in \"%s\" are %u: set bin_dir to "
			             "version %u",
			             ctx->inst->data_dir, have, ctx->inst->bin_dir, major, have);
	}
	buf_done(&out);
	buf_done(&file);
	if (rc == ERR_OK)
		*ret_major = major;
	return rc;
}
