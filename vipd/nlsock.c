#include "vipd/nlsock.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <sys/socket.h>

/* A flood of changes by others (a firewall that is loaded again) must not cost us notifications. */
#define WATCH_BUFFER (4 << 20)

int nlsock_open(int bus, unsigned groups, struct mnl_socket **ret, struct err *e)
{
	struct mnl_socket *s = mnl_socket_open2(bus, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int size = WATCH_BUFFER, saved;

	if (s == NULL || mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) < 0 ||
	    (groups != 0 && setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)) {
		saved = errno;
		nlsock_close(&s);
		return err_sys(e, saved, "netlink socket of family %d", bus);
	}
	*ret = s;
	return ERR_OK;
}

void nlsock_close(struct mnl_socket **s)
{
	if (*s != NULL)
		mnl_socket_close(*s);
	*s = NULL;
}
