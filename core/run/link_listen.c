/* The listening sockets are ours, not libwebsockets': a failed bind gets a message that says what to do, two addresses share
 * one virtual host, and a restarted process listens again at once. Accepted sockets are handed over. */
#include "core/run/link_internal.h"

#include "core/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG        128
#define ACCEPTS_A_TURN 16

void link_set_socket_options(int fd)
{
	int on = 1;
	unsigned timeout_ms = LINK_USER_TIMEOUT_MS;

	/* Neither can fail on a TCP socket, and without them the link still works, only later. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *ln = poll->data;
	unsigned i;
	int fd;

	(void)events;
	if (status < 0) /* libuv watches no more after an error */
		uv_poll_start(poll, UV_READABLE, on_acceptable);
	for (i = 0; i < ACCEPTS_A_TURN; i++) {
		fd = accept4(ln->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		guest_accept(ln->hub, fd, ln->is_local);
	}
}

static socklen_t fill_address(const char *address, uint16_t port, struct sockaddr_storage *sa)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;

	memset(sa, 0, sizeof *sa);
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return sizeof *v6;
	}
	return 0;
}

static int open_socket(const char *address, uint16_t port, int *ret_fd, struct err *e)
{
	struct sockaddr_storage sa;
	socklen_t len = fill_address(address, port, &sa);
	int fd, on = 1, saved;

	if (len == 0)
		return err_set(e, ERR_INVAL, "address \"%s\" is not a numeric IPv4 or IPv6 address", address);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	/* Without it a restarted process would wait a minute for the connections of the one before. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, (struct sockaddr *)&sa, len) == 0 &&
	    listen(fd, BACKLOG) == 0) {
		*ret_fd = fd;
		return ERR_OK;
	}
	saved = errno;
	close(fd);
	if (saved == EADDRINUSE)
		return err_set(e, ERR_EXISTS, "another program listens at %s port %u: stop it, or set ports: {peer: ...}",
		               address, port);
	if (saved == EADDRNOTAVAIL)
		return err_set(e, ERR_INVAL,
		               "address %s is on no interface of this host: correct `address` in the configuration", address);
	return err_sys(e, saved, "listen at %s port %u", address, port);
}

/* The run directory belongs to this node alone (supervise_lock): what lies there is left over. */
static int open_local(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, saved;

	str_copy(sa.sun_path, sizeof sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	/* Anybody may connect: who it is decides what he may do. */
	if ((unlink(path) == 0 || errno == ENOENT) && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
	    chmod(path, 0666) == 0 && listen(fd, BACKLOG) == 0) {
		*ret_fd = fd;
		return ERR_OK;
	}
	saved = errno;
	close(fd);
	return err_sys(e, saved, "socket \"%s\"", path);
}

static int watch(struct link_hub *l, struct listener *ln, struct err *e)
{
	int rc;

	ln->hub = l;
	rc = uv_poll_init(l->loop, &ln->poll, ln->fd);
	if (rc != 0) {
		close(ln->fd);
		ln->fd = -1;
		return err_set(e, ERR_IO, "watch a listening socket: %s", uv_strerror(rc));
	}
	ln->poll.data = ln;
	ln->is_polled = true;
	l->open_handles++;
	uv_poll_start(&ln->poll, UV_READABLE, on_acceptable);
	return ERR_OK;
}

static int start_listener(struct link_hub *l, struct listener *ln, const char *address, struct err *e)
{
	int rc = open_socket(address, l->config->ports.peer, &ln->fd, e);

	return rc == ERR_OK ? watch(l, ln, e) : rc;
}

int link_listen_local(struct link_hub *l, struct err *e)
{
	struct listener *ln = &l->listeners[2];
	char path[108];
	int rc;

	if (l->config->run_dir == NULL)
		return ERR_OK;
	rc = open_local(config_path_api(l->config, path), &ln->fd, e);
	ln->is_local = true;
	return rc == ERR_OK ? watch(l, ln, e) : rc;
}

int link_listen(struct link_hub *l, struct err *e)
{
	const char *address = l->config->address;
	struct err second = ERR_INIT;
	int rc = start_listener(l, &l->listeners[0], address, e);

	if (rc != ERR_OK)
		return rc;
	/* For programs on this host; several nodes on one machine cannot all have it, and do not need it. */
	if (strcmp(address, "127.0.0.1") != 0 && strcmp(address, "0.0.0.0") != 0 && strcmp(address, "::") != 0 &&
	    start_listener(l, &l->listeners[1], "127.0.0.1", &second) != ERR_OK)
		log_info("link", "not listening at 127.0.0.1 as well: %s", second.text);
	return ERR_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct listener *ln = handle->data;

	ln->hub->open_handles--;
}

void link_unlisten(struct link_hub *l)
{
	char path[108];
	unsigned i;

	if (l->listeners[2].is_polled)
		(void)unlink(config_path_api(l->config, path));
	for (i = 0; i < 3; i++) {
		struct listener *ln = &l->listeners[i];

		if (!ln->is_polled)
			continue;
		ln->is_polled = false;
		uv_poll_stop(&ln->poll);
		uv_close((uv_handle_t *)&ln->poll, on_listener_closed);
		close(ln->fd);
		ln->fd = -1;
	}
}
