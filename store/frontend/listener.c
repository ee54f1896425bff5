#include "store/frontend/listener.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "store/frontend/session.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 256

struct listener {
	struct frontend *f;
	uv_pipe_t pipe, relay;
	uv_tcp_t tcp;
	bool has_pipe, has_relay, has_tcp; /* initialised, so to be closed */
	unsigned handles_open;
	char path[108];
	void (*done_cb)(void *arg);
	void *done_arg;
};

static void connection_cb(uv_stream_t *server, int status)
{
	struct listener *l = server->data;

	if (status < 0)
		log_warn("sql", "a connection could not be accepted: %s", uv_strerror(status));
	else
		session_accept(l->f, server,
		               server == (uv_stream_t *)&l->pipe    ? DOOR_UNIX
		               : server == (uv_stream_t *)&l->relay ? DOOR_RELAY
		                                                    : DOOR_TCP);
}

static int listen_tcp(struct listener *l, const struct config *c, struct err *e)
{
	struct sockaddr_storage address;
	int rc;

	if (uv_ip4_addr(c->sql.listen, c->ports.sql, (struct sockaddr_in *)&address) != 0 &&
	    uv_ip6_addr(c->sql.listen, c->ports.sql, (struct sockaddr_in6 *)&address) != 0)
		return err_set(e, ERR_INVAL, "sql: listen: \"%s\" is not a numeric address", c->sql.listen);
	uv_tcp_init(l->f->loop, &l->tcp);
	l->tcp.data = l;
	l->has_tcp = true;
	rc = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, connection_cb);
	if (rc != 0)
		return err_set(e, ERR_IO, "SQL port %s:%u cannot be listened on: %s; free it or change ports: sql",
		               c->sql.listen, c->ports.sql, uv_strerror(rc));
	return ERR_OK;
}

/* libuv of this age knows no abstract names: bound here. */
static int listen_relay(struct listener *l, struct err *e)
{
	const char *name = node_sql_address(l->f->node);
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sun.sun_path, name, strlen(name));
	sun.sun_path[0] = '\0';
	uv_pipe_init(l->f->loop, &l->relay, 0);
	l->relay.data = l;
	l->has_relay = true;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, len) != 0 || uv_pipe_open(&l->relay, fd) != 0) {
		(void)err_sys(e, errno, "the socket %s for sessions of other nodes cannot be bound", name);
		if (fd >= 0)
			close(fd);
		return ERR_IO;
	}
	if (uv_listen((uv_stream_t *)&l->relay, BACKLOG, connection_cb) != 0)
		return err_set(e, ERR_IO, "the socket %s for sessions of other nodes cannot be listened on", name);
	return ERR_OK;
}

static int listen_unix(struct listener *l, const struct config *c, struct err *e)
{
	int n = snprintf(l->path, sizeof(l->path), "%s/.s.PGSQL.%u", c->run_dir, c->ports.sql);
	int rc;

	if (n < 0 || (size_t)n >= sizeof(l->path)) {
		l->path[0] = '\0';
		return err_set(e, ERR_INVAL, "run_dir \"%s\" is too long for a unix socket: use a shorter one", c->run_dir);
	}
	if (mkdir(c->run_dir, 0755) != 0 && errno != EEXIST)
		return err_sys(e, errno, "run_dir \"%s\" cannot be made", c->run_dir);
	unlink(l->path); /* what a dead process left: the dqlite directory's lock has shown that none is alive */
	uv_pipe_init(l->f->loop, &l->pipe, 0);
	l->pipe.data = l;
	l->has_pipe = true;
	rc = uv_pipe_bind(&l->pipe, l->path);
	if (rc == 0)
		rc = chmod(l->path, 0666) == 0 ? 0 : -errno; /* who may do what is decided by the peer's uid */
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->pipe, BACKLOG, connection_cb);
	if (rc != 0)
		return err_set(e, ERR_IO, "SQL socket \"%s\" cannot be listened on: %s; is run_dir writable?", l->path,
		               uv_strerror(rc));
	return ERR_OK;
}

static void closed_cb(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	if (--l->handles_open > 0)
		return;
	if (l->done_cb != NULL)
		l->done_cb(l->done_arg);
	free(l);
}

void listener_close(struct listener *l, void (*done_cb)(void *arg), void *arg)
{
	l->done_cb = done_cb;
	l->done_arg = arg;
	l->handles_open = (l->has_pipe ? 1 : 0) + (l->has_tcp ? 1 : 0) + (l->has_relay ? 1 : 0);
	if (l->has_pipe && l->path[0] != '\0')
		unlink(l->path);
	if (l->handles_open == 0) { /* the start failed before the first */
		free(l);
		return;
	}
	if (l->has_pipe)
		uv_close((uv_handle_t *)&l->pipe, closed_cb);
	if (l->has_relay)
		uv_close((uv_handle_t *)&l->relay, closed_cb);
	if (l->has_tcp)
		uv_close((uv_handle_t *)&l->tcp, closed_cb);
}

int listener_start(struct frontend *f, struct listener **ret, struct err *e)
{
	struct listener *l = mem_alloc(sizeof(*l));
	int rc = ERR_OK;

	l->f = f;
	if (f->config->sql.auth != NULL && strcmp(f->config->sql.auth, "insecure-trust") == 0)
		rc = listen_tcp(l, f->config, e);
	if (rc == ERR_OK)
		rc = listen_relay(l, e);
	if (rc == ERR_OK)
		rc = listen_unix(l, f->config, e); /* last: its file is the sign that the store is ready */
	if (rc != ERR_OK) {
		listener_close(l, NULL, NULL);
		return rc;
	}
	*ret = l;
	return ERR_OK;
}
