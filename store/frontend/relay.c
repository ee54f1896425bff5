#include "store/frontend/relay.h"

#include "store/frontend/messages.h"
#include "store/frontend/session.h"

#include "store/front.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_BYTES (256 * 1024) /* in each direction, before the reading side has to wait */
#define READ_BYTES  16384

/* Follows message boundaries in a stream of bytes, without keeping any. */
struct tracker {
	unsigned char head[5];
	unsigned have;
	uint32_t left; /* of the body */
};

struct relay {
	struct session *s; /* NULL: closed */
	uint64_t leader_id;
	uv_pipe_t pipe;                           /* to the front */
	bool is_writing, is_reading, is_answered; /* is_answered: something has come from the leader */
	struct tracker from_client, from_leader;
	unsigned unanswered; /* Query, Sync and the startup that no ReadyForQuery has answered */
	char buffer[READ_BYTES];
};

struct relay_write {
	uv_write_t req;
	struct relay *r;
	struct buf data;
};

/* --- what is under way --- */

/* Counts messages of the types listed in `types`; returns how many began in data[len]. */
static unsigned track(struct tracker *t, const char *data, size_t len, const char *types)
{
	unsigned found = 0;

	while (len > 0) {
		size_t n = t->left < len ? t->left : len;

		t->left -= (uint32_t)n;
		data += n;
		len -= n;
		if (len == 0)
			break;
		t->head[t->have++] = (unsigned char)*data++;
		len--;
		if (t->have < sizeof(t->head))
			continue;
		t->have = 0;
		t->left = (uint32_t)t->head[1] << 24 | (uint32_t)t->head[2] << 16 | (uint32_t)t->head[3] << 8 | t->head[4];
		t->left -= t->left >= 4 ? 4 : t->left;
		found += strchr(types, t->head[0]) != NULL && t->head[0] != '\0' ? 1 : 0;
	}
	return found;
}

static bool is_between(const struct tracker *t)
{
	return t->have == 0 && t->left == 0;
}

/* Nothing is asked that is not answered, and both streams stand at a message's end. */
static bool is_idle(const struct relay *r)
{
	return r->unanswered == 0 && is_between(&r->from_client) && is_between(&r->from_leader) && !r->is_writing;
}

/* --- the end --- */

static void closed_cb(uv_handle_t *handle)
{
	free(handle->data);
}

void relay_close(struct session *s)
{
	struct relay *r = s->relay;

	if (r == NULL)
		return;
	s->relay = NULL;
	r->s = NULL;
	uv_close((uv_handle_t *)&r->pipe, closed_cb);
}

static void end(struct session *s, const char *sqlstate, const char *text)
{
	struct sqlerr e = SQLERR_INIT;

	relay_close(s);
	sqlerr_set(&e, sqlstate, "%s", text);
	session_end(s, &e);
}

/* The leader is gone or another one: say so where the protocol allows a word, else just close. */
static void leave(struct relay *r)
{
	struct session *s = r->s;

	if (!r->is_answered)
		end(s, "57P03", "the leader of the store does not answer: try again");
	else if (is_idle(r))
		end(s, "57P01", "the leader of the store has changed: connect again");
	else
		session_close(s);
}

/* --- from the client to the leader --- */

static void send_upstream(struct relay *r, struct buf *data);

static void sent_cb(uv_write_t *req, int status)
{
	struct relay_write *w = req->data;
	struct relay *r = w->r;

	buf_done(&w->data);
	free(w);
	if (r->s == NULL)
		return;
	r->is_writing = false;
	if (status < 0)
		leave(r);
	else
		relay_from_client(r->s);
}

static void send_upstream(struct relay *r, struct buf *data)
{
	struct relay_write *w = mem_alloc(sizeof(*w));
	uv_buf_t buf = uv_buf_init(data->data, (unsigned)data->len);

	w->r = r;
	w->req.data = w;
	w->data = *data;
	r->is_writing = true;
	if (uv_write(&w->req, (uv_stream_t *)&r->pipe, &buf, 1, sent_cb) != 0) {
		buf_done(&w->data);
		free(w);
		session_close(r->s);
	}
}

void relay_from_client(struct session *s)
{
	struct relay *r = s->relay;
	size_t len = s->in.len - s->in_at;
	struct buf data = {0};

	if (r == NULL)
		return;
	if (!r->is_writing && len > 0) {
		buf_add(&data, s->in.data + s->in_at, len);
		s->in_at = s->in.len;
		r->unanswered += track(&r->from_client, data.data, data.len, "QSF");
		send_upstream(r, &data);
	}
	if (s->relay != NULL)
		session_read(s, s->in.len - s->in_at < QUEUE_BYTES);
}

/* --- from the leader to the client --- */

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct relay *r = handle->data;

	(void)suggested;
	*ret = uv_buf_init(r->buffer, sizeof(r->buffer));
}

static void upstream_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void read_upstream(struct relay *r, bool is_wanted)
{
	if (r->is_reading == is_wanted)
		return;
	r->is_reading = is_wanted;
	if (is_wanted)
		(void)uv_read_start((uv_stream_t *)&r->pipe, alloc_cb, upstream_cb);
	else
		uv_read_stop((uv_stream_t *)&r->pipe);
}

static void upstream_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct relay *r = stream->data;
	struct session *s = r->s;
	unsigned ready;

	if (s == NULL || n == 0)
		return;
	if (n < 0) {
		leave(r);
		return;
	}
	r->is_answered = true;
	ready = track(&r->from_leader, buf->base, (size_t)n, "Z");
	r->unanswered -= ready < r->unanswered ? ready : r->unanswered;
	buf_add(&s->out, buf->base, (size_t)n);
	session_flush(s);
	read_upstream(r, s->out.len < QUEUE_BYTES);
}

void relay_client_written(struct session *s)
{
	if (s->relay != NULL)
		read_upstream(s->relay, s->out.len < QUEUE_BYTES);
}

/* --- the beginning --- */

/* The client's own startup packet. */
static void send_startup(struct relay *r)
{
	struct buf data = {0};

	buf_add(&data, r->s->startup, r->s->startup_len);
	r->unanswered = 1;
	send_upstream(r, &data);
}

/* The front looks after connecting: where nobody answers, it closes its end within some seconds. */
void relay_start(struct session *s)
{
	const struct node_leader *leader = node_leader(s->f->node);
	struct sqlerr e = SQLERR_INIT;
	struct err why = ERR_INIT;
	struct relay *r;
	int fd;

	if (node_connect(s->f->node, leader->address, FRONT_SQL, &fd, &why) != ERR_OK) {
		sqlerr_set(&e, "57P03", "the leader of the store: %s", why.text);
		session_end(s, &e);
		return;
	}
	r = mem_alloc(sizeof(*r));
	r->s = s;
	r->leader_id = leader->id;
	uv_pipe_init(s->f->loop, &r->pipe, 0);
	r->pipe.data = r;
	s->relay = r;
	s->phase = SESSION_RELAYED;
	if (uv_pipe_open(&r->pipe, fd) != 0) {
		close(fd);
		end(s, "57P03", "the leader of the store cannot be reached from this node");
		return;
	}
	send_startup(r);
	if (s->relay != NULL)
		read_upstream(r, true);
}

void relay_leader_changed(struct session *s)
{
	const struct node_leader *l = node_leader(s->f->node);

	/* While none is known the old one may well be the next. */
	if (s->relay != NULL && l->id != 0 && l->id != s->relay->leader_id)
		leave(s->relay);
}
