#include "store/frontend/relay.h"

#include "store/frontend/messages.h"
#include "store/frontend/session.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECT_MS     3000
#define TCP_TIMEOUT_MS 10000
#define QUEUE_BYTES    (256 * 1024) /* in each direction, before the reading side has to wait */
#define READ_BYTES     16384

/* Follows message boundaries in a stream of bytes, without keeping any. */
struct tracker {
	unsigned char head[5];
	unsigned have;
	uint32_t left; /* of the body */
};

struct relay {
	struct session *s; /* NULL: closed */
	uint64_t leader_id;
	uv_tcp_t tcp;
	uv_connect_t connect;
	bool is_connected, is_writing, is_reading;
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
	uv_close((uv_handle_t *)&r->tcp, closed_cb);
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

	if (is_idle(r))
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
	if (uv_write(&w->req, (uv_stream_t *)&r->tcp, &buf, 1, sent_cb) != 0) {
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
	if (r->is_connected && !r->is_writing && len > 0) {
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
		(void)uv_read_start((uv_stream_t *)&r->tcp, alloc_cb, upstream_cb);
	else
		uv_read_stop((uv_stream_t *)&r->tcp);
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
	ready = track(&r->from_leader, buf->base, (size_t)n, "Z");
	r->unanswered -= ready < r->unanswered ? ready : r->unanswered;
	buf_add(&s->out, buf->base, (size_t)n);
	session_flush(s);
	read_upstream(r, s->out.len < QUEUE_BYTES);
}

void relay_client_written(struct session *s)
{
	if (s->relay != NULL && s->relay->is_connected)
		read_upstream(s->relay, s->out.len < QUEUE_BYTES);
}

/* --- the beginning --- */

/* The client's own startup packet, marked. */
static void send_startup(struct relay *r)
{
	struct session *s = r->s;
	struct buf data = {0};

	msg_put_i32(&data, (int32_t)(s->startup_len + strlen(RELAY_MARK) + 3));
	buf_add(&data, s->startup + 4, s->startup_len - 5);
	msg_put_string(&data, RELAY_MARK);
	msg_put_string(&data, "1");
	buf_add(&data, "", 1);
	r->unanswered = 1;
	send_upstream(r, &data);
}

static void connected_cb(uv_connect_t *req, int status)
{
	struct relay *r = req->data;
	struct session *s = r->s;
	unsigned timeout_ms = TCP_TIMEOUT_MS;
	int fd;

	if (s == NULL)
		return;
	if (status < 0) {
		end(s, "57P03", "the leader of the store does not answer: try again");
		return;
	}
	session_timer_stop(s);
	uv_tcp_nodelay(&r->tcp, 1);
	uv_tcp_keepalive(&r->tcp, 1, 10);
	if (uv_fileno((uv_handle_t *)&r->tcp, &fd) == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	r->is_connected = true;
	send_startup(r);
	read_upstream(r, true);
}

static void connect_late_cb(struct session *s)
{
	end(s, "57P03", "the leader of the store does not answer: try again");
}

/* The SQL address of the node whose raft address it is. */
static bool find_leader(const struct session *s, struct sockaddr_storage *ret)
{
	const struct config *c = s->f->config;
	char plain[128], bracketed[128];
	unsigned i;

	for (i = 0; i < c->nodes_count; i++) {
		const struct config_node *n = &c->nodes[i];

		snprintf(plain, sizeof(plain), "%s:%u", n->address, n->raft_port);
		snprintf(bracketed, sizeof(bracketed), "[%s]:%u", n->address, n->raft_port);
		if (strcmp(plain, node_leader(s->f->node)->address) != 0 &&
		    strcmp(bracketed, node_leader(s->f->node)->address) != 0)
			continue;
		return uv_ip4_addr(n->address, n->sql_port, (struct sockaddr_in *)ret) == 0 ||
		       uv_ip6_addr(n->address, n->sql_port, (struct sockaddr_in6 *)ret) == 0;
	}
	return false;
}

void relay_start(struct session *s)
{
	struct sockaddr_storage address;
	struct sqlerr e = SQLERR_INIT;
	struct relay *r;

	if (!find_leader(s, &address)) {
		sqlerr_set(&e, "57P03", "the leader %s is not one of the nodes in this node's configuration",
		           node_leader(s->f->node)->address);
		session_end(s, &e);
		return;
	}
	r = mem_alloc(sizeof(*r));
	r->s = s;
	r->leader_id = node_leader(s->f->node)->id;
	uv_tcp_init(s->f->loop, &r->tcp);
	r->tcp.data = r;
	r->connect.data = r;
	s->relay = r;
	s->phase = SESSION_RELAYED;
	session_timer_start(s, CONNECT_MS, connect_late_cb);
	if (uv_tcp_connect(&r->connect, &r->tcp, (const struct sockaddr *)&address, connected_cb) != 0)
		end(s, "57P03", "the leader of the store cannot be reached from this node");
}

void relay_leader_changed(struct session *s)
{
	const struct node_leader *l = node_leader(s->f->node);

	/* While none is known the old one may well be the next. */
	if (s->relay != NULL && l->id != 0 && l->id != s->relay->leader_id)
		leave(s->relay);
}
