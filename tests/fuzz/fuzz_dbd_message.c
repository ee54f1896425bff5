/* The guard of mha-dbd between the control process and its own workers: orders and answers of any shape, while servers start
 * and end and time passes. No process is started or signalled, no file is written: what would do that is replaced while
 * linking. Promise checked after every step: a primary whose lease has lapsed is being stopped; an epoch never goes back. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "drivers/guard.h"
#include "drivers/procs.h"
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS_MAX 200

static struct guard g;
static struct lease lease;
static int64_t now_ns;
static int control_far, worker_far, prober_far; /* the other ends */
static bool can_spawn;

/* --- in the place of the world --- */

int64_t __wrap_clock_now_ns(void);
int64_t __wrap_clock_now_ns(void)
{
	return now_ns;
}

int __wrap_spawn_start(const struct spawn_opts *o, struct spawned *ret, struct err *e);
int __wrap_spawn_start(const struct spawn_opts *o, struct spawned *ret, struct err *e)
{
	size_t i, sum = 0;

	for (i = 0; o->argv[i] != NULL; i++)
		sum += strlen(o->argv[i]);
	__asm__ volatile("" : : "r"(sum));
	if (!can_spawn)
		return err_set(e, ERR_IO, "made to fail");
	ret->pid = 999999;
	ret->pidfd = -1;
	return ERR_OK;
}

int __wrap_kill(pid_t pid, int sig);
int __wrap_kill(pid_t pid, int sig)
{
	(void)pid;
	(void)sig;
	return 0;
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	(void)number; /* pidfd_send_signal and pidfd_open are all that is called by number */
	return 0;
}

size_t __wrap_procs_signal(const char *real_dir, const char *program, int sig, pid_t except);
size_t __wrap_procs_signal(const char *real_dir, const char *program, int sig, pid_t except)
{
	(void)real_dir;
	(void)program;
	(void)sig;
	(void)except;
	return 0;
}

int __wrap_guard_watch(struct guard *guard, int fd, unsigned kind, struct err *e);
int __wrap_guard_watch(struct guard *guard, int fd, unsigned kind, struct err *e)
{
	(void)guard;
	(void)fd;
	(void)kind;
	(void)e;
	return ERR_OK;
}

int __wrap_file_write(const char *path, const void *data, size_t len, struct err *e);
int __wrap_file_write(const char *path, const void *data, size_t len, struct err *e)
{
	(void)path;
	(void)data;
	(void)len;
	(void)e;
	return ERR_OK;
}

void __wrap_log_line(enum log_level level, const char *obj, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void __wrap_log_line(enum log_level level, const char *obj, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	(void)level;
	(void)obj;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap); /* reads every argument */
	va_end(ap);
}

/* --- the guard --- */

static void make_pair(int *ret_near, int *ret_far)
{
	int fds[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	*ret_near = fds[0];
	*ret_far = fds[1];
}

static void start_helper(struct helper *h, const char *task, int *far)
{
	helper_init(h, task);
	make_pair(&h->sock, far);
}

static void init(void)
{
	static struct config_instance inst;
	static struct config cfg;

	inst.group = inst.engine = inst.data_dir = (char *)(uintptr_t) "fake";
	cfg.state_dir = cfg.run_dir = (char *)(uintptr_t) "/nowhere";
	cfg.instances = &inst;
	cfg.instances_count = 1;
	memset(&g, 0, sizeof g);
	memset(&lease, 0, sizeof lease);
	now_ns = 1000000 * CLOCK_NS_PER_MS;
	g.cfg = &cfg;
	g.inst = &inst;
	g.driver = driver_find("fake");
	g.config_path = "/nowhere";
	str_copy(g.obj, sizeof g.obj, "group fake");
	str_copy(g.log_path, sizeof g.log_path, "/dev/null");
	g.lease.map = &lease;
	g.epoll_fd = g.listen_fd = g.signal_fd = g.lease_timer_fd = g.tick_fd = g.server.pidfd = -1;
	g.server.phase = DBD_PROC_STOPPED;
	g.server.immediate_at_ns = g.server.kill_at_ns = g.server.leftovers_at_ns = GUARD_NEVER;
	make_pair(&g.control_fd, &control_far);
	start_helper(&g.worker, "verb", &worker_far);
	start_helper(&g.prober, "probe", &prober_far);
	can_spawn = true;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void done(void)
{
	close_fd(g.control_fd);
	close_fd(g.worker.sock);
	close_fd(g.prober.sock);
	close_fd(control_far);
	close_fd(worker_far);
	close_fd(prober_far);
}

static void drain(int fd)
{
	static char bytes[sizeof(struct work_msg)];

	while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
}

static void order(struct fuzz_input *in)
{
	static struct dbd_msg m;
	uint8_t kind = fuzz_byte(in), time = fuzz_byte(in);

	memset(&m, 0, sizeof m);
	m.version = DBD_MSG_VERSION;
	m.type = kind & 0x1f;
	m.seq = 1;
	m.epoch = time & 7;
	m.mode = (uint16_t)(1 + (kind >> 5 & 1));
	m.deadline_ns = (kind & 0x80) != 0 ? 0 : now_ns + (int64_t)(time >> 3) * 2500 * CLOCK_NS_PER_MS;
	m.grace_ms = (kind & 0x40) != 0 ? 3000 : 0;
	if ((kind & 0x1f) == 0x1f) /* anything at all */
		(void)fuzz_bytes(in, &m, sizeof m);
	(void)send(control_far, &m, sizeof m, MSG_NOSIGNAL);
	if (g.control_fd >= 0)
		control_on_readable(&g);
}

/* What a worker says: mostly an answer to what it was asked. */
static void answer(struct fuzz_input *in, struct helper *h, int far)
{
	static struct work_msg m;
	uint8_t kind = fuzz_byte(in), how = fuzz_byte(in);

	memset(&m, 0, sizeof m);
	m.type = kind % 8;
	m.seq = h->seq;
	m.rc = (how & 1) != 0 ? ERR_IO : 0;
	m.server_pid = (how & 2) != 0 ? 0 : g.server.pid;
	m.is_committed = how >> 2 & 1;
	m.seen_epoch = m.promoted_epoch = how >> 3 & 7;
	m.order.report.process = kind >> 3 & 7;
	m.order.report.role = kind >> 6;
	m.order.report.is_accepting = how >> 6 & 1;
	m.argv_len = (uint16_t)snprintf(m.argv, sizeof m.argv, "/bin/server") + 1;
	if ((how & 0x80) != 0)
		(void)fuzz_bytes(in, &m, sizeof m);
	(void)send(far, &m, sizeof m, MSG_NOSIGNAL);
	if (helper_is_up(h))
		helper_on_readable(&g, h);
}

/* Whatever the workers said: what reaches the control process is sound. */
static void hear_reports(void)
{
	static struct dbd_msg m;

	while (recv(control_far, &m, sizeof m, MSG_DONTWAIT) > 0)
		FUZZ_CHECK(dbd_msg_is_sound(&m) && (m.type == DBD_REPLY || m.type == DBD_REPORT));
}

/* The loop's timers, in its order. */
static void pass(int64_t ns)
{
	now_ns += ns;
	server_tick(&g, now_ns);
	helper_tick(&g, now_ns);
	control_tick(&g, now_ns);
	(void)server_due_ns(&g);
	(void)helper_due_ns(&g);
	(void)control_due_ns(&g);
}

static void reconnect(void)
{
	close_fd(g.control_fd);
	close_fd(control_far);
	g.control_fd = control_far = -1;
	make_pair(&g.control_fd, &control_far);
}

static void server_ends(void)
{
	if (g.server.pid != 0)
		server_on_pidfd(&g);
}

static void step(struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in);

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		order(in);
		break;
	case 3:
		answer(in, &g.worker, worker_far);
		break;
	case 4:
		answer(in, &g.prober, prober_far);
		break;
	case 5:
		server_ends();
		break;
	case 6:
		can_spawn = (what & 8) == 0;
		reconnect();
		break;
	default:
		pass((int64_t)(what >> 3) * 300 * CLOCK_NS_PER_MS);
	}
	pass(0);
}

static void check(uint64_t epoch_before)
{
	FUZZ_CHECK(lease.seen_epoch >= epoch_before);
	if (server_is_primary(&g) && lease.expires_ns <= now_ns)
		FUZZ_CHECK(g.server.is_fenced);
	FUZZ_CHECK(lease.expires_ns <= now_ns + LEASE_MAX_AHEAD_MS * CLOCK_NS_PER_MS);
	if (g.server.pid == 0)
		FUZZ_CHECK(g.verb.type != 0 || !server_is_primary(&g));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned n;

	init();
	for (n = 0; n < STEPS_MAX && in.left > 0; n++) {
		uint64_t epoch = lease.seen_epoch;

		step(&in);
		check(epoch);
		hear_reports();
		drain(worker_far);
		drain(prober_far);
	}
	done();
	return 0;
}
