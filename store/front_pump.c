/* Bytes between two descriptors, one of them perhaps encrypted. Everything is written straight away; only what a full socket
 * refuses is kept. */
#include "core/base/str.h"
#include "store/front_link.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 8 /* of one direction, before the others have their turn */

/* --- one end --- */

static void poll_closed_cb(uv_handle_t *h)
{
	struct link *l = h->data;

	free(h);
	if (--l->handles_open == 0)
		free(l);
}

static void poll_cb(uv_poll_t *poll, int status, int events);

bool side_open(struct side *s, struct link *l, int fd)
{
	s->link = l;
	s->fd = fd;
	s->poll = mem_alloc(sizeof *s->poll);
	if (uv_poll_init(&l->front->loop, s->poll, fd) != 0) {
		free(s->poll);
		s->poll = NULL;
		return false;
	}
	s->poll->data = l;
	l->handles_open++;
	return true;
}

void side_close(struct side *s)
{
	if (s->ssl != NULL) {
		ERR_clear_error();
		if (s->link->state >= LINK_GREETING)
			(void)SSL_shutdown(s->ssl); /* says goodbye if there is room; nobody waits for an answer */
		SSL_free(s->ssl);
		ERR_clear_error();
		s->ssl = NULL;
	}
	if (s->poll != NULL)
		uv_close((uv_handle_t *)s->poll, poll_closed_cb);
	if (s->fd >= 0)
		close(s->fd);
	s->poll = NULL;
	s->fd = -1;
}

void side_watch(struct side *s, int events)
{
	if (s->poll == NULL || s->events == events)
		return;
	s->events = events;
	if (events == 0)
		uv_poll_stop(s->poll);
	else
		uv_poll_start(s->poll, events, poll_cb);
}

static ssize_t plain_result(ssize_t n)
{
	if (n > 0)
		return n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

ssize_t side_read(struct side *s, char *buf, size_t cap)
{
	int n, kind;

	if (s->ssl == NULL)
		return plain_result(recv(s->fd, buf, cap, MSG_DONTWAIT));
	s->read_wants_write = false;
	n = SSL_read(s->ssl, buf, (int)cap);
	if (n > 0)
		return n;
	kind = SSL_get_error(s->ssl, n);
	s->read_wants_write = kind == SSL_ERROR_WANT_WRITE;
	return kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* As side_read. OpenSSL takes one record at a time. */
static ssize_t side_write(struct side *s, const char *data, size_t len)
{
	size_t done = 0;
	int n = 0, kind;

	if (s->ssl == NULL)
		return plain_result(send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL));
	s->write_wants_read = false;
	while (done < len && (n = SSL_write(s->ssl, data + done, (int)(len - done))) > 0)
		done += (size_t)n;
	if (done == len)
		return (ssize_t)done;
	kind = SSL_get_error(s->ssl, n);
	s->write_wants_read = kind == SSL_ERROR_WANT_READ;
	return kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE ? (ssize_t)done : -1;
}

/* Decrypted bytes inside OpenSSL wake nobody up. */
static bool has_more(const struct side *s)
{
	return s->ssl != NULL && SSL_has_pending(s->ssl) == 1;
}

/* --- one direction --- */

void flow_hold(struct flow *w, const char *data, size_t len)
{
	w->held = mem_alloc(len);
	memcpy(w->held, data, len);
	w->at = 0;
	w->len = len;
}

static bool write_held(struct flow *w)
{
	ssize_t n = side_write(w->to, w->held + w->at, w->len - w->at);

	if (n < 0)
		return false;
	w->at += (size_t)n;
	if (w->at == w->len) {
		free(w->held);
		w->held = NULL;
		w->at = w->len = 0;
	}
	return true;
}

/* Several records at once, so that they are one write on the other side. -1 only when nothing was read before the end. */
static ssize_t fill(struct side *s, char *buf)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = side_read(s, buf + len, FRONT_BUFFER - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 && len < FRONT_BUFFER && has_more(s));
	return len > 0 ? (ssize_t)len : n;
}

bool flow_run(struct flow *w)
{
	char *scratch = w->from->link->front->scratch;

	for (int i = 0; i < ROUNDS || has_more(w->from); i++) {
		ssize_t n, written;

		if (w->len > 0 && !write_held(w))
			return false;
		if (w->len > 0)
			return true;
		n = fill(w->from, scratch);
		if (n <= 0)
			return n == 0;
		written = side_write(w->to, scratch, (size_t)n);
		if (written < 0)
			return false;
		if (written < n)
			flow_hold(w, scratch + written, (size_t)(n - written));
		else if ((size_t)n < FRONT_BUFFER && !has_more(w->from))
			return true;
	}
	return true;
}

/* --- a link that is open --- */

static int wanted(const struct side *s, const struct flow *from_here, const struct flow *to_here)
{
	int events = from_here->len == 0 ? UV_READABLE : 0;

	if (s->read_wants_write || (to_here->len > 0 && !s->write_wants_read))
		events |= UV_WRITABLE;
	if (s->write_wants_read)
		events |= UV_READABLE;
	return events;
}

void pump_watch(struct link *l)
{
	side_watch(&l->outside, wanted(&l->outside, &l->in, &l->out));
	side_watch(&l->inside, wanted(&l->inside, &l->out, &l->in));
}

bool pump_run(struct link *l, struct side *s, int events)
{
	struct flow *from = s == &l->outside ? &l->in : &l->out, *to = s == &l->outside ? &l->out : &l->in;
	bool is_readable = (events & UV_READABLE) != 0 || s->read_wants_write;
	bool is_writable = (events & UV_WRITABLE) != 0 || s->write_wants_read;

	if (is_writable && to->len > 0 && !flow_run(to))
		return false;
	return !is_readable || flow_run(from);
}

static void poll_cb(uv_poll_t *poll, int status, int events)
{
	struct link *l = poll->data;

	link_event(l, l->outside.poll == poll ? &l->outside : &l->inside, status, events);
}
