#include "store/front.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/net.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG                128
#define LINKS_MAX              512
#define BUFFER_BYTES           ((size_t)64 << 10)
#define FIRST_BYTE_DEADLINE_MS 10000 /* who connects and says nothing is sent away */

struct link;

/* One end of a link. Its buffer holds what was read here and is not yet written to the other end: while that is so, no more is
 * read. */
struct end {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	struct link *link;
	struct end *other;
	uv_write_t write; /* of this end's buffer to the other end */
	char buffer[BUFFER_BYTES];
};

struct link {
	struct front *front;
	struct link *next, *prev;
	struct end outside, inside; /* TCP, dqlite */
	uv_timer_t deadline;
	unsigned handles_open;
	bool is_closing;
};

struct front {
	uv_loop_t loop;
	uv_tcp_t listener;
	uv_async_t stop;
	uv_thread_t thread;
	bool is_running;
	char *target;
	unsigned user_timeout_ms;
	struct link *links;
	unsigned link_count;
};

static void start_reading(struct end *end);

/* --- one link --- */

static void link_close_cb(uv_handle_t *h)
{
	struct link *l = h->data;

	if (--l->handles_open == 0)
		free(l);
}

static void close_link(struct link *l)
{
	if (l->is_closing)
		return;
	l->is_closing = true;
	if (l->prev != NULL)
		l->prev->next = l->next;
	else
		l->front->links = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	l->front->link_count--;
	l->outside.u.handle.data = l->inside.u.handle.data = l;
	uv_close(&l->outside.u.handle, link_close_cb);
	uv_close(&l->inside.u.handle, link_close_cb);
	uv_close((uv_handle_t *)&l->deadline, link_close_cb);
}

static void deadline_cb(uv_timer_t *timer)
{
	close_link(timer->data);
}

static void write_cb(uv_write_t *req, int status)
{
	struct end *from = req->data;

	if (from->link->is_closing)
		return;
	if (status != 0)
		close_link(from->link);
	else
		start_reading(from);
}

/* Most writes fit the socket at once; else reading here pauses until the rest is out. */
static void pass_on(struct end *from, size_t len)
{
	uv_buf_t b = uv_buf_init(from->buffer, (unsigned)len);
	int n = uv_try_write(&from->other->u.stream, &b, 1);

	if (n == (int)len)
		return;
	if (n < 0 && n != UV_EAGAIN) {
		close_link(from->link);
		return;
	}
	if (n > 0)
		b = uv_buf_init(from->buffer + n, (unsigned)(len - (size_t)n));
	uv_read_stop(&from->u.stream);
	from->write.data = from;
	if (uv_write(&from->write, &from->other->u.stream, &b, 1, write_cb) != 0)
		close_link(from->link);
}

static void alloc_cb(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct end *end = h->data;

	(void)suggested;
	*ret = uv_buf_init(end->buffer, sizeof end->buffer);
}

static void read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *unused)
{
	struct end *end = stream->data;

	(void)unused;
	if (n < 0) {
		close_link(end->link);
		return;
	}
	if (n == 0)
		return;
	uv_timer_stop(&end->link->deadline);
	pass_on(end, (size_t)n);
}

static void start_reading(struct end *end)
{
	if (uv_read_start(&end->u.stream, alloc_cb, read_cb) != 0)
		close_link(end->link);
}

static struct link *link_new(struct front *f)
{
	struct link *l = mem_alloc(sizeof *l);

	l->front = f;
	uv_tcp_init(&f->loop, &l->outside.u.tcp);
	uv_pipe_init(&f->loop, &l->inside.u.pipe, 0);
	uv_timer_init(&f->loop, &l->deadline);
	l->handles_open = 3;
	l->outside.link = l->inside.link = l;
	l->outside.other = &l->inside;
	l->inside.other = &l->outside;
	l->outside.u.handle.data = &l->outside;
	l->inside.u.handle.data = &l->inside;
	l->deadline.data = l;
	l->next = f->links;
	if (l->next != NULL)
		l->next->prev = l;
	f->links = l;
	f->link_count++;
	return l;
}

static bool connect_inside(struct link *l)
{
	int fd = net_connect_abstract(l->front->target);

	if (fd < 0)
		return false;
	if (uv_pipe_open(&l->inside.u.pipe, fd) != 0) {
		close(fd);
		return false;
	}
	return true;
}

static void accept_cb(uv_stream_t *listener, int status)
{
	struct front *f = listener->data;
	struct link *l;
	uv_os_fd_t fd;

	if (status != 0)
		return;
	l = link_new(f);
	if (uv_accept(listener, &l->outside.u.stream) != 0 || f->link_count > LINKS_MAX || !connect_inside(l)) {
		close_link(l);
		return;
	}
	if (uv_fileno(&l->outside.u.handle, &fd) == 0)
		net_tune(fd, f->user_timeout_ms);
	uv_timer_start(&l->deadline, deadline_cb, FIRST_BYTE_DEADLINE_MS, 0);
	start_reading(&l->outside);
	if (!l->is_closing)
		start_reading(&l->inside);
}

/* --- the thread --- */

static void stop_cb(uv_async_t *async)
{
	struct front *f = async->data;

	while (f->links != NULL)
		close_link(f->links);
	uv_close((uv_handle_t *)&f->listener, NULL);
	uv_close((uv_handle_t *)&f->stop, NULL);
}

static void thread_main(void *arg)
{
	struct front *f = arg;

	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int listen_on(struct front *f, const char *address, struct err *e)
{
	struct sockaddr_storage ss;
	int rc = net_parse(address, &ss, e);

	if (rc != 0)
		return rc;
	rc = uv_tcp_bind(&f->listener, (struct sockaddr *)&ss, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&f->listener, BACKLOG, accept_cb);
	if (rc != 0)
		return err_set(e, ERR_IO,
		               "cannot listen on %s for the other nodes: %s (see address and ports.raft in node.yaml)", address,
		               uv_strerror(rc));
	return 0;
}

int front_open(const char *address, const char *target, unsigned user_timeout_ms, struct front **ret, struct err *e)
{
	struct front *f = mem_alloc(sizeof *f);
	int rc;

	uv_loop_init(&f->loop);
	uv_tcp_init(&f->loop, &f->listener);
	uv_async_init(&f->loop, &f->stop, stop_cb);
	f->listener.data = f;
	f->stop.data = f;
	f->target = mem_strdup(target);
	f->user_timeout_ms = user_timeout_ms;
	rc = listen_on(f, address, e);
	if (rc != 0) {
		front_close(f);
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

void front_close(struct front *f)
{
	if (f == NULL)
		return;
	uv_async_send(&f->stop);
	if (f->is_running)
		uv_thread_join(&f->thread);
	else
		uv_run(&f->loop, UV_RUN_DEFAULT);
	uv_loop_close(&f->loop);
	free(f->target);
	free(f);
}
