#include "vipd/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <time.h>

static const cap_value_t kept[] = {CAP_NET_ADMIN, CAP_NET_RAW};
#define KEPT_COUNT ((int)(sizeof kept / sizeof kept[0]))

static const int allowed_calls[] = {
        /* the loop */
        SCMP_SYS(epoll_wait),
        SCMP_SYS(epoll_pwait),
        SCMP_SYS(epoll_ctl),
        SCMP_SYS(timerfd_settime),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(rt_sigreturn),
        /* the sockets that are open, and the control connections that come */
        SCMP_SYS(accept4),
        SCMP_SYS(getsockopt),
        SCMP_SYS(setsockopt),
        SCMP_SYS(bind),
        SCMP_SYS(sendto),
        SCMP_SYS(sendmsg),
        SCMP_SYS(recvfrom),
        SCMP_SYS(recvmsg),
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(close),
        SCMP_SYS(geteuid),
        /* memory, and dying in an orderly way (a failed assertion must be readable) */
        SCMP_SYS(brk),
        SCMP_SYS(mmap),
        SCMP_SYS(munmap),
        SCMP_SYS(mremap),
        SCMP_SYS(madvise),
        SCMP_SYS(futex),
        SCMP_SYS(getpid),
        SCMP_SYS(gettid),
        SCMP_SYS(tgkill),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
};

int sandbox_check_capabilities(struct err *e)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t has;
	int i, missing = 0;

	if (caps == NULL)
		return err_sys(e, errno, "capabilities");
	for (i = 0; i < KEPT_COUNT; i++)
		if (cap_get_flag(caps, kept[i], CAP_EFFECTIVE, &has) != 0 || has != CAP_SET)
			missing++;
	cap_free(caps);
	if (missing > 0)
		return err_set(e, ERR_REFUSED,
		               "VIP support needs CAP_NET_ADMIN and CAP_NET_RAW: start mha-vipd as root or with these two as "
		               "ambient capabilities (systemd: AmbientCapabilities=)");
	return ERR_OK;
}

static int drop_capabilities(struct err *e)
{
	cap_t caps = cap_init();
	cap_value_t cap;
	int rc = ERR_OK;

	if (caps == NULL)
		return err_sys(e, errno, "capabilities");
	/* Only who has CAP_SETPCAP may shrink the bounding set; without it nothing can be gained through it either (no exec).
	 */
	for (cap = 0; cap_get_bound(cap) >= 0; cap++)
		if (cap != CAP_NET_ADMIN && cap != CAP_NET_RAW && cap_drop_bound(cap) != 0)
			break;
	if (cap_reset_ambient() != 0 || cap_set_flag(caps, CAP_PERMITTED, KEPT_COUNT, kept, CAP_SET) != 0 ||
	    cap_set_flag(caps, CAP_EFFECTIVE, KEPT_COUNT, kept, CAP_SET) != 0 || cap_set_proc(caps) != 0)
		rc = err_sys(e, errno, "dropping capabilities");
	cap_free(caps);
	return rc;
}

#ifdef __SANITIZE_ADDRESS__
/* The sanitizer's own threads and ptrace at exit need calls that this list exists to forbid. */
static int filter_calls(struct err *e)
{
	(void)e;
	(void)allowed_calls;
	return ERR_OK;
}
#else
static int filter_calls(struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	unsigned i;
	int error = filter == NULL ? -ENOMEM : 0;

	for (i = 0; error == 0 && i < sizeof allowed_calls / sizeof allowed_calls[0]; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	if (error == 0)
		error = seccomp_load(filter);
	seccomp_release(filter);
	if (error != 0)
		return err_sys(e, -error, "system call filter");
	return ERR_OK;
}
#endif

const char *sandbox_describe(void)
{
#ifdef __SANITIZE_ADDRESS__
	return "CAP_NET_ADMIN and CAP_NET_RAW only, no new privileges, any system call (sanitizer)";
#else
	return "CAP_NET_ADMIN and CAP_NET_RAW only, no new privileges, no files, programs or new sockets (system call filter)";
#endif
}

int sandbox_enter(struct err *e)
{
	int rc;

	/* The C library reads the time zone's file at the first time stamp of a log line, which must be now. */
	tzset();
	rc = drop_capabilities(e);
	if (rc != ERR_OK)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_sys(e, errno, "no_new_privs");
	return filter_calls(e);
}
