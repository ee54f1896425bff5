#include "core/base/clock.h"
#include "store/front.h"
#include "store/net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

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

int front_dial(void *arg, const char *address, int *ret_fd)
{
	const struct front_dialer *dialer = arg;
	int64_t deadline_ms = clock_now_ms() + dialer->deadline_ms;
	struct sockaddr_storage ss;
	int fd, rc;

	if (net_parse(address, &ss, NULL) != 0)
		return EINVAL;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	net_tune(fd, dialer->user_timeout_ms);
	rc = connect(fd, (struct sockaddr *)&ss, sizeof ss) == 0 ? 0 : errno;
	if (rc == EINPROGRESS)
		rc = wait_connected(fd, deadline_ms);
	/* dqlite writes its greeting before it hands the descriptor to its loop, and expects that to block. */
	if (rc == 0 && fcntl(fd, F_SETFL, 0) != 0)
		rc = errno;
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}
