#include "drivers/guard.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MS                      CLOCK_NS_PER_MS
#define PROBE_EVERY_MS          100
#define PROBE_EVERY_STARTING_MS 20
#define PROBE_EVERY_STOPPED_MS  500
#define PROBE_LIMIT_MS          1000
#define PEERS_LIMIT_MS          10000
#define PEERS_AGAIN_MS          1000
#define RESTART_AFTER_MS        50
#define RESTART_MAX_DOUBLINGS   6

void helper_init(struct helper *h, const char *task)
{
	memset(h, 0, sizeof *h);
	h->task = task;
	h->sock = h->proc.pidfd = -1;
}

bool helper_is_up(const struct helper *h)
{
	return h->sock >= 0;
}

/* Its death takes nothing with it but what it was doing: the tools it runs are in its session and die with it, the server is
 * not. */
static int spawn_helper(struct guard *g, struct helper *h, int child_fd, struct err *e)
{
	const char *argv[] = {g->self, "--worker", h->task, "--config", g->config_path, "--group", g->inst->group, NULL};
	struct spawn_opts o = SPAWN_INIT;

	o.argv = argv;
	o.keep_fds[0] = child_fd;
	o.keep_fd_count = 1;
	o.parent_death_signal = SIGKILL;
	o.new_session = true;
	return spawn_start(&o, &h->proc, e);
}

static void delay_restart(struct helper *h)
{
	unsigned doublings = h->failures < RESTART_MAX_DOUBLINGS ? h->failures : RESTART_MAX_DOUBLINGS;

	h->restart_at_ns = clock_now_ns() + (RESTART_AFTER_MS << doublings) * MS;
}

void helper_start(struct guard *g, struct helper *h)
{
	struct err e = ERR_INIT;
	int fds[2], rc;

	h->seq = 0;
	delay_restart(h);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
		log_error(g->obj, "no socket for a worker: %s", strerror(errno));
		return;
	}
	rc = spawn_helper(g, h, fds[1], &e);
	close(fds[1]);
	if (rc == ERR_OK)
		rc = guard_watch(g, fds[0], h == &g->prober ? GUARD_PROBER : GUARD_WORKER, &e);
	if (rc != ERR_OK) {
		log_error(g->obj, "worker \"%s\" cannot be started: %s", h->task, e.text);
		close(fds[0]);
		return;
	}
	h->sock = fds[0];
}

void helper_kill(struct guard *g, struct helper *h, const char *why)
{
	bool was_busy = h->seq != 0;

	if (!helper_is_up(h))
		return;
	h->failures++;
	log_warn(g->obj, "worker \"%s\" (process %d) is killed and replaced: %s", h->task, (int)h->proc.pid, why);
	syscall(SYS_pidfd_send_signal, h->proc.pidfd, SIGKILL, NULL, 0);
	kill(-h->proc.pid, SIGKILL); /* its session: a tool it was running */
	close(h->proc.pidfd);
	close(h->sock);
	h->proc.pidfd = h->sock = -1;
	h->seq = 0;
	delay_restart(h);
	if (h == &g->worker) {
		g->run.type = 0;
		g->has_peers_due = g->has_peers; /* it may have died before it did what it was told */
	}
	if (h == &g->worker && was_busy && g->verb.type != 0 && g->verb.type != DBD_STOP)
		control_verb_done(g, ERR_TIMEOUT, why);
}

bool helper_ask(struct guard *g, struct helper *h, struct work_msg *m, int limit_ms)
{
	struct err e = ERR_INIT;

	if (!helper_is_up(h))
		return false;
	if (limit_ms > 0) {
		m->seq = ++h->last_seq;
		h->seq = m->seq;
		h->until_ns = clock_now_ns() + limit_ms * MS;
	}
	m->server_pid = g->server.pid;
	m->seen_epoch = g->lease.map->seen_epoch;
	m->promoted_epoch = g->lease.map->promoted_epoch;
	if (seq_send(h->sock, m, sizeof *m, &e) == ERR_OK)
		return true;
	helper_kill(g, h, e.text);
	return false;
}

/* Facts about the server come from the worker; what only the guard knows stays. */
static void take_facts(struct guard *g, const struct work_msg *m)
{
	struct dbd_report *r = &g->report, kept = *r;
	const struct dbd_report *seen = &m->order.report;

	if (m->server_pid != g->server.pid)
		return; /* it looked at a server that is gone */
	if (g->server.pid != 0 && !seen->is_accepting) {
		r->is_accepting = 0;
		return;
	}
	*r = *seen;
	memcpy(r->last_error, kept.last_error, sizeof r->last_error);
	if (g->server.pid == 0) {
		r->role = DBD_ROLE_UNKNOWN;
		g->server.phase = seen->process == DBD_PROC_ABSENT ? DBD_PROC_ABSENT : DBD_PROC_STOPPED;
		return;
	}
	g->probed_at_ns = clock_now_ns();
	g->received_age_ms = seen->received_age_ms;
	g->received_at_ns = g->probed_at_ns;
	if (g->server.phase == DBD_PROC_STARTING)
		g->server.phase = DBD_PROC_RUNNING;
	if (r->role != kept.role || r->is_accepting != kept.is_accepting || r->is_receiving != kept.is_receiving)
		g->next_report_ns = 0;
	if (r->role != kept.role)
		server_check_lease(g);
}

static void on_probed(struct guard *g, const struct work_msg *m)
{
	if (m->seq != g->prober.seq)
		return;
	g->prober.seq = g->prober.failures = 0;
	take_facts(g, m);
	if (g->report_now_seq != 0)
		g->report_now_until_ns = 0;
	if (g->verb.type == DBD_STOP && g->verb.is_waiting_probe && m->server_pid == 0 && g->server.pid == 0)
		control_verb_done(g, ERR_OK, "");
}

static void on_done(struct guard *g, const struct work_msg *m)
{
	struct lease *l = g->lease.map;

	if (m->seq != g->worker.seq)
		return;
	g->worker.seq = g->worker.failures = 0;
	if (m->sync_since != 0 && g->server.pid != 0)
		l->sync_since = m->sync_since;
	if (g->verb.type == DBD_PROMOTE && m->rc == ERR_OK && m->promoted_epoch > l->promoted_epoch)
		l->promoted_epoch = m->promoted_epoch;
	/* Its data is another server's now: nothing of its own past as a primary is left to undo. */
	if ((g->verb.type == DBD_REWIND || g->verb.type == DBD_REBUILD) && m->rc == ERR_OK)
		l->promoted_epoch = 0;
	/* A promotion that was refused before the server was told leaves the replica a replica. */
	if (g->verb.type == DBD_PROMOTE && m->rc != ERR_OK && m->is_committed == 0 && !g->verb.was_writable)
		l->may_write = 0;
	take_facts(g, m);
	control_verb_done(g, m->rc, m->order.text);
}

/* Between verbs only: no verb ever waits for it, except for one that comes right after. A server that does not answer would
 * only hold the worker up. */
static void send_peers(struct guard *g, int64_t now_ns)
{
	struct work_msg m = {.type = WORK_PEERS};

	if (!g->has_peers_due || now_ns < g->peers_at_ns || g->is_exiting || g->verb.type != 0 || !helper_is_up(&g->worker) ||
	    g->worker.seq != 0 || (g->server.pid != 0 && !g->report.is_accepting))
		return;
	m.order.peer_count = (uint16_t)g->peers.count;
	memcpy(m.order.peers, g->peers.address, sizeof m.order.peers);
	g->peers_at_ns = now_ns + PEERS_AGAIN_MS * MS;
	g->has_peers_due = false;
	helper_ask(g, &g->worker, &m, PEERS_LIMIT_MS);
}

static void on_peered(struct guard *g, const struct work_msg *m)
{
	if (m->seq == g->worker.seq) /* else a verb came right after */
		g->worker.seq = g->worker.failures = 0;
	if (m->rc != ERR_OK)
		g->has_peers_due = true;
	if (m->rc == ERR_OK)
		log_info(g->obj, "%u nodes may replicate from here", g->peers.count);
	else if (strcmp(g->peers_error, m->order.text) != 0)
		log_warn(g->obj, "the rules for replication are not in force yet: %s -> tried again", m->order.text);
	snprintf(g->peers_error, sizeof g->peers_error, "%.190s", m->order.text);
}

/* A worker reads what a database says, so it may be made to say anything. */
static bool is_sound(const struct work_msg *m)
{
	return m->argv_len <= sizeof m->argv && (m->argv_len == 0 || m->argv[m->argv_len - 1] == '\0') &&
	       dbd_msg_is_sound(&m->order);
}

void helper_on_readable(struct guard *g, struct helper *h)
{
	struct err e = ERR_INIT;
	struct work_msg m;
	int rc;

	while (helper_is_up(h)) {
		rc = seq_recv(h->sock, &m, sizeof m, &e);
		if (rc == ERR_TIMEOUT)
			return;
		if (rc != ERR_OK)
			helper_kill(g, h, rc == ERR_UNREACHABLE ? "it ended by itself" : e.text);
		else if (!is_sound(&m))
			helper_kill(g, h, "it sent a malformed message");
		else if (m.type == WORK_PROBED && h == &g->prober)
			on_probed(g, &m);
		else if (m.type == WORK_DONE && h == &g->worker)
			on_done(g, &m);
		else if (m.type == WORK_PEERED && h == &g->worker)
			on_peered(g, &m);
		else if (m.type == WORK_RUN && h == &g->worker)
			server_run(g, &m);
		else
			helper_kill(g, h, "it sent a message that it may not send");
	}
}

void helper_on_child(struct guard *g, pid_t pid, bool is_stopped)
{
	struct helper *h = pid == g->prober.proc.pid ? &g->prober : pid == g->worker.proc.pid ? &g->worker : NULL;

	if (h != NULL && helper_is_up(h))
		helper_kill(g, h, is_stopped ? "it was stopped by a signal" : "it ended by itself");
}

static void send_probe(struct guard *g, int64_t now_ns)
{
	struct work_msg m = {.type = WORK_PROBE};
	int every_ms = g->server.pid == 0                     ? PROBE_EVERY_STOPPED_MS
	               : g->server.phase == DBD_PROC_STARTING ? PROBE_EVERY_STARTING_MS
	                                                      : PROBE_EVERY_MS;

	g->next_probe_ns = now_ns + every_ms * MS;
	helper_ask(g, &g->prober, &m, PROBE_LIMIT_MS);
}

static void tick_one(struct guard *g, struct helper *h, int64_t now_ns)
{
	if (helper_is_up(h) && h->seq != 0 && now_ns >= h->until_ns)
		helper_kill(g, h,
		            h == &g->prober ? "it has not answered a probe for 1 s" : "the verb took longer than its limit");
	if (!helper_is_up(h) && now_ns >= h->restart_at_ns && !g->is_exiting)
		helper_start(g, h);
}

void helper_tick(struct guard *g, int64_t now_ns)
{
	tick_one(g, &g->prober, now_ns);
	tick_one(g, &g->worker, now_ns);
	if (helper_is_up(&g->prober) && g->prober.seq == 0 && now_ns >= g->next_probe_ns)
		send_probe(g, now_ns);
	send_peers(g, now_ns); /* no timer of its own: probes wake the loop often enough */
}

static int64_t due_of(const struct guard *g, const struct helper *h)
{
	if (!helper_is_up(h))
		return g->is_exiting ? GUARD_NEVER : h->restart_at_ns;
	return h->seq != 0 ? h->until_ns : GUARD_NEVER;
}

int64_t helper_due_ns(const struct guard *g)
{
	int64_t due = due_of(g, &g->prober), worker = due_of(g, &g->worker);

	if (helper_is_up(&g->prober) && g->prober.seq == 0 && g->next_probe_ns < due)
		due = g->next_probe_ns;
	return worker < due ? worker : due;
}
