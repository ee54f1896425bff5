#include "core/run/child_sock.h"

#include "core/base/seqsock.h"
#include "core/base/str.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_FIRST_MS  20
#define RETRY_MAX_MS    200
#define MESSAGES_A_TURN 32

struct child_sock {
	uv_loop_t *loop;
	struct child_handlers h;
	char path[108];
	size_t msg_size;
	void *msg; /* the one being received */
	int fd;    /* -1: down */
	pid_t peer_pid;
	uv_poll_t *poll;  /* of fd; its own memory, because libuv needs it until it has closed */
	uv_timer_t timer; /* the next attempt, or the news of a failed send */
	unsigned retry_ms;
	char lost_reason[256]; /* to be told by the timer; "": nothing */
	bool is_closed;
};

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void close_fd(struct child_sock *s)
{
	if (s->fd < 0)
		return;
	uv_poll_stop(s->poll);
	uv_close((uv_handle_t *)s->poll, on_poll_closed);
	s->poll = NULL;
	close(s->fd);
	s->fd = -1;
	s->peer_pid = 0;
}

static void on_timer(uv_timer_t *timer);

static void retry_later(struct child_sock *s)
{
	uv_timer_start(&s->timer, on_timer, s->retry_ms, 0);
	s->retry_ms = s->retry_ms * 2 < RETRY_MAX_MS ? s->retry_ms * 2 : RETRY_MAX_MS;
}

static void lose(struct child_sock *s, const char *reason)
{
	close_fd(s);
	s->retry_ms = RETRY_FIRST_MS;
	retry_later(s);
	s->h.down(s->h.arg, reason);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct child_sock *s = poll->data;
	struct err e = ERR_INIT;
	unsigned i;
	int rc = ERR_OK;

	(void)events;
	for (i = 0; i < MESSAGES_A_TURN; i++) {
		rc = seq_recv(s->fd, s->msg, s->msg_size, &e);
		if (rc != ERR_OK)
			break;
		s->h.message(s->h.arg, s->msg);
		/* The owner may have closed, or lost the connection in a send, meanwhile. */
		if (s->is_closed || s->poll != poll)
			return;
	}
	if (rc != ERR_OK && rc != ERR_TIMEOUT)
		lose(s, e.text);
	else if (status < 0) /* libuv watches no more after an error; the next receive tells what is wrong, in words */
		uv_poll_start(poll, UV_READABLE, on_readable);
}

static bool open_fd(struct child_sock *s)
{
	struct seq_peer peer;

	if (seq_connect(s->path, &s->fd, &peer, NULL) != ERR_OK)
		return false;
	s->poll = mem_alloc(sizeof *s->poll);
	if (uv_poll_init(s->loop, s->poll, s->fd) != 0) {
		free(s->poll);
		s->poll = NULL;
		close(s->fd);
		s->fd = -1;
		return false;
	}
	s->poll->data = s;
	s->peer_pid = peer.pid;
	uv_poll_start(s->poll, UV_READABLE, on_readable);
	return true;
}

static void on_timer(uv_timer_t *timer)
{
	struct child_sock *s = timer->data;
	char reason[sizeof s->lost_reason];

	if (s->lost_reason[0] != '\0') {
		str_copy(reason, sizeof reason, s->lost_reason);
		s->lost_reason[0] = '\0';
		lose(s, reason);
		return;
	}
	if (!open_fd(s)) {
		retry_later(s);
		return;
	}
	s->retry_ms = RETRY_FIRST_MS;
	s->h.up(s->h.arg, s->peer_pid);
}

struct child_sock *child_sock_new(uv_loop_t *loop, const char *path, size_t msg_size, const struct child_handlers *h)
{
	struct child_sock *s = mem_alloc(sizeof *s);

	s->loop = loop;
	s->h = *h;
	s->msg_size = msg_size;
	s->msg = mem_alloc(msg_size);
	s->fd = -1;
	s->retry_ms = RETRY_FIRST_MS;
	str_copy(s->path, sizeof s->path, path);
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	uv_timer_start(&s->timer, on_timer, 0, 0);
	return s;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct child_sock *s = handle->data;

	free(s->msg);
	free(s);
}

void child_sock_close(struct child_sock *s)
{
	if (s == NULL || s->is_closed)
		return;
	s->is_closed = true;
	close_fd(s);
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

bool child_sock_is_up(const struct child_sock *s)
{
	return s->fd >= 0;
}

pid_t child_sock_peer(const struct child_sock *s)
{
	return s->peer_pid;
}

bool child_sock_send(struct child_sock *s, const void *msg)
{
	struct err e = ERR_INIT;

	if (s->fd < 0)
		return false;
	if (seq_send(s->fd, msg, s->msg_size, &e) == ERR_OK)
		return true;
	/* The owner hears of it from the loop, not from inside its own call. */
	close_fd(s);
	str_copy(s->lost_reason, sizeof s->lost_reason, e.text);
	uv_timer_start(&s->timer, on_timer, 0, 0);
	return false;
}
