#include "drivers/worker.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"
#include "drivers/driver.h"
#include "drivers/epoch.h"
#include "drivers/work_msg.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RUN_LIMIT_MS 10000

struct worker {
	struct driver_ctx ctx;
	const struct driver *driver;
	char obj[64];
	char epoch_path[DRIVER_PATH_SIZE];
};

static int wait_packet(struct work_msg *m, int limit_ms, struct err *e)
{
	int64_t until = clock_now_ms() + limit_ms;

	for (;;) {
		int left = limit_ms < 0 ? -1 : (int)(until - clock_now_ms());
		struct pollfd p = {WORK_FD, POLLIN, 0};
		int rc;

		if (limit_ms >= 0 && left <= 0)
			return err_set(e, ERR_TIMEOUT, "the guard does not answer");
		if (poll(&p, 1, left) <= 0)
			continue;
		rc = seq_recv(WORK_FD, m, sizeof *m, e);
		if (rc != ERR_TIMEOUT)
			return rc;
	}
}

static int run_server(struct driver_ctx *ctx, const char *const *argv, struct err *e)
{
	struct work_msg m = {.type = WORK_RUN};
	size_t len = 0;
	int rc;

	for (; *argv != NULL; argv++) {
		size_t n = strlen(*argv) + 1;

		if (len + n > sizeof m.argv)
			return err_set(e, ERR_INVAL, "the server's command line is longer than %d bytes", WORK_ARGV_SIZE);
		memcpy(m.argv + len, *argv, n);
		len += n;
	}
	m.argv_len = (uint16_t)len;
	rc = seq_send(WORK_FD, &m, sizeof m, e);
	/* The guard may have told an epoch meanwhile; it is stored again with the next order. */
	do
		rc = rc == ERR_OK ? wait_packet(&m, RUN_LIMIT_MS, e) : rc;
	while (rc == ERR_OK && m.type != WORK_RAN);
	if (rc != ERR_OK)
		return rc;
	ctx->server_pid = m.server_pid;
	return m.rc == ERR_OK ? ERR_OK : err_set(e, (enum err_code)m.rc, "%s", m.order.text);
}

/* The epoch is on disk before anything is done in its name: after a crash in the middle an older order finds it there. */
static int run_verb(struct worker *w, const struct work_msg *ask, struct work_msg *ret, struct err *e)
{
	const struct dbd_msg *order = &ask->order;
	const struct driver_verb *v = driver_verb_of(w->driver, order->type);
	struct epochs seen = {ask->seen_epoch, 0};
	int rc;

	if (v == NULL)
		return err_set(e, ERR_PROTOCOL, "order %u is not a verb", order->type);
	if (order->epoch > seen.seen)
		seen.seen = order->epoch;
	rc = epoch_raise(w->epoch_path, seen, e);
	if (rc == ERR_OK)
		rc = v->run(&w->ctx, order, e);
	if (rc == ERR_OK && (order->type == DBD_REWIND || order->type == DBD_REBUILD))
		return epoch_forget_promotion(w->epoch_path, e);
	if (rc != ERR_OK || order->type != DBD_PROMOTE)
		return rc;
	seen.promoted = order->epoch;
	rc = epoch_raise(w->epoch_path, seen, e);
	if (rc == ERR_OK)
		ret->promoted_epoch = order->epoch;
	return rc;
}

static void probe(struct worker *w, struct dbd_report *ret)
{
	ret->received_age_ms = -1;
	w->driver->probe(&w->ctx, ret);
}

static void answer_verb(struct worker *w, const struct work_msg *ask, struct work_msg *ret)
{
	struct err e = ERR_INIT;

	w->ctx.is_committed = false;
	w->ctx.sync_since = 0;
	w->ctx.note[0] = '\0';
	ret->type = WORK_DONE;
	ret->rc = run_verb(w, ask, ret, &e);
	ret->is_committed = w->ctx.is_committed;
	ret->sync_since = w->ctx.sync_since;
	str_copy(ret->order.text, sizeof ret->order.text, ret->rc != ERR_OK ? e.text : w->ctx.note);
	probe(w, &ret->order.report);
}

static int take_peers(struct worker *w, const struct work_msg *ask, struct err *e)
{
	char path[DRIVER_PATH_SIZE];
	int rc = peer_list_take(&ask->order, &w->ctx.peers, e);

	if (rc == ERR_OK)
		rc = peer_list_save(driver_path(&w->ctx, PEER_LIST_FILE, path), &w->ctx.peers, e);
	return rc == ERR_OK && w->driver->peers != NULL ? w->driver->peers(&w->ctx, e) : rc;
}

/* What was named last counts; a damaged file is replaced by the next message. */
static void load_peers(struct worker *w)
{
	char path[DRIVER_PATH_SIZE];
	struct err e = ERR_INIT;
	int rc = peer_list_load(driver_path(&w->ctx, PEER_LIST_FILE, path), &w->ctx.peers, &e);

	if (rc != ERR_OK)
		peer_list_from_config(w->ctx.cfg, &w->ctx.peers);
	if (rc != ERR_OK && rc != ERR_NOTFOUND)
		log_warn(w->obj, "%s -> the nodes of the configuration may replicate", e.text);
}

static int answer(struct worker *w, const struct work_msg *ask, struct err *e)
{
	struct work_msg ret = {.seq = ask->seq};
	struct epochs seen = {ask->seen_epoch, 0};

	w->ctx.server_pid = ask->server_pid;
	switch (ask->type) {
	case WORK_PROBE:
		ret.type = WORK_PROBED;
		probe(w, &ret.order.report);
		break;
	case WORK_VERB:
		answer_verb(w, ask, &ret);
		break;
	case WORK_PEERS:
		ret.type = WORK_PEERED;
		ret.rc = take_peers(w, ask, e);
		str_copy(ret.order.text, sizeof ret.order.text, ret.rc != ERR_OK ? e->text : "");
		break;
	case WORK_EPOCH:
		if (epoch_raise(w->epoch_path, seen, e) != ERR_OK)
			log_error(w->obj, "epoch %llu cannot be stored: %s", (unsigned long long)seen.seen, e->text);
		return ERR_OK;
	default:
		return ERR_OK; /* the answer to a start that is no longer waited for */
	}
	ret.server_pid = w->ctx.server_pid;
	return seq_send(WORK_FD, &ret, sizeof ret, e);
}

static void use_null_stdin(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd > STDIN_FILENO) {
		dup2(fd, STDIN_FILENO);
		close(fd);
	}
}

int worker_run(const struct config *cfg, const char *group, const char *task)
{
	struct worker w = {0};
	struct work_msg m;
	struct err e = ERR_INIT;
	int rc;

	w.ctx.cfg = cfg;
	w.ctx.inst = config_find_instance(cfg, group);
	w.ctx.obj = w.obj;
	w.ctx.run_server = run_server;
	w.driver = driver_find(w.ctx.inst->engine);
	snprintf(w.obj, sizeof w.obj, "group %s", group);
	snprintf(w.ctx.state_dir, sizeof w.ctx.state_dir, "%s/dbd/%s", cfg->state_dir, group);
	snprintf(w.ctx.socket_dir, sizeof w.ctx.socket_dir, "%s/%s", cfg->run_dir, group);
	driver_path(&w.ctx, "epoch", w.epoch_path);
	signal(SIGPIPE, SIG_IGN);
	fcntl(WORK_FD, F_SETFD, FD_CLOEXEC);
	use_null_stdin();
	load_peers(&w);
	rc = w.driver->open(&w.ctx, &e);
	while (rc == ERR_OK && (rc = wait_packet(&m, -1, &e)) == ERR_OK)
		rc = answer(&w, &m, &e);
	if (rc != ERR_UNREACHABLE)
		log_error(w.obj, "worker \"%s\": %s", task, e.text);
	w.driver->close(&w.ctx);
	return rc == ERR_UNREACHABLE ? 0 : 1;
}
