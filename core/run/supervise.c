#include "core/run/supervise.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/spawn.h"
#include "core/base/str.h"
#include "core/run/restart_msg.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 20
#define BACKOFF_MAX_MS   5000
#define LONG_LIFE_MS     1000
#define STOP_FIRST_MS    8000  /* for all but the store */
#define STOP_ALL_MS      10000 /* then SIGKILL */
#define MAX_ASKS         8     /* a turn */
#define VIPD_CAPS        (UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW)

int64_t supervise_backoff_ms(unsigned quick_deaths)
{
	int64_t ms = BACKOFF_FIRST_MS;

	if (quick_deaths <= 1)
		return 0;
	while (--quick_deaths > 1 && ms < BACKOFF_MAX_MS)
		ms *= 2;
	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static struct child *add_child(struct supervisor *s, const char *name, const char *bin_dir, const char *program)
{
	struct child *c = &s->children[s->count++];
	struct buf path = {0};

	str_copy(c->name, sizeof c->name, name);
	buf_printf(&path, "%s/%s", bin_dir, program);
	c->argv[0] = path.data;
	return c;
}

static void add_args(struct child *c, const char *const *args)
{
	unsigned n = 0;

	while (c->argv[n] != NULL)
		n++;
	for (; *args != NULL && n < SUPERVISE_MAX_ARGS - 1; args++)
		c->argv[n++] = mem_strdup(*args);
}

static bool has_vipd_caps(void)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t admin = CAP_CLEAR, raw = CAP_CLEAR;

	if (caps == NULL)
		return false;
	(void)cap_get_flag(caps, CAP_NET_ADMIN, CAP_PERMITTED, &admin);
	(void)cap_get_flag(caps, CAP_NET_RAW, CAP_PERMITTED, &raw);
	cap_free(caps);
	return admin == CAP_SET && raw == CAP_SET;
}

static void plan_vipd(struct supervisor *s, const char *bin_dir, const char *config_path)
{
	struct child *child;

	if (s->config->vips_count == 0 && s->config->instances_count == 0)
		return;
	if (!has_vipd_caps()) {
		log_warn("vipd", "VIP support is off: it needs root, or the capabilities CAP_NET_ADMIN and CAP_NET_RAW");
		return;
	}
	child = add_child(s, "vipd", bin_dir, "mha-vipd");
	add_args(child, (const char *const[]){"--config", config_path, NULL});
	child->user = s->config->user;
	child->ambient_caps = VIPD_CAPS;
}

int supervise_plan(struct supervisor *s, const struct config *c, const char *bin_dir, const char *config_path, struct err *e)
{
	char name[SUPERVISE_NAME_SIZE];
	struct child *child;
	unsigned i;

	if (c->instances_count + 3 > SUPERVISE_MAX_CHILDREN)
		return err_set(e, ERR_INVAL, "more than %d instances", SUPERVISE_MAX_CHILDREN - 3);
	memset(s, 0, sizeof *s);
	s->config = c;
	s->ask_fd = s->control_fd = s->signal_fd = -1;
	child = add_child(s, "stored", bin_dir, "mha-stored");
	add_args(child, (const char *const[]){"--config", config_path, NULL});
	child->user = c->user;
	child->stops_last = true;
	for (i = 0; i < c->instances_count; i++) {
		snprintf(name, sizeof name, "dbd %s", c->instances[i].group);
		child = add_child(s, name, bin_dir, "mha-dbd");
		add_args(child, (const char *const[]){"--config", config_path, "--group", c->instances[i].group, NULL});
		child->user = c->instances[i].os_user;
	}
	plan_vipd(s, bin_dir, config_path);
	child = add_child(s, "control", bin_dir, "mhad");
	add_args(child, (const char *const[]){"--control", "--config", config_path, NULL});
	child->user = c->user;
	child->is_asking = true;
	return ERR_OK;
}

void supervise_done(struct supervisor *s)
{
	unsigned i, j;

	for (i = 0; i < s->count; i++)
		for (j = 0; j < SUPERVISE_MAX_ARGS; j++)
			free(s->children[i].argv[j]);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	if (s->ask_fd >= 0)
		close(s->ask_fd);
	if (s->control_fd >= 0)
		close(s->control_fd);
}

static int start_child(const struct supervisor *s, struct child *c, struct err *e)
{
	struct spawn_opts o = SPAWN_INIT;
	struct spawned spawned;
	int rc;

	o.argv = (const char *const *)c->argv;
	/* Not root: everything runs as the caller. */
	o.user = geteuid() == 0 ? c->user : NULL;
	o.ambient_caps = c->ambient_caps;
	o.parent_death_signal = SIGTERM;
	if (c->is_asking) {
		o.keep_fds[0] = s->control_fd;
		o.keep_fd_count = 1;
	}
	o.new_session = true; /* Ctrl-C is for the parent, which stops the children in their order */
	c->started_ms = clock_now_ms();
	rc = spawn_start(&o, &spawned, e);
	if (rc != ERR_OK)
		return rc;
	close(spawned.pidfd);
	c->pid = spawned.pid;
	return ERR_OK;
}

static struct child *find_child(struct supervisor *s, pid_t pid)
{
	unsigned i;

	for (i = 0; i < s->count; i++)
		if (s->children[i].pid == pid)
			return &s->children[i];
	return NULL;
}

static void schedule_restart(struct child *c, const char *how)
{
	int64_t now = clock_now_ms(), wait_ms;

	c->quick_deaths = now - c->started_ms >= LONG_LIFE_MS ? 1 : c->quick_deaths + 1;
	wait_ms = supervise_backoff_ms(c->quick_deaths);
	c->restart_ms = now + wait_ms;
	log_warn(c->name, "ended: %s -> started again in %lld ms", how, (long long)wait_ms);
}

/* Reap everything that has ended, adopted orphans included. True when a child said that the configuration is wrong. */
static bool reap(struct supervisor *s, bool is_stopping)
{
	bool is_config_wrong = false;
	char how[48];
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = find_child(s, pid);

		if (c == NULL)
			continue;
		c->pid = 0;
		spawn_describe_status(status, how);
		if (is_stopping) {
			log_info(c->name, "stopped: %s", how);
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == SUPERVISE_EX_CONFIG) {
			log_error(c->name,
			          "ended: %s -> its configuration is wrong (its last message says how): this node stops", how);
			is_config_wrong = true;
		} else {
			schedule_restart(c, how);
		}
	}
	return is_config_wrong;
}

static void restart_due(struct supervisor *s)
{
	int64_t now = clock_now_ms();
	struct err e = ERR_INIT;
	unsigned i;

	for (i = 0; i < s->count; i++) {
		struct child *c = &s->children[i];

		if (c->pid != 0 || c->restart_ms > now)
			continue;
		if (start_child(s, c, &e) == ERR_OK)
			log_info(c->name, "started again (pid %d)", (int)c->pid);
		else
			schedule_restart(c, e.text);
	}
}

static unsigned signal_children(struct supervisor *s, bool only_first, int signal_number)
{
	unsigned i, n = 0;

	for (i = 0; i < s->count; i++) {
		struct child *c = &s->children[i];

		if (c->pid == 0 || (only_first && c->stops_last))
			continue;
		if (signal_number != 0)
			kill(c->pid, signal_number);
		n++;
	}
	return n;
}

static const struct child *find_silent(const struct supervisor *s, const struct restart_msg *m)
{
	unsigned i;

	for (i = 0; i < s->count; i++) {
		const struct child *c = &s->children[i];

		if (strcmp(c->name, m->name) == 0 && c->pid != 0 && c->pid == m->pid && !c->is_asking)
			return c;
	}
	return NULL;
}

/* The worst that a control process gone wild reaches here is a restart of its own node's children every few seconds. */
static void take_ask(const struct supervisor *s, const struct restart_msg *m)
{
	const struct child *c;

	if (m->version != RESTART_MSG_VERSION || memchr(m->name, '\0', sizeof m->name) == NULL)
		return;
	c = find_silent(s, m);
	if (c == NULL || clock_now_ms() - c->started_ms < RESTART_EVERY_MS)
		return;
	log_warn(c->name, "does not answer the control process (pid %d) -> killed", (int)c->pid);
	kill(c->pid, SIGKILL);
}

static void read_asks(const struct supervisor *s)
{
	struct restart_msg m;
	unsigned i;
	int rc;

	for (i = 0; i < MAX_ASKS; i++) {
		rc = seq_recv(s->ask_fd, &m, sizeof m, NULL);
		if (rc == ERR_OK)
			take_ask(s, &m);
		else if (rc != ERR_PROTOCOL) /* a packet of another length is thrown away */
			return;
	}
}

/* *ret_signal is 0 when none came. */
static void wait_signal(const struct supervisor *s, int64_t until_ms, int *ret_signal)
{
	struct pollfd p[] = {{s->signal_fd, POLLIN, 0}, {s->ask_fd, POLLIN, 0}};
	int64_t left = until_ms - clock_now_ms();
	struct signalfd_siginfo info;

	*ret_signal = 0;
	if (poll(p, 2, left > 0 ? (int)left : 0) <= 0)
		return;
	if (p[1].revents != 0)
		read_asks(s);
	if (p[0].revents != 0 && read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
		*ret_signal = (int)info.ssi_signo;
}

static void stop_all(struct supervisor *s)
{
	int64_t begun = clock_now_ms();
	int got;

	/* Whoever is busy with ending is not silent. */
	if (s->ask_fd >= 0)
		close(s->ask_fd);
	s->ask_fd = -1;
	signal_children(s, true, SIGTERM);
	while (signal_children(s, true, 0) > 0 && clock_now_ms() < begun + STOP_FIRST_MS) {
		wait_signal(s, begun + STOP_FIRST_MS, &got);
		reap(s, true);
	}
	signal_children(s, false, SIGTERM);
	while (signal_children(s, false, 0) > 0 && clock_now_ms() < begun + STOP_ALL_MS) {
		wait_signal(s, begun + STOP_ALL_MS, &got);
		reap(s, true);
	}
	if (signal_children(s, false, SIGKILL) > 0)
		log_warn("node", "some children did not stop within %d s: killed", STOP_ALL_MS / 1000);
	/* SIGKILL cannot be refused; bounded all the same, for a child in an uninterruptible sleep. */
	while (signal_children(s, false, 0) > 0 && clock_now_ms() < begun + STOP_ALL_MS + 1000) {
		wait_signal(s, clock_now_ms() + 100, &got);
		reap(s, true);
	}
}

/* Tell systemd, if it asked; a datagram to the socket it named. */
static void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd;

	if (path == NULL || !str_copy(sa.sun_path, sizeof sa.sun_path, path))
		return;
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&sa,
	           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		log_warn("node", "the service manager at NOTIFY_SOCKET was not told that the node is ready: %s",
		         strerror(errno));
	close(fd);
}

static bool start_all(struct supervisor *s)
{
	struct err e = ERR_INIT;
	unsigned i;

	for (i = 0; i < s->count; i++)
		if (start_child(s, &s->children[i], &e) != ERR_OK) {
			log_error(s->children[i].name, "cannot be started: %s", e.text);
			return false;
		}
	return true;
}

static int64_t next_restart(const struct supervisor *s)
{
	int64_t soonest = clock_now_ms() + 60000;
	unsigned i;

	for (i = 0; i < s->count; i++)
		if (s->children[i].pid == 0 && s->children[i].restart_ms < soonest)
			soonest = s->children[i].restart_ms;
	return soonest;
}

/* Both ends stay open here: a new control process takes over where the dead one was. */
static int open_fds(struct supervisor *s, struct err *e)
{
	sigset_t set;
	int fds[2];

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->signal_fd < 0)
		return err_sys(e, errno, "signalfd");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		return err_sys(e, errno, "socketpair");
	s->ask_fd = fds[0];
	s->control_fd = fds[1];
	return ERR_OK;
}

int supervise_run(struct supervisor *s)
{
	struct err e = ERR_INIT;
	int got, code = 0;

	if (open_fds(s, &e) != ERR_OK) {
		log_error("node", "%s", e.text);
		return 1;
	}
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		log_warn("node", "orphans go to init, not here: %s", strerror(errno));
	if (start_all(s)) {
		notify_ready();
		log_info("node", "started with %u children", s->count);
	} else {
		code = SUPERVISE_EX_CONFIG;
	}
	while (code == 0) {
		wait_signal(s, next_restart(s), &got);
		if (got > 0 && got != SIGCHLD) {
			log_info("node", "%s -> stopping", strsignal(got));
			break;
		}
		if (reap(s, false))
			code = SUPERVISE_EX_CONFIG;
		else
			restart_due(s);
	}
	stop_all(s);
	log_info("node", "stopped");
	return code;
}
