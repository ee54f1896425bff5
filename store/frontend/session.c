#include "store/frontend/session.h"

#include "store/frontend/gate.h"
#include "store/frontend/messages.h"
#include "store/frontend/notify.h"
#include "store/frontend/relay.h"
#include "store/frontend/startup.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define STARTUP_MS     10000
#define ENDING_MS      2000
#define IDLE_TX_MS     60000
#define TCP_TIMEOUT_MS 30000
#define READ_BYTES     8192
#define BACKLOG_BYTES  (1024 * 1024) /* no more is read while the session is busy */

/* --- timer --- */

static void timer_fired(uv_timer_t *timer)
{
	struct session *s = timer->data;

	s->timer_cb(s);
}

void session_timer_start(struct session *s, int64_t ms, void (*cb)(struct session *s))
{
	s->timer_cb = cb;
	uv_timer_start(&s->timer, timer_fired, (uint64_t)ms, 0);
}

void session_timer_stop(struct session *s)
{
	uv_timer_stop(&s->timer);
}

/* --- the end --- */

static void free_when_done(struct session *s)
{
	struct frontend *f = s->f;

	if (s->handles_open > 0 || s->refs > 0)
		return;
	settings_done(&s->settings);
	buf_done(&s->in);
	buf_done(&s->out);
	free(s->startup);
	free(s);
	frontend_session_gone(f);
}

static void closed_cb(uv_handle_t *handle)
{
	struct session *s = handle->data;

	s->handles_open--;
	free_when_done(s);
}

void session_unref(struct session *s)
{
	s->refs--;
	if (s->phase == SESSION_CLOSED)
		free_when_done(s);
}

void session_close(struct session *s)
{
	if (s->phase == SESSION_CLOSED)
		return;
	exec_drop(s);
	relay_close(s);
	simple_done(&s->simple);
	extended_done(s);
	s->phase = SESSION_CLOSED;
	TAILQ_REMOVE(&s->f->sessions, s, link);
	uv_close(&s->io.handle, closed_cb);
	uv_close((uv_handle_t *)&s->timer, closed_cb);
}

void session_end(struct session *s, const struct sqlerr *e)
{
	bool is_asked = s->phase == SESSION_READY && s->is_busy;

	if (s->phase >= SESSION_ENDING)
		return;
	if (s->op.done != NULL && s->op.in.sink == &s->out && s->out.len > s->op.mark)
		s->out.len = s->op.mark; /* rows that nobody may see */
	exec_drop(s);
	s->phase = SESSION_ENDING;
	s->is_busy = true;
	msg_put_error(&s->out, "FATAL", e);
	if (is_asked) /* else libpq waits for it, meets the end of the stream, and keeps only "server closed the connection" */
		msg_put_ready(&s->out, 'I');
	session_timer_start(s, ENDING_MS, session_close);
	session_flush(s);
}

/* --- out --- */

struct write {
	uv_write_t req;
	struct session *s;
	struct buf data;
};

static void written_cb(uv_write_t *req, int status)
{
	struct write *w = req->data;
	struct session *s = w->s;

	buf_done(&w->data);
	free(w);
	if (s->phase == SESSION_CLOSED)
		return;
	s->is_writing = false;
	if (status < 0) {
		session_close(s);
		return;
	}
	if (s->wants_flush || s->phase == SESSION_ENDING)
		session_flush(s);
	if (s->phase == SESSION_ENDING && !s->is_writing)
		session_close(s);
	else if (s->phase == SESSION_RELAYED)
		relay_client_written(s);
}

/* Rows of a running operation that have not been accepted yet (DESIGN section 4) stay behind. */
static void take_out(struct session *s, struct buf *ret)
{
	struct op *op = &s->op;

	if (op->done == NULL || op->in.sink != &s->out || op->is_accepted) {
		*ret = s->out;
		memset(&s->out, 0, sizeof(s->out));
		op->mark = 0;
		return;
	}
	buf_add(ret, s->out.data, op->mark);
	if (op->mark > 0)
		memmove(s->out.data, s->out.data + op->mark, s->out.len - op->mark + 1);
	s->out.len -= op->mark;
	op->mark = 0;
}

void session_flush(struct session *s)
{
	struct write *w;
	uv_buf_t buf;

	s->wants_flush = true;
	if (s->is_writing || s->out.len == 0 || s->phase == SESSION_CLOSED)
		return;
	w = mem_alloc(sizeof(*w));
	w->s = s;
	w->req.data = w;
	take_out(s, &w->data);
	s->wants_flush = false;
	buf = uv_buf_init(w->data.data, (unsigned)w->data.len);
	s->is_writing = true;
	if (w->data.len == 0 || uv_write(&w->req, &s->io.stream, &buf, 1, written_cb) != 0) {
		s->is_writing = false;
		buf_done(&w->data);
		free(w);
	}
}

void session_ready(struct session *s)
{
	char status = s->tx == TX_FAILED ? 'E' : s->tx == TX_EXPLICIT ? 'T' : 'I';

	notify_deliver(s);
	msg_put_ready(&s->out, status);
	session_flush(s);
}

/* --- errors --- */

static void failed_tx_ended(struct session *s, const struct sqlerr *e)
{
	(void)e;
	session_resume(s);
}

void session_fail(struct session *s, const struct sqlerr *e)
{
	/* Nothing can follow but ROLLBACK, unless there is a savepoint to go back to: the slot is others' now. */
	bool can_roll_back = s->tx == TX_IMPLICIT || (s->tx == TX_EXPLICIT && s->savepoints == 0);

	if (s->phase != SESSION_READY)
		return;
	msg_put_error(&s->out, "ERROR", e);
	if (s->simple.is_active)
		simple_abort(s);
	else
		s->is_skipping = true;
	s->tx_is_lost = false; /* the transaction is over in either case */
	s->tx = s->tx == TX_EXPLICIT ? TX_FAILED : s->tx == TX_IMPLICIT ? TX_NONE : s->tx;
	if (can_roll_back && s->unit != NULL) {
		s->is_busy = true;
		exec_end_tx(s, false, failed_tx_ended);
	} else {
		session_resume(s);
	}
}

static void idle_tx_cb(struct session *s)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, "25P03", "terminating connection due to idle-in-transaction timeout (%d s): others wait to write",
	           IDLE_TX_MS / 1000);
	session_end(s, &e);
}

static void protocol_error(struct session *s, const char *why)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, "08P01", "protocol violation: %s", why);
	session_end(s, &e);
}

/* --- in --- */

static void handle_message(struct session *s, struct msg_in *m)
{
	switch (m->type) {
	case 'Q':
		if (!s->is_skipping)
			simple_query(s, m);
		break;
	case 'S':
		s->is_skipping = false;
		extended_sync(s);
		break;
	case 'H':
		session_flush(s);
		break;
	case 'X':
		session_close(s);
		break;
	case 'd': /* COPY that was refused: what the client had under way */
	case 'c':
	case 'f':
		break;
	default:
		if (s->is_skipping)
			break;
		if (!extended_handle(s, m))
			protocol_error(s, "a message of this type is not known");
	}
}

/* False when no whole message is there. */
static bool take_message(struct session *s)
{
	const char *data = s->in.data + s->in_at, *why = "";
	bool is_startup = s->phase == SESSION_STARTUP;
	struct msg_in m;
	size_t size;

	if (s->in.len == s->in_at)
		return false;
	switch (msg_next(data, s->in.len - s->in_at, is_startup, &m, &size, &why)) {
	case FRAME_MORE:
		return false;
	case FRAME_BAD:
		protocol_error(s, why);
		return false;
	default:
		break;
	}
	s->in_at += size;
	if (is_startup) {
		startup_handle(s, &m, data, size);
	} else {
		session_timer_stop(s); /* the limit of an idle transaction counts from the last work */
		handle_message(s, &m);
	}
	return true;
}

static bool step(struct session *s)
{
	if (s->simple.is_active) {
		simple_next(s);
		return true;
	}
	return take_message(s);
}

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct session *s = handle->data;
	struct buf *in = &s->in;

	(void)suggested;
	if (s->in_at > 0) {
		memmove(in->data, in->data + s->in_at, in->len - s->in_at);
		in->len -= s->in_at;
		s->in_at = 0;
	}
	if (in->cap < in->len + READ_BYTES) {
		in->cap = 2 * in->len + READ_BYTES;
		in->data = mem_resize(in->data, in->cap);
	}
	*ret = uv_buf_init(in->data + in->len, (unsigned)(in->cap - in->len));
}

static void read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct session *s = stream->data;

	(void)buf;
	if (n < 0) {
		session_close(s);
		return;
	}
	s->in.len += (size_t)n;
	if (s->phase == SESSION_RELAYED)
		relay_from_client(s);
	else
		session_pump(s);
}

void session_read(struct session *s, bool is_wanted)
{
	if (is_wanted == s->is_reading || s->phase == SESSION_CLOSED)
		return;
	s->is_reading = is_wanted;
	if (!is_wanted)
		uv_read_stop(&s->io.stream);
	else if (uv_read_start(&s->io.stream, alloc_cb, read_cb) != 0)
		session_close(s);
}

void session_pump(struct session *s)
{
	if (s->is_pumping)
		return;
	s->is_pumping = true;
	while (!s->is_busy && (s->phase == SESSION_STARTUP || s->phase == SESSION_READY) && step(s))
		;
	s->is_pumping = false;
	if (s->phase == SESSION_CLOSED || s->phase == SESSION_RELAYED)
		return;
	if (s->phase == SESSION_READY && !s->is_busy && s->has_slot && !uv_is_active((uv_handle_t *)&s->timer))
		session_timer_start(s, IDLE_TX_MS, idle_tx_cb);
	if (s->in_at == s->in.len && s->in.cap > BACKLOG_BYTES) { /* after a large message */
		buf_done(&s->in);
		s->in_at = 0;
	}
	session_read(s, !s->is_busy || s->in.len - s->in_at < BACKLOG_BYTES);
}

void session_resume(struct session *s)
{
	s->is_busy = false;
	session_pump(s);
}

/* --- the beginning --- */

static void startup_late_cb(struct session *s)
{
	session_close(s);
}

static void setup_tcp(struct session *s)
{
	unsigned timeout_ms = TCP_TIMEOUT_MS;
	int fd;

	uv_tcp_nodelay(&s->io.tcp, 1);
	uv_tcp_keepalive(&s->io.tcp, 1, 30);
	if (uv_fileno(&s->io.handle, &fd) == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

/* Who is on the other end of a unix socket: root and the own user are administrators. */
static void setup_unix(struct session *s)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd;

	if (uv_fileno(&s->io.handle, &fd) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return;
	s->is_admin = peer.uid == 0 || peer.uid == geteuid();
	s->is_own_user = peer.uid == geteuid();
}

/* The front of this very process: whatever else found the name has no business here. */
static bool is_own_front(struct session *s)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd;

	return uv_fileno(&s->io.handle, &fd) == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       peer.pid == getpid();
}

static struct session *session_new(struct frontend *f, enum session_door door)
{
	struct session *s = mem_alloc(sizeof(*s));
	uint32_t random[2] = {0, 0};

	s->f = f;
	s->is_unix = door == DOOR_UNIX;
	s->was_relayed = door == DOOR_RELAY;
	if (door != DOOR_TCP)
		uv_pipe_init(f->loop, &s->io.pipe, 0);
	else
		uv_tcp_init(f->loop, &s->io.tcp);
	uv_timer_init(f->loop, &s->timer);
	s->io.handle.data = s;
	s->timer.data = s;
	s->handles_open = 2;
	while (getrandom(random, sizeof(random), 0) < 0 && errno == EINTR)
		;
	s->pid = (int32_t)(random[0] & 0x7fffffff);
	s->secret = (int32_t)random[1];
	f->session_count++;
	TAILQ_INSERT_TAIL(&f->sessions, s, link);
	return s;
}

void session_accept(struct frontend *f, uv_stream_t *server, enum session_door door)
{
	struct session *s = session_new(f, door);
	struct sqlerr e = SQLERR_INIT;

	if (uv_accept(server, &s->io.stream) != 0 || (door == DOOR_RELAY && !is_own_front(s))) {
		session_close(s);
		return;
	}
	if (door == DOOR_UNIX)
		setup_unix(s);
	else if (door == DOOR_TCP)
		setup_tcp(s);
	if (f->session_count > FRONTEND_MAX_SESSIONS) {
		sqlerr_set(&e, "53300", "too many connections: at most %d are served", FRONTEND_MAX_SESSIONS);
		session_end(s, &e);
		return;
	}
	session_timer_start(s, STARTUP_MS, startup_late_cb);
	session_read(s, true);
}
