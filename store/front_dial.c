#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/front_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int front_connect_inside(const char *name)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	int fd = net_connect_abstract(name);

	/* Any process of the host may have taken the name while nobody else held it. */
	if (fd >= 0 && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid != getpid())) {
		close(fd);
		return -1;
	}
	return fd >= 0 ? fd : -1;
}

/* 0 when the connection stands before the deadline. */
static int wait_connected(int fd, int64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int so_error = 0;
	socklen_t len = sizeof so_error;

	for (;;) {
		int64_t left_ms = deadline_ms - clock_now_ms();
		int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);

		if (n > 0)
			break;
		if (n == 0)
			return ETIMEDOUT;
		if (errno != EINTR)
			return errno;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &so_error, &len) != 0)
		return errno;
	return so_error;
}

static int connect_tcp(const struct front *f, const char *address, int *ret_fd)
{
	int64_t deadline_ms = clock_now_ms() + f->dial_ms;
	struct sockaddr_storage ss;
	int fd, rc;

	if (net_parse(address, &ss, NULL) != 0)
		return EINVAL;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	net_tune(fd, f->user_timeout_ms);
	rc = connect(fd, (struct sockaddr *)&ss, sizeof ss) == 0 ? 0 : errno;
	if (rc == EINPROGRESS)
		rc = wait_connected(fd, deadline_ms);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* Hands the way to `address` to the thread; *ret_fd is this side's end of it. Takes outside_fd. */
static int ask(struct front *f, const char *address, const char *preface, int outside_fd, int *ret_fd)
{
	struct dial d = {.outside_fd = outside_fd};
	int pair[2] = {-1, -1}, rc = 0;

	str_copy(d.address, sizeof d.address, address);
	str_copy(d.preface, sizeof d.preface, preface);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		rc = errno;
	d.inside_fd = pair[0];
	if (rc == 0 && !front_ask(f, &d))
		rc = ESHUTDOWN;
	if (rc == 0) {
		*ret_fd = pair[1];
		return 0;
	}
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
	if (outside_fd >= 0)
		close(outside_fd);
	return rc;
}

int front_connect(struct front *f, const char *address, const char *preface, int *ret_fd)
{
	return ask(f, address, preface, -1, ret_fd);
}

int front_dial(void *front, const char *address, int *ret_fd)
{
	struct front *f = front;
	char name[FRONT_NAME_CAP];
	int fd = -1, rc;

	if (!front_find_node(f, address, name))
		return EHOSTUNREACH; /* removed from the cluster */
	rc = connect_tcp(f, address, &fd);
	if (rc == 0 && f->tls != NULL)
		rc = ask(f, address, "", fd, &fd);
	if (rc != 0)
		return rc;
	/* dqlite writes its greeting before it hands the descriptor to its loop, and expects that to block. */
	if (fcntl(fd, F_SETFL, 0) != 0) {
		rc = errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}
