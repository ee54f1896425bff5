#include "drivers/tool.h"

#include "core/base/clock.h"
#include "core/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (256 * 1024)

/* The tool inherits our standard input: a memory file for the moment of the start, else the null device. */
static int put_input(const char *input, struct err *e)
{
	size_t len = strlen(input);
	int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "memfd_create");
	if (write(fd, input, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0 || dup2(fd, STDIN_FILENO) < 0) {
		int rc = err_sys(e, errno, "prepare a tool's input");

		close(fd);
		return rc;
	}
	close(fd);
	return ERR_OK;
}

static void take_input_back(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && fd != STDIN_FILENO) {
		dup2(fd, STDIN_FILENO);
		close(fd);
	}
}

static int start(const struct tool *t, int out_fd, struct spawned *ret, struct err *e)
{
	struct spawn_opts o = SPAWN_INIT;
	int rc = ERR_OK;

	o.argv = t->argv;
	o.cwd = "/"; /* never the data directory: its processes are known by that */
	o.stdout_fd = o.stderr_fd = out_fd;
	o.parent_death_signal = SIGKILL;
	if (t->input != NULL)
		rc = put_input(t->input, e);
	if (rc == ERR_OK)
		rc = spawn_start(&o, ret, e);
	if (t->input != NULL)
		take_input_back();
	return rc;
}

/* Reads until the tool has ended or until_ms. The end is the pidfd's: something the tool left behind may hold the pipe open. */
static bool collect(int fd, int pidfd, int64_t until_ms, struct buf *out)
{
	struct pollfd p[2] = {{fd, POLLIN, 0}, {pidfd, POLLIN, 0}};
	char chunk[4096];
	bool has_ended = false;
	ssize_t n = 1;

	while (!has_ended) {
		int64_t left = until_ms - clock_now_ms();

		if (left <= 0)
			return false;
		if (poll(p, 2, left > 1000 ? 1000 : (int)left) < 0 && errno != EINTR)
			return false;
		has_ended = (p[1].revents & POLLIN) != 0;
		while ((n = read(fd, chunk, sizeof chunk)) > 0)
			if (out->len < OUTPUT_MAX)
				buf_add(out, chunk, (size_t)n);
		if (n == 0)
			p[0].fd = -1;
	}
	return true;
}

static const char *last_line(struct buf *b)
{
	char *nl;

	while (b->len > 0 && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == ' '))
		b->data[--b->len] = '\0';
	if (b->len == 0)
		return "it said nothing";
	nl = strrchr(b->data, '\n');
	return nl != NULL ? nl + 1 : b->data;
}

/* The first line that says error: what follows it is hints and details. */
static const char *telling_line(struct buf *b)
{
	static const char *const marks[] = {"FATAL:", "PANIC:", "error:", "ERROR:"};
	const char *last = last_line(b);
	char *at = NULL;
	size_t i;

	for (i = 0; b->len > 0 && at == NULL && i < sizeof marks / sizeof marks[0]; i++)
		at = strstr(b->data, marks[i]);
	if (at == NULL)
		return last;
	at[strcspn(at, "\n")] = '\0';
	return at;
}

int tool_run(const struct tool *t, struct buf *out, struct err *e)
{
	int64_t until_ms = clock_now_ms() + t->limit_ms;
	struct buf own = {0}, *b = out != NULL ? out : &own;
	struct spawned proc;
	char how[48];
	int fds[2], rc, status = 0;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return err_sys(e, errno, "pipe");
	fcntl(fds[1], F_SETFL, 0);
	rc = start(t, fds[1], &proc, e);
	close(fds[1]);
	if (rc != ERR_OK) {
		close(fds[0]);
		return rc;
	}
	if (!collect(fds[0], proc.pidfd, until_ms, b)) {
		kill(proc.pid, SIGKILL);
		rc = err_set(e, ERR_TIMEOUT, "%s has not ended within %d ms", t->argv[0], t->limit_ms);
	}
	waitpid(proc.pid, &status, 0);
	close(proc.pidfd);
	close(fds[0]);
	if (rc == ERR_OK && status != 0)
		rc = err_set(e, ERR_IO, "%s: %s: %.300s", t->argv[0], spawn_describe_status(status, how), telling_line(b));
	buf_done(&own);
	return rc;
}
