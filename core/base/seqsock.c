#include "core/base/seqsock.h"

#include "core/base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG    8
#define SOCK_FLAGS (SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK)

static int fill_address(const char *path, struct sockaddr_un *sa, struct err *e)
{
	memset(sa, 0, sizeof *sa);
	sa->sun_family = AF_UNIX;
	if (!str_copy(sa->sun_path, sizeof sa->sun_path, path))
		return err_set(e, ERR_INVAL, "socket path \"%s\" is longer than %zu bytes: choose a shorter run directory",
		               path, sizeof sa->sun_path - 1);
	return ERR_OK;
}

static int read_peer(int fd, struct seq_peer *ret_peer, struct err *e)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return err_sys(e, errno, "peer credentials");
	ret_peer->uid = cred.uid;
	ret_peer->pid = cred.pid;
	return ERR_OK;
}

int seq_listen(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un sa;
	int fd, rc;

	rc = fill_address(path, &sa, e);
	if (rc != ERR_OK)
		return rc;
	fd = socket(AF_UNIX, SOCK_FLAGS, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
		rc = err_sys(e, errno, "listen at \"%s\"", path);
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return ERR_OK;
}

int seq_accept(int listen_fd, int *ret_fd, struct seq_peer *ret_peer, struct err *e)
{
	int fd, rc;

	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)) {
		*ret_fd = -1;
		return ERR_OK;
	}
	if (fd < 0)
		return err_sys(e, errno, "accept");
	rc = read_peer(fd, ret_peer, e);
	if (rc != ERR_OK) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return ERR_OK;
}

int seq_connect(const char *path, int *ret_fd, struct seq_peer *ret_peer, struct err *e)
{
	struct sockaddr_un sa;
	int fd, rc;

	rc = fill_address(path, &sa, e);
	if (rc != ERR_OK)
		return rc;
	fd = socket(AF_UNIX, SOCK_FLAGS, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		int saved = errno;

		close(fd);
		return err_set(e, ERR_UNREACHABLE, "connect to \"%s\": %s", path, strerror(saved));
	}
	rc = read_peer(fd, ret_peer, e);
	if (rc != ERR_OK) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return ERR_OK;
}

int seq_send(int fd, const void *msg, size_t len, struct err *e)
{
	ssize_t n;

	do
		n = send(fd, msg, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)len)
		return ERR_OK;
	if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
		return err_set(e, ERR_TIMEOUT, "the peer does not read its messages");
	return err_set(e, ERR_UNREACHABLE, "send: %s", n < 0 ? strerror(errno) : "short packet");
}

int seq_recv(int fd, void *msg, size_t len, struct err *e)
{
	struct iovec iov = {msg, len};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(fd, &hdr, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return ERR_TIMEOUT;
	if (n < 0)
		return err_set(e, ERR_UNREACHABLE, "receive: %s", strerror(errno));
	if (n == 0)
		return err_set(e, ERR_UNREACHABLE, "the peer closed the connection");
	if ((size_t)n != len || (hdr.msg_flags & MSG_TRUNC) != 0)
		return err_set(e, ERR_PROTOCOL, "a packet of %zd bytes%s where %zu are expected", n,
		               (hdr.msg_flags & MSG_TRUNC) != 0 ? " or more" : "", len);
	return ERR_OK;
}
