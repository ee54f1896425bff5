#include "drivers/procs.h"

#include "core/base/str.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DELETED                                                                                                                \
	" (deleted)" /* what the kernel appends after an upgrade replaced the program, or the directory was renamed away */

static bool read_link(pid_t pid, const char *name, char *buf, size_t cap)
{
	char path[64];
	size_t tail = strlen(DELETED);
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	n = readlink(path, buf, cap - 1);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	if ((size_t)n > tail && strcmp(buf + (size_t)n - tail, DELETED) == 0)
		buf[(size_t)n - tail] = '\0';
	return true;
}

static bool matches(pid_t pid, const char *real_dir, const char *program)
{
	char cwd[PATH_MAX], exe[PATH_MAX];
	const char *base;

	if (!read_link(pid, "cwd", cwd, sizeof cwd) || strcmp(cwd, real_dir) != 0 || !read_link(pid, "exe", exe, sizeof exe))
		return false;
	base = strrchr(exe, '/');
	return base != NULL && strcmp(base + 1, program) == 0;
}

char *procs_real_dir(const char *data_dir, char *buf)
{
	if (realpath(data_dir, buf) == NULL)
		str_copy(buf, PATH_MAX, data_dir);
	return buf;
}

bool procs_is_server(pid_t pid, const char *real_dir, const char *program)
{
	return pid > 0 && matches(pid, real_dir, program);
}

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512];
	const char *p;
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return 0;
	/* The program's name in parentheses may hold anything, a parenthesis too: the state follows the last one. */
	if (fgets(text, sizeof text, f) != NULL && (p = strrchr(text, ')')) != NULL && sscanf(p + 1, " %*c %d", &parent) != 1)
		parent = 0;
	fclose(f);
	return parent;
}

static pid_t next_pid(DIR *proc)
{
	struct dirent *d;

	while ((d = readdir(proc)) != NULL)
		if (isdigit((unsigned char)d->d_name[0]))
			return (pid_t)atoi(d->d_name);
	return 0;
}

pid_t procs_find_main(const char *real_dir, const char *program)
{
	pid_t pid, found = 0;
	DIR *proc = opendir("/proc");

	if (proc == NULL)
		return 0;
	while (found == 0 && (pid = next_pid(proc)) > 0)
		if (matches(pid, real_dir, program) && !matches(parent_of(pid), real_dir, program))
			found = pid;
	closedir(proc);
	return found;
}

/* Through a pidfd that is checked after it was opened: the number may have passed to a stranger meanwhile. */
static bool signal_one(pid_t pid, const char *real_dir, const char *program, int sig)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	bool is_ours = fd >= 0 && matches(pid, real_dir, program);

	if (is_ours && sig != 0)
		syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
	if (fd >= 0)
		close(fd);
	return is_ours;
}

size_t procs_signal(const char *real_dir, const char *program, int sig, pid_t except)
{
	size_t count = 0;
	DIR *proc = opendir("/proc");
	pid_t pid;

	if (proc == NULL)
		return 0;
	while ((pid = next_pid(proc)) > 0)
		if (pid != except && matches(pid, real_dir, program) && signal_one(pid, real_dir, program, sig))
			count++;
	closedir(proc);
	return count;
}
