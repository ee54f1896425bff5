#include "core/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_KEPT_FD 3
#define HIGH_FD       100

struct identity {
	bool is_set;
	uid_t uid;
	gid_t gid;
	char name[64];
};

static int find_user(const char *user, struct identity *ret, struct err *e)
{
	struct passwd *pw;

	if (user == NULL)
		return ERR_OK;
	pw = getpwnam(user);
	if (pw == NULL)
		return err_set(e, ERR_NOTFOUND, "the OS user \"%s\" does not exist: create it or name another one", user);
	if (pw->pw_uid == geteuid())
		return ERR_OK;
	if (geteuid() != 0)
		return err_set(e, ERR_REFUSED, "only root can run a program as user \"%s\"", user);
	ret->is_set = true;
	ret->uid = pw->pw_uid;
	ret->gid = pw->pw_gid;
	snprintf(ret->name, sizeof ret->name, "%s", pw->pw_name);
	return ERR_OK;
}

static int raise_ambient(uint64_t mask)
{
	int cap;

	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if ((mask >> cap & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
			return -1;
	return 0;
}

static int set_inheritable(uint64_t mask)
{
	cap_t caps = cap_get_proc();
	cap_value_t cap;
	int rc = -1;

	if (caps == NULL)
		return -1;
	cap_clear(caps);
	for (cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if ((mask >> cap & 1) == 0)
			continue;
		if (cap_set_flag(caps, CAP_PERMITTED, 1, &cap, CAP_SET) != 0 ||
		    cap_set_flag(caps, CAP_EFFECTIVE, 1, &cap, CAP_SET) != 0 ||
		    cap_set_flag(caps, CAP_INHERITABLE, 1, &cap, CAP_SET) != 0)
			goto out;
	}
	rc = cap_set_proc(caps);
out:
	cap_free(caps);
	return rc;
}

static int become_user(const struct identity *id, uint64_t ambient_caps)
{
	if (!id->is_set && geteuid() == 0)
		return 0;
	/* Our own ambient capabilities were meant for us, not for every program that is started from here. */
	if (!id->is_set)
		return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ? -1 : raise_ambient(ambient_caps);
	if (ambient_caps != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		return -1;
	if (initgroups(id->name, id->gid) != 0 || setgid(id->gid) != 0 || setuid(id->uid) != 0)
		return -1;
	if (ambient_caps != 0 && (set_inheritable(ambient_caps) != 0 || raise_ambient(ambient_caps) != 0))
		return -1;
	return 0;
}

/* Puts the kept descriptors at 3, 4, ... and marks every other one close-on-exec; fail_fd moves out of their way first. */
static int arrange_fds(const struct spawn_opts *o, int *fail_fd)
{
	int high[SPAWN_MAX_FDS];
	size_t i;

	*fail_fd = fcntl(*fail_fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (*fail_fd < 0)
		return -1;
	if (o->stdout_fd >= 0 && dup2(o->stdout_fd, STDOUT_FILENO) < 0)
		return -1;
	if (o->stderr_fd >= 0 && dup2(o->stderr_fd, STDERR_FILENO) < 0)
		return -1;
	for (i = 0; i < o->keep_fd_count; i++) {
		high[i] = fcntl(o->keep_fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (high[i] < 0)
			return -1;
	}
	if (syscall(SYS_close_range, (unsigned)FIRST_KEPT_FD, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) != 0)
		return -1;
	for (i = 0; i < o->keep_fd_count; i++)
		if (dup2(high[i], FIRST_KEPT_FD + (int)i) < 0)
			return -1;
	return 0;
}

static _Noreturn void run_child(const struct spawn_opts *o, const struct identity *id, pid_t parent, int fail_fd)
{
	sigset_t none;
	int saved;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (o->new_session)
		setsid();
	if (arrange_fds(o, &fail_fd) != 0 || (o->cwd != NULL && chdir(o->cwd) != 0) || become_user(id, o->ambient_caps) != 0)
		goto fail;
	/* Last, because changing the user clears it; the parent may have died before it was set. */
	if (o->parent_death_signal != 0 && prctl(PR_SET_PDEATHSIG, o->parent_death_signal) != 0)
		goto fail;
	if (o->parent_death_signal != 0 && getppid() != parent)
		_exit(127);
	execv(o->argv[0], (char *const *)(uintptr_t)o->argv);
fail:
	saved = errno;
	if (write(fail_fd, &saved, sizeof saved) < 0)
		_exit(126);
	_exit(127);
}

int spawn_start(const struct spawn_opts *o, struct spawned *ret, struct err *e)
{
	struct identity id = {0};
	pid_t parent = getpid(), pid;
	int fail[2], child_errno, rc;
	ssize_t n;

	rc = find_user(o->user, &id, e);
	if (rc != ERR_OK)
		return rc;
	if (access(o->argv[0], X_OK) != 0)
		return err_set(e, ERR_NOTFOUND, "program \"%s\" cannot be run: %s", o->argv[0], strerror(errno));
	if (pipe2(fail, O_CLOEXEC) != 0)
		return err_sys(e, errno, "pipe");
	pid = fork();
	if (pid < 0) {
		rc = err_sys(e, errno, "fork for \"%s\"", o->argv[0]);
		close(fail[0]);
		close(fail[1]);
		return rc;
	}
	if (pid == 0)
		run_child(o, &id, parent, fail[1]);
	close(fail[1]);
	do
		n = read(fail[0], &child_errno, sizeof child_errno);
	while (n < 0 && errno == EINTR);
	close(fail[0]);
	if (n > 0) {
		waitpid(pid, NULL, 0);
		return err_sys(e, child_errno, "start \"%s\"", o->argv[0]);
	}
	ret->pid = pid;
	ret->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return ERR_OK;
}

char *spawn_describe_status(int wait_status, char *buf)
{
	if (WIFSIGNALED(wait_status))
		snprintf(buf, 48, "signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	else
		snprintf(buf, 48, "exit %d", WEXITSTATUS(wait_status));
	return buf;
}
