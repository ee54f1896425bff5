#include "store/front.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/front_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 512
#define ACCEPTS 64 /* at once, before open links have their turn */
#define TICK_MS 500

/* --- who is who --- */

void front_set_nodes(struct front *f, const struct config *c)
{
	pthread_mutex_lock(&f->lock);
	f->node_count = 0;
	for (unsigned i = 0; i < c->nodes_count && i < CONFIG_NODES_MAX; i++) {
		struct front_node *n = &f->nodes[f->node_count++];

		str_copy(n->name, sizeof n->name, c->nodes[i].name);
		net_format(c->nodes[i].address, c->nodes[i].raft_port, n->address);
		n->is_removed = c->nodes[i].is_removed;
	}
	f->nodes_number++;
	pthread_mutex_unlock(&f->lock);
}

bool front_find_node(struct front *f, const char *address, char *ret_name)
{
	bool is_removed = false;

	ret_name[0] = '\0';
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->node_count; i++) {
		const struct front_node *n = &f->nodes[i];

		if (strcmp(n->address, address) != 0)
			continue;
		/* A removed node's address may have been given to a new one. */
		if (n->is_removed)
			is_removed = true;
		else
			str_copy(ret_name, FRONT_NAME_CAP, n->name);
	}
	pthread_mutex_unlock(&f->lock);
	return ret_name[0] != '\0' || !is_removed;
}

bool front_is_removed_host(struct front *f, const char *host)
{
	size_t len = strlen(host);
	bool is_removed = false, is_member = false;

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->node_count; i++) {
		const char *address = f->nodes[i].address + (f->nodes[i].address[0] == '[');

		if (strncmp(address, host, len) != 0 || (address[len] != ':' && address[len] != ']') ||
		    (address[len] == ':' && strchr(address + len + 1, ':') != NULL))
			continue;
		is_removed |= f->nodes[i].is_removed;
		is_member |= !f->nodes[i].is_removed; /* the address was given to a new one */
	}
	pthread_mutex_unlock(&f->lock);
	return is_removed && !is_member;
}

bool front_is_removed(struct front *f, const char *name)
{
	bool is_removed = false;

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->node_count; i++)
		is_removed |= f->nodes[i].is_removed && strcmp(f->nodes[i].name, name) == 0;
	pthread_mutex_unlock(&f->lock);
	return is_removed;
}

/* --- what other threads ask for --- */

bool front_ask(struct front *f, const struct dial *d)
{
	struct dial *copy = mem_alloc(sizeof *copy);
	bool is_asked;

	*copy = *d;
	pthread_mutex_lock(&f->lock);
	is_asked = !f->is_stopping;
	if (is_asked) {
		STAILQ_INSERT_TAIL(&f->dials, copy, entry);
		uv_async_send(&f->wake);
	}
	pthread_mutex_unlock(&f->lock);
	if (!is_asked)
		free(copy);
	return is_asked;
}

static struct dial *take_dial(struct front *f)
{
	struct dial *d;

	pthread_mutex_lock(&f->lock);
	d = STAILQ_FIRST(&f->dials);
	if (d != NULL)
		STAILQ_REMOVE_HEAD(&f->dials, entry);
	pthread_mutex_unlock(&f->lock);
	return d;
}

static void drop_dial(struct dial *d)
{
	close(d->inside_fd);
	if (d->outside_fd >= 0)
		close(d->outside_fd);
}

static void stop(struct front *f)
{
	while (!TAILQ_EMPTY(&f->strangers))
		link_close(TAILQ_FIRST(&f->strangers));
	while (!TAILQ_EMPTY(&f->open))
		link_close(TAILQ_FIRST(&f->open));
	if (uv_is_closing((uv_handle_t *)&f->wake))
		return;
	if (f->listen_fd >= 0)
		uv_close((uv_handle_t *)&f->listener, NULL);
	uv_close((uv_handle_t *)&f->wake, NULL);
	uv_close((uv_handle_t *)&f->tick, NULL);
}

static void wake_cb(uv_async_t *wake)
{
	struct front *f = wake->data;
	struct dial *d;
	bool is_stopping;

	pthread_mutex_lock(&f->lock);
	is_stopping = f->is_stopping;
	pthread_mutex_unlock(&f->lock);
	while ((d = take_dial(f)) != NULL) {
		if (is_stopping)
			drop_dial(d);
		else
			link_dialled(f, d);
		free(d);
	}
	if (is_stopping)
		stop(f);
}

/* --- accepting --- */

static void accept_cb(uv_poll_t *poll, int status, int events)
{
	struct front *f = poll->data;
	struct sockaddr_storage peer = {0};
	socklen_t len;
	int fd;

	(void)events;
	for (int i = 0; status == 0 && i < ACCEPTS; i++) {
		len = sizeof peer;
		fd = accept4(f->listen_fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			link_accepted(f, fd, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			refusal_note(&f->refusals, "accepting connections", strerror(errno), clock_now_ms());
			uv_poll_stop(poll); /* it would be called again and again; the tick goes on */
			f->is_paused = true;
		}
		return;
	}
}

static void tick_cb(uv_timer_t *tick)
{
	struct front *f = tick->data;
	int64_t now_ms = clock_now_ms();
	unsigned nodes_number, number = f->tls != NULL ? tls_refresh(f->tls) : 0;

	link_check_deadlines(f, now_ms);
	pthread_mutex_lock(&f->lock);
	nodes_number = f->nodes_number;
	pthread_mutex_unlock(&f->lock);
	if (number != f->checked_number || nodes_number != f->nodes_checked)
		link_check_peers(f);
	f->checked_number = number;
	f->nodes_checked = nodes_number;
	refusal_tick(&f->refusals, now_ms);
	if (f->is_paused)
		f->is_paused = uv_poll_start(&f->listener, UV_READABLE, accept_cb) != 0;
}

static int listen_fd(const char *address, int *ret, struct err *e)
{
	struct sockaddr_storage ss;
	int on = 1, fd, rc = net_parse(address, &ss, e);

	if (rc != 0)
		return rc;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, sizeof ss) != 0 || listen(fd, BACKLOG) != 0) {
		rc = err_set(e, ERR_IO, "cannot listen on %s for the other nodes: %s (see address and ports.raft in node.yaml)",
		             address, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	*ret = fd;
	return 0;
}

static int listen_on(struct front *f, const char *address, struct err *e)
{
	int fd = -1, rc = listen_fd(address, &fd, e);

	if (rc != 0)
		return rc;
	if (uv_poll_init(&f->loop, &f->listener, fd) != 0 || uv_poll_start(&f->listener, UV_READABLE, accept_cb) != 0) {
		close(fd);
		return err_set(e, ERR_NOMEM, "cannot wait for connections on %s", address);
	}
	f->listener.data = f;
	f->listen_fd = fd;
	return 0;
}

/* --- the thread --- */

static void thread_main(void *arg)
{
	struct front *f = arg;

	uv_run(&f->loop, UV_RUN_DEFAULT);
}

int front_open(const struct front_params *p, struct front **ret, struct err *e)
{
	struct front *f = mem_alloc(sizeof *f);
	int rc;

	uv_loop_init(&f->loop);
	uv_async_init(&f->loop, &f->wake, wake_cb);
	uv_timer_init(&f->loop, &f->tick);
	pthread_mutex_init(&f->lock, NULL);
	TAILQ_INIT(&f->strangers);
	TAILQ_INIT(&f->open);
	STAILQ_INIT(&f->dials);
	f->wake.data = f->tick.data = f;
	f->listen_fd = -1;
	f->tls = p->tls;
	f->raft = mem_strdup(p->raft);
	f->sql = mem_strdup(p->sql);
	f->user_timeout_ms = p->user_timeout_ms;
	f->dial_ms = p->dial_ms;
	uv_timer_start(&f->tick, tick_cb, TICK_MS, TICK_MS);
	rc = listen_on(f, p->address, e);
	if (rc != 0) {
		front_stop(f);
		front_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

int front_run(struct front *f, struct err *e)
{
	int rc = uv_thread_create(&f->thread, thread_main, f);

	if (rc != 0)
		return err_set(e, ERR_NOMEM, "cannot start the thread of the network front: %s", uv_strerror(rc));
	f->is_running = true;
	return 0;
}

void front_stop(struct front *f)
{
	if (f == NULL)
		return;
	pthread_mutex_lock(&f->lock);
	f->is_stopping = true;
	uv_async_send(&f->wake);
	pthread_mutex_unlock(&f->lock);
	if (f->is_running)
		uv_thread_join(&f->thread);
	else
		uv_run(&f->loop, UV_RUN_DEFAULT);
	f->is_running = false;
	uv_loop_close(&f->loop);
	if (f->listen_fd >= 0)
		close(f->listen_fd);
	f->listen_fd = -1;
}

void front_free(struct front *f)
{
	if (f == NULL)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f->raft);
	free(f->sql);
	free(f);
}
