#include "store/dq_conn.h"
#include "store/net.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_DEADLINE_MS 1000
#define USER_TIMEOUT_MS     5000
#define READ_BYTES          ((size_t)64 << 10)

struct dq_conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	uv_timer_t timer; /* while connecting: the deadline, or the moment to tell an outcome that is known already */
	uv_connect_t connect;
	const struct dq_conn_events *events;
	void *arg;
	uint8_t *in; /* [0, in_len) received, not yet handed on */
	size_t in_len, in_cap;
	int failure; /* libuv's code, to be told by the timer */
	bool has_failed, is_closing;
	unsigned handles_open;
};

struct write {
	uv_write_t req;
	struct buf data;
};

static void report_broken(struct dq_conn *c, const char *why)
{
	if (c->is_closing || c->has_failed)
		return;
	c->has_failed = true;
	uv_timer_stop(&c->timer);
	c->events->on_broken(c->arg, why);
}

/* --- reading --- */

static void alloc_cb(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct dq_conn *c = h->data;

	(void)suggested;
	if (c->in_cap - c->in_len < READ_BYTES) {
		c->in_cap = c->in_cap * 2 + READ_BYTES;
		c->in = mem_resize(c->in, c->in_cap);
	}
	*ret = uv_buf_init((char *)c->in + c->in_len, (unsigned)(c->in_cap - c->in_len));
}

/* Hand on every whole message; what is left of the next one moves to the front. */
static void take_messages(struct dq_conn *c)
{
	size_t off = 0;
	struct dq_header h;
	struct err e = ERR_INIT;

	while (!c->is_closing && c->in_len - off >= DQ_HEADER_BYTES) {
		if (dq_decode_header(c->in + off, &h, &e) != 0) {
			report_broken(c, e.text);
			return;
		}
		if (c->in_len - off - DQ_HEADER_BYTES < h.body_bytes)
			break;
		c->events->on_message(c->arg, &h, c->in + off + DQ_HEADER_BYTES);
		off += DQ_HEADER_BYTES + h.body_bytes;
	}
	if (c->is_closing)
		return;
	memmove(c->in, c->in + off, c->in_len - off);
	c->in_len -= off;
}

static void read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *unused)
{
	struct dq_conn *c = stream->data;

	(void)unused;
	if (n < 0) {
		report_broken(c, uv_strerror((int)n));
		return;
	}
	c->in_len += (size_t)n;
	take_messages(c);
}

/* --- writing --- */

static void write_cb(uv_write_t *req, int status)
{
	struct write *w = (struct write *)req;
	struct dq_conn *c = req->handle->data;

	buf_done(&w->data);
	free(w);
	if (status < 0)
		report_broken(c, uv_strerror(status));
}

static void fail_cb(uv_timer_t *timer)
{
	struct dq_conn *c = timer->data;

	report_broken(c, uv_strerror(c->failure));
}

static void fail_soon(struct dq_conn *c, int failure)
{
	c->failure = failure;
	uv_timer_start(&c->timer, fail_cb, 0, 0);
}

void dq_conn_send(struct dq_conn *c, struct buf *message)
{
	struct write *w = mem_alloc(sizeof *w);
	uv_buf_t b;
	int rc;

	w->data = *message;
	*message = (struct buf){0};
	b = uv_buf_init(w->data.data, (unsigned)w->data.len);
	rc = uv_write(&w->req, &c->u.stream, &b, 1, write_cb);
	if (rc != 0) {
		buf_done(&w->data);
		free(w);
		fail_soon(c, rc);
	}
}

/* --- connecting --- */

static void start_talking(struct dq_conn *c)
{
	struct buf hello = {0};
	int rc;

	uv_timer_stop(&c->timer);
	rc = uv_read_start(&c->u.stream, alloc_cb, read_cb);
	if (rc != 0) {
		report_broken(c, uv_strerror(rc));
		return;
	}
	dq_encode_handshake(&hello);
	dq_conn_send(c, &hello);
	c->events->on_ready(c->arg);
}

static void ready_cb(uv_timer_t *timer)
{
	start_talking(timer->data);
}

static void connect_cb(uv_connect_t *req, int status)
{
	struct dq_conn *c = req->handle->data;
	uv_os_fd_t fd;

	if (c->is_closing || c->has_failed)
		return;
	if (status != 0) {
		report_broken(c, uv_strerror(status));
		return;
	}
	if (uv_fileno(&c->u.handle, &fd) == 0)
		net_tune(fd, USER_TIMEOUT_MS);
	start_talking(c);
}

static int open_pipe(struct dq_conn *c, int fd)
{
	int rc;

	if (fd < 0)
		return fd;
	rc = uv_pipe_open(&c->u.pipe, fd);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	uv_timer_start(&c->timer, ready_cb, 0, 0);
	return 0;
}

static int connect_tcp(struct dq_conn *c, const char *address)
{
	struct sockaddr_storage ss;

	if (net_parse(address, &ss, NULL) != 0)
		return UV_EINVAL;
	c->failure = UV_ETIMEDOUT;
	uv_timer_start(&c->timer, fail_cb, CONNECT_DEADLINE_MS, 0);
	return uv_tcp_connect(&c->connect, &c->u.tcp, (struct sockaddr *)&ss, connect_cb);
}

static struct dq_conn *conn_new(uv_loop_t *loop, const struct dq_conn_events *events, void *arg)
{
	struct dq_conn *c = mem_alloc(sizeof *c);

	c->events = events;
	c->arg = arg;
	uv_timer_init(loop, &c->timer);
	c->handles_open = 2;
	c->timer.data = c;
	return c;
}

struct dq_conn *dq_conn_adopt(uv_loop_t *loop, int fd, const struct dq_conn_events *events, void *arg)
{
	struct dq_conn *c = conn_new(loop, events, arg);
	int rc;

	uv_pipe_init(loop, &c->u.pipe, 0);
	c->u.handle.data = c;
	rc = open_pipe(c, fd);
	if (rc != 0)
		fail_soon(c, rc);
	return c;
}

struct dq_conn *dq_conn_new(uv_loop_t *loop, const char *address, const struct dq_conn_events *events, void *arg)
{
	struct dq_conn *c;
	int rc;

	if (address[0] == '@')
		return dq_conn_adopt(loop, net_connect_abstract(address), events, arg);
	c = conn_new(loop, events, arg);
	uv_tcp_init(loop, &c->u.tcp);
	c->u.handle.data = c;
	rc = connect_tcp(c, address);
	if (rc != 0)
		fail_soon(c, rc);
	return c;
}

static void close_cb(uv_handle_t *h)
{
	struct dq_conn *c = h->data;

	if (--c->handles_open > 0)
		return;
	free(c->in);
	free(c);
}

void dq_conn_close(struct dq_conn *c)
{
	if (c == NULL || c->is_closing)
		return;
	c->is_closing = true;
	uv_close(&c->u.handle, close_cb);
	uv_close((uv_handle_t *)&c->timer, close_cb);
}
