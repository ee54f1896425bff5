#include "drivers/guard.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"
#include "drivers/procs.h"
#include "drivers/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS                      CLOCK_NS_PER_MS
#define MAX_EVENTS              16
#define EXIT_IMMEDIATE_AFTER_MS 1000
#define EXIT_KILL_AFTER_MS      1500

int guard_watch(struct guard *g, int fd, unsigned kind, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = kind};

	if (epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		return err_sys(e, errno, "epoll_ctl");
	return ERR_OK;
}

/* A full log pipe must not hold up the deadline: lines are dropped instead. A pipe or file is opened anew, because the flag
 * would otherwise change for everybody who shares it; a socket cannot be opened and gets the flag. */
static void unblock_log(void)
{
	int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0) {
		dup2(fd, STDERR_FILENO);
		close(fd);
	} else {
		fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
	}
}

static int open_signals(struct guard *g, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return err_sys(e, errno, "sigprocmask");
	signal(SIGPIPE, SIG_IGN);
	g->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (g->signal_fd < 0)
		return err_sys(e, errno, "signalfd");
	return guard_watch(g, g->signal_fd, GUARD_SIGNAL, e);
}

static int open_timer(struct guard *g, int *ret_fd, unsigned kind, struct err *e)
{
	*ret_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (*ret_fd < 0)
		return err_sys(e, errno, "timerfd_create");
	return guard_watch(g, *ret_fd, kind, e);
}

/* Orphans of the database server must come to us: a zombie that init reaps late looks alive to the next server. */
static int open_loop(struct guard *g, struct err *e)
{
	int rc;

	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (g->epoll_fd < 0)
		return err_sys(e, errno, "epoll_create1");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		return err_sys(e, errno, "become a child subreaper");
	rc = open_signals(g, e);
	if (rc == ERR_OK)
		rc = open_timer(g, &g->lease_timer_fd, GUARD_LEASE, e);
	if (rc == ERR_OK)
		rc = open_timer(g, &g->tick_fd, GUARD_TICK, e);
	return rc;
}

/* A continued lease file knows the epochs; without one (a new boot) they come from the disk. */
static int read_epochs(struct guard *g, struct err *e)
{
	char path[DRIVER_PATH_SIZE];
	struct epochs v;
	int rc;

	if (g->lease.is_continued)
		return ERR_OK;
	snprintf(path, sizeof path, "%s/dbd/%s/epoch", g->cfg->state_dir, g->inst->group);
	rc = epoch_read(path, &v, e);
	if (rc == ERR_OK) {
		g->lease.map->seen_epoch = v.seen;
		g->lease.map->promoted_epoch = v.promoted;
	}
	return rc;
}

/* The lock first: two guards of one group must not share a socket. Then a server that an earlier guard left, because its
 * deadline may be near; everything else after its timer is armed. */
static int open_state(struct guard *g, struct err *e)
{
	char path[DRIVER_PATH_SIZE];
	int rc;

	snprintf(path, sizeof path, "%s/dbd-%s.lease", g->cfg->run_dir, g->inst->group);
	rc = lease_open(path, &g->lease, e);
	if (rc != ERR_OK)
		return rc;
	server_adopt(g);
	rc = setup_listen(g->cfg, g->inst, g->control_uid, &g->listen_fd, e);
	if (rc == ERR_OK)
		rc = guard_watch(g, g->listen_fd, GUARD_LISTEN, e);
	if (rc == ERR_OK)
		rc = setup_become(g->inst, e);
	return rc == ERR_OK ? read_epochs(g, e) : rc;
}

static int guard_init(struct guard *g, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", g->self, sizeof g->self - 1);
	struct passwd *pw = g->cfg->user != NULL ? getpwnam(g->cfg->user) : NULL;
	int rc;

	if (n <= 0)
		return err_sys(e, errno, "read /proc/self/exe");
	if (g->cfg->user != NULL && pw == NULL)
		return err_set(e, ERR_NOTFOUND, "user: the OS user \"%s\" does not exist: create it or name another one",
		               g->cfg->user);
	g->control_uid = pw != NULL ? pw->pw_uid : geteuid();
	rc = setup_dirs(g->cfg, g->inst, e);
	if (rc == ERR_OK)
		rc = open_loop(g, e);
	return rc == ERR_OK ? open_state(g, e) : rc;
}

static void begin_exit(struct guard *g)
{
	int64_t now_ns = clock_now_ns();

	if (g->is_exiting)
		return;
	g->is_exiting = true;
	g->run.type = 0;
	log_info(g->obj, "ordered to end%s", g->server.pid != 0 ? " -> the server is stopped" : "");
	server_stop(g, g->driver->fast_signal, now_ns + EXIT_IMMEDIATE_AFTER_MS * MS, now_ns + EXIT_KILL_AFTER_MS * MS);
}

static void reap_children(struct guard *g)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid == g->server.pid && !WIFSTOPPED(status))
			spawn_describe_status(status, g->server.ended);
		else
			helper_on_child(g, pid, WIFSTOPPED(status));
	}
}

static void on_signals(struct guard *g)
{
	struct signalfd_siginfo si;

	while (read(g->signal_fd, &si, sizeof si) == (ssize_t)sizeof si)
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			begin_exit(g);
	reap_children(g);
}

static void drain_timer(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof count) < 0)
		return;
}

static void dispatch(struct guard *g, unsigned kind)
{
	switch (kind) {
	case GUARD_LISTEN:
		control_accept(g);
		break;
	case GUARD_CONTROL:
		control_on_readable(g);
		break;
	case GUARD_SIGNAL:
		on_signals(g);
		break;
	case GUARD_LEASE:
		drain_timer(g->lease_timer_fd);
		server_check_lease(g);
		break;
	case GUARD_TICK:
		drain_timer(g->tick_fd);
		break;
	case GUARD_SERVER:
		reap_children(g); /* for how it ended */
		server_on_pidfd(g);
		break;
	case GUARD_PROBER:
		helper_on_readable(g, &g->prober);
		break;
	default:
		helper_on_readable(g, &g->worker);
		break;
	}
}

static void arm_tick(struct guard *g)
{
	int64_t due = helper_due_ns(g), server = server_due_ns(g), control = control_due_ns(g);
	struct itimerspec t = {{0, 0}, {0, 0}};

	due = server < due ? server : due;
	due = control < due ? control : due;
	if (due < 1)
		due = 1; /* at once; 0 would disarm */
	t.it_value.tv_sec = due / 1000000000;
	t.it_value.tv_nsec = due % 1000000000;
	timerfd_settime(g->tick_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void run_loop(struct guard *g)
{
	struct epoll_event events[MAX_EVENTS];
	int i, n;

	while (!(g->is_exiting && g->server.pid == 0 && g->server.leftovers_at_ns == GUARD_NEVER)) {
		int64_t now_ns = clock_now_ns();

		server_tick(g, now_ns);
		helper_tick(g, now_ns);
		control_tick(g, now_ns);
		arm_tick(g);
		n = epoll_wait(g->epoll_fd, events, MAX_EVENTS, -1);
		server_check_lease(g);
		for (i = 0; i < n; i++)
			dispatch(g, events[i].data.u32);
	}
}

int guard_run(const struct config *cfg, const char *config_path, const char *group)
{
	struct guard g = {.cfg = cfg, .config_path = config_path, .listen_fd = -1, .control_fd = -1};
	struct err e = ERR_INIT;

	g.inst = config_find_instance(cfg, group);
	g.driver = driver_find(g.inst->engine);
	snprintf(g.obj, sizeof g.obj, "group %s", group);
	snprintf(g.log_path, sizeof g.log_path, "%s/dbd/%s/server.log", cfg->state_dir, group);
	config_path_dbd(cfg, group, g.socket_path);
	procs_real_dir(g.inst->data_dir, g.real_dir);
	g.server.pidfd = -1;
	g.server.phase = DBD_PROC_STOPPED;
	g.server.immediate_at_ns = g.server.kill_at_ns = g.server.leftovers_at_ns = GUARD_NEVER;
	g.report.received_age_ms = -1;
	helper_init(&g.prober, "probe");
	helper_init(&g.worker, "verb");
	unblock_log();
	if (guard_init(&g, &e) != ERR_OK) {
		log_error(g.obj, "cannot start: %s", e.text);
		return 1;
	}
	log_info(g.obj, "guard of %s \"%s\" listens at %s; epoch %llu", g.inst->engine, g.inst->data_dir, g.socket_path,
	         (unsigned long long)g.lease.map->seen_epoch);
	run_loop(&g);
	/* The workers go with their sockets. */
	unlink(g.socket_path);
	lease_close(&g.lease);
	log_info(g.obj, "ended");
	return 0;
}
