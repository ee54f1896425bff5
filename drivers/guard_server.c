#include "drivers/guard.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "drivers/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MS                  CLOCK_NS_PER_MS
#define FENCE_KILL_AFTER_MS 500
#define LEFTOVERS_EVERY_MS  5
#define RUN_ARGS            64

static void signal_server(const struct guard *g, int sig)
{
	if (g->server.pidfd >= 0)
		syscall(SYS_pidfd_send_signal, g->server.pidfd, sig, NULL, 0);
}

bool server_is_primary(const struct guard *g)
{
	return g->server.pid != 0 && (g->lease.map->may_write != 0 || g->report.role == DBD_ROLE_PRIMARY);
}

static void arm_lease_timer(struct guard *g, int64_t at_ns)
{
	struct itimerspec t = {{0, 0}, {at_ns / 1000000000, at_ns % 1000000000}};

	timerfd_settime(g->lease_timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* The server's main process first, then every session directly: sessions must not go on committing while a main process that is
 * itself stopped or busy does not get round to telling them. */
static void fence(struct guard *g, int64_t now_ns)
{
	struct server *s = &g->server;
	bool is_new = !s->is_fenced;

	s->is_fenced = true;
	s->phase = DBD_PROC_STOPPING;
	s->immediate_at_ns = GUARD_NEVER;
	if (!is_new)
		return;
	s->kill_at_ns = now_ns + FENCE_KILL_AFTER_MS * MS;
	signal_server(g, g->driver->immediate_signal);
	procs_signal(g->real_dir, g->driver->program, g->driver->immediate_signal, s->pid);
	log_warn(g->obj, "the lease of epoch %llu ended %lld ms ago -> the primary is stopped at once",
	         (unsigned long long)g->lease.map->promoted_epoch, (long long)((now_ns - g->lease.map->expires_ns) / MS));
	control_report(g);
}

void server_check_lease(struct guard *g)
{
	int64_t now_ns = clock_now_ns(), expires_ns = g->lease.map->expires_ns;

	if (server_is_primary(g) && expires_ns <= now_ns)
		fence(g, now_ns);
	else
		arm_lease_timer(g, expires_ns > now_ns ? expires_ns : 0);
}

static int attach(struct guard *g, pid_t pid, int pidfd, struct err *e)
{
	struct server *s = &g->server;

	s->pid = pid;
	s->pidfd = pidfd;
	s->phase = DBD_PROC_STARTING;
	s->is_fenced = false;
	s->ended[0] = '\0';
	s->immediate_at_ns = s->kill_at_ns = GUARD_NEVER;
	g->lease.map->server_pid = pid;
	g->probed_at_ns = 0;
	g->report.role = DBD_ROLE_UNKNOWN;
	g->report.is_accepting = g->report.is_receiving = g->report.is_detached = g->report.is_clean = 0;
	g->next_probe_ns = 0;
	return guard_watch(g, pidfd, GUARD_SERVER, e);
}

/* A server of this data directory that is already running was left by a guard that died, or started by somebody else. Where
 * nothing is known of it, its files say whether it can write; only then is the disk touched before the loop runs. */
void server_adopt(struct guard *g)
{
	struct lease *l = g->lease.map;
	struct err e = ERR_INIT;
	pid_t pid = l->server_pid;
	int pidfd;

	if (!procs_is_server(pid, g->real_dir, g->driver->program))
		pid = procs_find_main(g->real_dir, g->driver->program);
	if (pid == 0) {
		l->server_pid = 0;
		l->may_write = 0;
		/* Sessions can outlive their main process, and they can still write. */
		procs_signal(g->real_dir, g->driver->program, SIGKILL, 0);
		return;
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return;
	if (pid != l->server_pid) {
		l->may_write = g->driver->is_fenced(g->inst) ? 0 : 1;
		l->expires_ns = 0;
		l->sync_since = 0;
	}
	if (attach(g, pid, pidfd, &e) != ERR_OK) {
		log_error(g->obj, "the running server (process %d) cannot be watched: %s -> it is stopped", (int)pid, e.text);
		signal_server(g, SIGKILL);
		return;
	}
	log_info(g->obj, "the running server (process %d) is taken over%s", (int)pid, l->may_write != 0 ? " as a primary" : "");
	server_check_lease(g);
}

static void answer_run(struct guard *g, uint32_t seq, int rc, const char *text)
{
	struct work_msg m = {.type = WORK_RAN, .rc = rc, .server_pid = g->server.pid};

	str_copy(m.order.text, sizeof m.order.text, text);
	m.seq = seq;
	if (helper_is_up(&g->worker))
		helper_ask(g, &g->worker, &m, 0);
}

static size_t split_argv(const struct work_msg *ask, const char *argv[RUN_ARGS])
{
	size_t n = 0, at = 0;

	while (at < ask->argv_len && ask->argv_len <= WORK_ARGV_SIZE && n + 1 < RUN_ARGS) {
		argv[n++] = ask->argv + at;
		at += strnlen(ask->argv + at, ask->argv_len - at) + 1;
	}
	argv[n] = NULL;
	return n;
}

/* No server runs here, so there is none to stop: the disk may be touched. The server is not tied to the guard's life by a death
 * signal: the next guard takes it over together with the lease. */
static void spawn_server(struct guard *g)
{
	struct spawn_opts o = SPAWN_INIT;
	const char *argv[RUN_ARGS];
	struct spawned proc;
	struct err e = ERR_INIT;
	int rc, log_fd;

	log_fd = open(g->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	procs_real_dir(g->inst->data_dir, g->real_dir);
	o.argv = argv;
	o.cwd = g->real_dir;
	o.stdout_fd = o.stderr_fd = log_fd;
	o.new_session = true;
	g->lease.map->may_write = 0;
	g->lease.map->sync_since = 0;
	rc = split_argv(&g->run, argv) > 0 ? spawn_start(&o, &proc, &e) : err_set(&e, ERR_INVAL, "no program to start");
	if (log_fd >= 0)
		close(log_fd);
	if (rc == ERR_OK)
		rc = attach(g, proc.pid, proc.pidfd, &e);
	answer_run(g, g->run.seq, rc, e.text);
	g->run.type = 0;
	if (rc == ERR_OK)
		control_report(g);
}

static bool has_leftovers(const struct guard *g)
{
	return procs_signal(g->real_dir, g->driver->program, SIGKILL, 0) > 0;
}

void server_run(struct guard *g, const struct work_msg *ask)
{
	if (g->server.pid != 0 || g->run.type != 0 || g->is_exiting) {
		answer_run(g, ask->seq, ERR_REFUSED,
		           g->is_exiting ? "mha-dbd is being stopped" : "the server is already running");
		return;
	}
	g->run = *ask;
	g->run_until_ns = clock_now_ns() + 5000 * MS;
	if (has_leftovers(g))
		g->server.leftovers_at_ns = clock_now_ns() + LEFTOVERS_EVERY_MS * MS;
	else
		spawn_server(g);
}

void server_stop(struct guard *g, int signal, int64_t immediate_at_ns, int64_t kill_at_ns)
{
	struct server *s = &g->server;

	if (s->pid == 0)
		return;
	s->phase = DBD_PROC_STOPPING;
	if (immediate_at_ns < s->immediate_at_ns)
		s->immediate_at_ns = immediate_at_ns;
	if (kill_at_ns < s->kill_at_ns)
		s->kill_at_ns = kill_at_ns;
	signal_server(g, signal);
	control_report(g);
}

/* The main process has ended. Whatever sessions it leaves behind could still commit: they end now, and nothing starts before
 * they have. */
void server_on_pidfd(struct guard *g)
{
	struct server *s = &g->server;
	bool was_ordered = s->phase == DBD_PROC_STOPPING;

	if (s->pid == 0)
		return;
	close(s->pidfd);
	s->pidfd = -1;
	s->leftovers_at_ns = has_leftovers(g) ? clock_now_ns() + LEFTOVERS_EVERY_MS * MS : GUARD_NEVER;
	s->immediate_at_ns = s->kill_at_ns = GUARD_NEVER;
	s->pid = 0;
	s->phase = DBD_PROC_STOPPED;
	s->is_fenced = false;
	g->lease.map->server_pid = 0;
	g->lease.map->may_write = 0;
	g->lease.map->sync_since = 0;
	g->probed_at_ns = 0;
	g->report.role = DBD_ROLE_UNKNOWN;
	g->report.is_accepting = g->report.is_receiving = g->report.is_detached = g->report.is_clean = 0;
	g->report.standby_count = 0;
	g->report.sync_members[0] = '\0';
	if (was_ordered) {
		log_info(g->obj, "the server has stopped");
	} else {
		snprintf(g->report.last_error, sizeof g->report.last_error,
		         "the server ended by itself (%s): its server.log says why",
		         s->ended[0] != '\0' ? s->ended : "status unknown");
		log_warn(g->obj, "%s", g->report.last_error);
	}
	g->next_probe_ns = 0;
	control_report(g);
	if (g->verb.type == DBD_STOP)
		g->verb.is_waiting_probe = true;
}

void server_tick(struct guard *g, int64_t now_ns)
{
	struct server *s = &g->server;

	server_check_lease(g);
	if (s->pid != 0 && now_ns >= s->immediate_at_ns) {
		s->immediate_at_ns = GUARD_NEVER;
		log_warn(g->obj, "the server takes too long to stop -> stopped at once");
		signal_server(g, g->driver->immediate_signal);
	}
	if (s->pid != 0 && now_ns >= s->kill_at_ns) {
		s->kill_at_ns = now_ns + FENCE_KILL_AFTER_MS * MS;
		log_warn(g->obj, "the server still runs -> all its processes are killed");
		signal_server(g, SIGKILL);
		procs_signal(g->real_dir, g->driver->program, SIGKILL, s->pid);
	}
	if (s->pid == 0 && now_ns >= s->leftovers_at_ns)
		s->leftovers_at_ns = has_leftovers(g) ? now_ns + LEFTOVERS_EVERY_MS * MS : GUARD_NEVER;
	if (g->run.type == 0)
		return;
	if (s->leftovers_at_ns == GUARD_NEVER) {
		spawn_server(g);
	} else if (now_ns >= g->run_until_ns) {
		g->run.type = 0;
		answer_run(g, g->run.seq, ERR_TIMEOUT,
		           "processes of the previous server do not end, not even by SIGKILL: is the disk hung?");
	}
}

int64_t server_due_ns(const struct guard *g)
{
	const struct server *s = &g->server;
	int64_t due = s->leftovers_at_ns;

	if (s->pid != 0)
		due = s->immediate_at_ns < s->kill_at_ns ? s->immediate_at_ns : s->kill_at_ns;
	return due;
}
