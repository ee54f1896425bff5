#include "core/base/clock.h"
#include "drivers/file.h"
#include "drivers/postgresql/pg.h"
#include "drivers/procs.h"
#include "drivers/tool.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONNECT_LIMIT_MS 300
#define START_ANSWER_MS  5000
#define LOG_TAIL         8192
#define NEEDED_SETTINGS  5 /* as many as PostgreSQL compares */

bool pg_has_cluster(const struct driver_ctx *ctx)
{
	char path[DRIVER_PATH_SIZE];

	snprintf(path, sizeof path, "%s/global/pg_control", ctx->inst->data_dir);
	return file_exists(path);
}

int pg_mark_standby(const char *data_dir, struct err *e)
{
	char path[DRIVER_PATH_SIZE];

	snprintf(path, sizeof path, "%s/recovery.signal", data_dir);
	if (file_remove(path, e) != ERR_OK)
		return (int)e->code;
	snprintf(path, sizeof path, "%s/standby.signal", data_dir);
	return file_exists(path) ? file_sync_parent(path, e) : file_write(path, "", 0, e);
}

int pg_check_whole(const struct driver_ctx *ctx, struct err *e)
{
	static const char *const markers[][2] = {{PG_REWINDING, "a rewind"},
	                                         {PG_REBUILDING, "a rebuild"},
	                                         {PG_CREATING, "the creation of the database"}};
	char path[DRIVER_PATH_SIZE];
	size_t i;

	for (i = 0; i < sizeof markers / sizeof markers[0]; i++)
		if (file_exists(driver_path(ctx, markers[i][0], path)))
			return err_set(e, ERR_REFUSED, "%s was interrupted and left \"%s\" unusable: rebuild this instance",
			               markers[i][1], ctx->inst->data_dir);
	if (!pg_has_cluster(ctx))
		return err_set(e, ERR_REFUSED, "\"%s\" holds no database: create or rebuild this instance",
		               ctx->inst->data_dir);
	return ERR_OK;
}

int pg_require_stopped(const struct driver_ctx *ctx, struct err *e)
{
	if (ctx->server_pid != 0)
		return err_set(e, ERR_REFUSED, "the server is running: stop it first");
	return ERR_OK;
}

/* Where process numbers are small and reused (containers), the number in a dead server's postmaster.pid may belong to somebody
 * else and PostgreSQL would refuse to start. Whether a server runs here is known better: by the working directories of all
 * processes. */
static int remove_stale_pid_file(const struct driver_ctx *ctx, struct err *e)
{
	char path[DRIVER_PATH_SIZE], real[PATH_MAX];

	if (procs_find_main(procs_real_dir(ctx->inst->data_dir, real), "postgres") != 0)
		return ERR_OK;
	snprintf(path, sizeof path, "%s/postmaster.pid", ctx->inst->data_dir);
	return file_remove(path, e);
}

/* The server is gone as soon as its pidfd is readable, reaped or not. */
static bool is_alive(pid_t pid, int wait_ms)
{
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd p = {fd, POLLIN, 0};
	bool is_running;

	if (fd < 0)
		return false;
	is_running = poll(&p, 1, wait_ms) == 0;
	close(fd);
	return is_running;
}

/* What the server wrote to its log since it was started. */
static void read_log(const struct driver_ctx *ctx, struct buf *text)
{
	char path[DRIVER_PATH_SIZE];
	char *at, *start;

	if (file_read_tail(driver_path(ctx, PG_LOG, path), LOG_TAIL, text, NULL) != ERR_OK || text->data == NULL)
		return;
	start = text->data;
	for (at = text->data; (at = strstr(at, "starting PostgreSQL")) != NULL; at++)
		start = at;
	text->len -= (size_t)(start - text->data);
	memmove(text->data, start, text->len + 1);
}

static int explain_death(const struct driver_ctx *ctx, const struct buf *text, struct err *e)
{
	const char *at = text->data != NULL ? strstr(text->data, "FATAL:") : NULL;

	if (at == NULL && text->data != NULL)
		at = strstr(text->data, "PANIC:");
	if (at == NULL)
		at = "its log does not say why";
	return err_set(e, ERR_IO, "the server ended while it was starting: %.*s (%s/" PG_LOG ")", (int)strcspn(at, "\n"), at,
	               ctx->state_dir);
}

/* ERR_AMBIGUOUS: another start will go better. */
static int on_death(struct driver_ctx *ctx, struct err *e)
{
	struct buf text = {0};
	int rc;

	read_log(ctx, &text);
	rc = explain_death(ctx, &text, e);
	if (text.data != NULL && pg_learn_needed(ctx, text.data))
		rc = e->code = ERR_AMBIGUOUS;
	buf_done(&text);
	return rc;
}

static int wait_answer(struct driver_ctx *ctx, int limit_ms, struct err *e)
{
	int64_t until_ms = clock_now_ms() + limit_ms;
	struct err why = ERR_INIT;

	for (;;) {
		if (pg_connect(ctx, CONNECT_LIMIT_MS, &why) == ERR_OK)
			return ERR_OK;
		if (!is_alive(ctx->server_pid, 5)) {
			ctx->server_pid = 0;
			return on_death(ctx, e);
		}
		if (clock_now_ms() >= until_ms)
			return err_set(e, ERR_TIMEOUT, "the server runs but answers no queries yet: %.200s", why.text);
	}
}

int pg_stop_and_wait(struct driver_ctx *ctx, int limit_ms, struct err *e)
{
	pg_disconnect(pg_of(ctx));
	if (ctx->server_pid == 0)
		return ERR_OK;
	kill(ctx->server_pid, SIGINT);
	if (is_alive(ctx->server_pid, limit_ms))
		return err_set(e, ERR_TIMEOUT, "the server has not stopped within %d ms", limit_ms);
	ctx->server_pid = 0;
	return ERR_OK;
}

int pg_run_single(struct driver_ctx *ctx, const char *statements, int limit_ms, struct err *e)
{
	char program[DRIVER_PATH_SIZE], conf[DRIVER_PATH_SIZE + 16], path[DRIVER_PATH_SIZE];
	const char *argv[] = {program, "--single",         "-D", ctx->inst->data_dir,          "-c",       conf,
	                      "-c",    "exit_on_error=on", "-c", "synchronous_standby_names=", "postgres", NULL};
	struct tool t = {.argv = argv, .input = statements, .limit_ms = limit_ms};
	int rc;

	snprintf(conf, sizeof conf, "config_file=%s", driver_path(ctx, PG_CONF, path));
	if ((rc = pg_find_program(ctx, "postgres", program, e)) != ERR_OK || (rc = pg_settings_write(ctx, e)) != ERR_OK ||
	    (rc = remove_stale_pid_file(ctx, e)) != ERR_OK)
		return rc;
	return tool_run(&t, NULL, e);
}

static int prepare(struct driver_ctx *ctx, const struct dbd_msg *order, bool has_peer, struct err *e)
{
	struct pg_role role;
	unsigned major;
	int rc;

	if ((rc = pg_check_version(ctx, &major, e)) != ERR_OK || (rc = pg_check_whole(ctx, e)) != ERR_OK ||
	    (rc = pg_check_system_id(ctx, order, e)) != ERR_OK || (rc = pg_role_read(ctx, &role, e)) != ERR_OK)
		return rc;
	role.upstream[0] = '\0';
	if (has_peer && (rc = pg_role_set_upstream(&role, order, e)) != ERR_OK)
		return rc;
	if ((rc = pg_role_write(ctx, &role, NULL, e)) != ERR_OK || (rc = pg_settings_write(ctx, e)) != ERR_OK ||
	    (rc = pg_mark_standby(ctx->inst->data_dir, e)) != ERR_OK)
		return rc;
	return remove_stale_pid_file(ctx, e);
}

static int run_server(struct driver_ctx *ctx, struct err *e)
{
	char program[DRIVER_PATH_SIZE], conf[DRIVER_PATH_SIZE + 16], path[DRIVER_PATH_SIZE];
	const char *argv[] = {program, "-D", ctx->inst->data_dir, "-c", conf, NULL};
	int rc = pg_find_program(ctx, "postgres", program, e);

	snprintf(conf, sizeof conf, "config_file=%s", driver_path(ctx, PG_CONF, path));
	return rc == ERR_OK ? ctx->run_server(ctx, argv, e) : rc;
}

int pg_start_fenced(struct driver_ctx *ctx, const struct dbd_msg *order, bool has_peer, int limit_ms, struct err *e)
{
	int i, rc = prepare(ctx, order, has_peer, e);

	for (i = 0; rc == ERR_OK && i <= NEEDED_SETTINGS; i++) {
		rc = run_server(ctx, e);
		if (rc == ERR_OK)
			rc = wait_answer(ctx, limit_ms, e);
		if (rc != ERR_AMBIGUOUS)
			return rc;
		rc = ERR_OK;
	}
	return rc == ERR_OK
	               ? err_set(e, ERR_IO, "the server refuses its settings again and again: see %s/" PG_LOG, ctx->state_dir)
	               : rc;
}

int pg_start(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	bool has_peer = order->peer_node[0] != '\0', is_standby;
	int rc;

	if (ctx->server_pid != 0) {
		rc = pg_is_standby(ctx, &is_standby, e);
		if (rc == ERR_OK && !is_standby)
			return err_set(e, ERR_REFUSED, "the server is running as a primary: stop it first");
		return rc == ERR_OK && has_peer ? pg_follow(ctx, order, e) : rc;
	}
	rc = pg_start_fenced(ctx, order, has_peer, START_ANSWER_MS, e);
	if (rc != ERR_TIMEOUT)
		return rc;
	/* Fenced and running is what was asked for; a standby becomes readable when it has received enough. */
	str_copy(ctx->note, sizeof ctx->note, e->text);
	return ERR_OK;
}
