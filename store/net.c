#include "store/net.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_S     3
#define KEEPALIVE_INTERVAL_S 3
#define KEEPALIVE_COUNT      3

/* host: without brackets. */
static bool split(const char *text, char *host, size_t cap, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (colon == NULL)
		return false;
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len) != NULL) {
		return false;
	}
	if (len == 0 || len >= cap)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	*port = colon + 1;
	return true;
}

int net_parse(const char *text, struct sockaddr_storage *ret, struct err *e)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;
	char host[INET6_ADDRSTRLEN];
	const char *port_text;
	uint64_t port;
	int rc;

	if (!split(text, host, sizeof host, &port_text))
		return err_set(e, ERR_INVAL, "address \"%s\" is not HOST:PORT (IPv6: [HOST]:PORT)", text);
	rc = str_to_u64(port_text, "port", 1, UINT16_MAX, &port, e);
	if (rc != 0)
		return err_wrap(e, "address \"%s\"", text);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
	} else {
		return err_set(e, ERR_INVAL, "address \"%s\": the host must be a numeric address", text);
	}
	*ret = ss;
	return 0;
}

char *net_format(const char *host, uint16_t port, char *buf)
{
	snprintf(buf, NET_ADDRESS_CAP, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
	return buf;
}

int net_connect_abstract(const char *name)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd, rc;

	if (len < 2 || len > sizeof sun.sun_path)
		return -EINVAL;
	memcpy(sun.sun_path, name, len);
	sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

void net_tune(int fd, unsigned user_timeout_ms)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}
