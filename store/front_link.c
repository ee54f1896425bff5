#include "store/front_link.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALERT_REASONS 1000 /* OpenSSL numbers the reasons of received alerts from here on */

/* --- the beginning and the end --- */

static struct link *link_new(struct front *f, bool is_dialled)
{
	struct link *l = mem_alloc(sizeof *l);

	l->front = f;
	l->is_dialled = is_dialled;
	l->outside.link = l->inside.link = l;
	l->outside.fd = l->inside.fd = -1;
	l->in = (struct flow){.from = &l->outside, .to = &l->inside};
	l->out = (struct flow){.from = &l->inside, .to = &l->outside};
	l->deadline_ms = clock_now_ms() + STRANGER_MS;
	TAILQ_INSERT_TAIL(&f->strangers, l, entry);
	f->stranger_count += is_dialled ? 0 : 1;
	f->link_count++;
	return l;
}

void link_close(struct link *l)
{
	struct front *f = l->front;

	if (l->is_closed)
		return;
	l->is_closed = true;
	TAILQ_REMOVE(l->state == LINK_OPEN ? &f->open : &f->strangers, l, entry);
	f->stranger_count -= l->state != LINK_OPEN && !l->is_dialled ? 1 : 0;
	f->link_count--;
	side_close(&l->outside);
	side_close(&l->inside);
	free(l->in.held);
	free(l->out.held);
	if (l->handles_open == 0)
		free(l); /* else when libuv lets go */
}

void link_refuse(struct link *l, const char *why)
{
	refusal_note(&l->front->refusals, l->who, why, clock_now_ms());
	link_close(l);
}

/* --- strangers --- */

static bool is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
	return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
	              sizeof(struct in6_addr)) == 0;
}

/* The oldest of the host that has most: a host that floods the port cannot keep the others out. */
static void evict_one(struct front *f)
{
	struct link *l, *other, *victim = NULL;
	unsigned most = 0;

	TAILQ_FOREACH(l, &f->strangers, entry)
	{
		unsigned count = 0;

		TAILQ_FOREACH(other, &f->strangers, entry)
		count += !other->is_dialled && is_same_host(&l->peer, &other->peer) ? 1 : 0;
		if (!l->is_dialled && count > most) {
			most = count;
			victim = l;
		}
	}
	if (victim != NULL)
		link_refuse(victim, "closed, because too many connections have not shown who they are");
}

void link_check_deadlines(struct front *f, int64_t now_ms)
{
	struct link *l, *next;

	for (l = TAILQ_FIRST(&f->strangers); l != NULL; l = next) {
		next = TAILQ_NEXT(l, entry);
		if (now_ms < l->deadline_ms)
			continue;
		if (l->state == LINK_CONNECTING)
			link_close(l); /* nobody is there: dqlite knows and tries again */
		else
			link_refuse(l, l->state == LINK_HANDSHAKE ? "no TLS handshake within 3 s"
			                                          : "it did not say within 3 s what it wants");
	}
}

/* --- open --- */

static void watch_or_close(struct link *l, bool is_alive)
{
	unsigned long code = ERR_peek_last_error();
	char why[200];

	if (is_alive)
		pump_watch(l);
	else if (l->outside.ssl != NULL && ERR_GET_REASON(code) >= ALERT_REASONS) /* a client hears it after its handshake */
		link_refuse(l, tls_error(l->outside.ssl, -1, why, sizeof why));
	else
		link_close(l);
}

static void open_link(struct link *l)
{
	struct front *f = l->front;

	TAILQ_REMOVE(&f->strangers, l, entry);
	f->stranger_count -= l->is_dialled ? 0 : 1;
	l->state = LINK_OPEN;
	TAILQ_INSERT_TAIL(&f->open, l, entry);
	watch_or_close(l, flow_run(&l->in) && flow_run(&l->out));
}

static int check_peer(struct link *l, struct err *e)
{
	struct pki_info info;
	int rc = tls_peer(l->front->tls, l->outside.ssl, l->expected[0] != '\0' ? l->expected : NULL, &info, e);

	if (rc != ERR_OK)
		return rc;
	if (info.subject.kind != PKI_NODE)
		return err_set(e, ERR_REFUSED, "the certificate of \"%s\" is an administrator's: this port is for nodes",
		               info.subject.name);
	if (front_is_removed(l->front, info.subject.name))
		return err_set(e, ERR_REFUSED, "node \"%s\" has been removed from the cluster", info.subject.name);
	return ERR_OK;
}

void link_check_peers(struct front *f)
{
	struct link *l, *next;
	struct err e = ERR_INIT;

	for (l = TAILQ_FIRST(&f->open); l != NULL; l = next) {
		next = TAILQ_NEXT(l, entry);
		if (l->outside.ssl != NULL && check_peer(l, &e) != ERR_OK)
			link_refuse(l, e.text);
	}
}

/* --- accepted: what is it? --- */

static void lead_inside(struct link *l)
{
	struct front *f = l->front;
	bool is_sql = memcmp(l->greeting, FRONT_SQL, GREETING_BYTES) == 0;
	int fd = front_connect_inside(is_sql ? f->sql : f->raft);

	if (fd < 0 || !side_open(&l->inside, l, fd)) {
		link_refuse(l, is_sql ? "a relayed session, and no SQL is served here" : "the store is not running");
		return;
	}
	if (!is_sql)
		flow_hold(&l->in, l->greeting, GREETING_BYTES);
	open_link(l);
}

static void read_greeting(struct link *l)
{
	ssize_t n = 1;

	while (l->greeting_len < GREETING_BYTES && n > 0) {
		n = side_read(&l->outside, l->greeting + l->greeting_len, GREETING_BYTES - l->greeting_len);
		l->greeting_len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		link_close(l);
	else if (l->greeting_len == GREETING_BYTES)
		lead_inside(l);
	else
		side_watch(&l->outside, UV_READABLE);
}

/* --- the handshake --- */

static void end_handshake(struct link *l)
{
	struct err e = ERR_INIT;

	if (check_peer(l, &e) != ERR_OK) {
		link_refuse(l, e.text);
	} else if (l->is_dialled) {
		open_link(l);
	} else {
		l->state = LINK_GREETING;
		read_greeting(l); /* it may have come along with the handshake's last message */
	}
}

/* Not before the first byte has come: a silent stranger costs no TLS state. */
static bool make_ssl(struct link *l)
{
	struct tls *t = l->front->tls;

	if (l->outside.ssl != NULL)
		return true;
	l->outside.ssl = l->is_dialled ? tls_new_client(t) : tls_new_server(t, TLS_CLIENTS_REQUIRED);
	if (l->outside.ssl == NULL || SSL_set_fd(l->outside.ssl, l->outside.fd) != 1)
		return false;
	SSL_set_read_ahead(l->outside.ssl, 1);
	return true;
}

static void run_handshake(struct link *l)
{
	char why[200];
	int n, kind;

	if (!make_ssl(l)) {
		link_refuse(l, "no memory for TLS");
		return;
	}
	n = SSL_do_handshake(l->outside.ssl);
	kind = SSL_get_error(l->outside.ssl, n);
	if (n == 1)
		end_handshake(l);
	else if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		side_watch(&l->outside, kind == SSL_ERROR_WANT_READ ? UV_READABLE : UV_WRITABLE);
	else
		link_refuse(l, tls_error(l->outside.ssl, n, why, sizeof why));
}

/* --- accepted --- */

#define ACCEPTED "connection from "

static void name_peer(struct link *l, const struct sockaddr_storage *peer)
{
	char host[64] = "?";

	l->peer = *peer;
	if (peer->ss_family == AF_INET)
		uv_ip4_name((const struct sockaddr_in *)peer, host, sizeof host);
	else
		uv_ip6_name((const struct sockaddr_in6 *)peer, host, sizeof host);
	snprintf(l->who, sizeof l->who, ACCEPTED "%s", host);
}

void link_accepted(struct front *f, int fd, const struct sockaddr_storage *peer)
{
	struct link *l;

	if (f->stranger_count >= STRANGERS_MAX)
		evict_one(f);
	net_tune(fd, f->user_timeout_ms);
	l = link_new(f, false);
	name_peer(l, peer);
	l->state = f->tls != NULL ? LINK_HANDSHAKE : LINK_GREETING;
	if (!side_open(&l->outside, l, fd))
		link_close(l);
	else if (f->link_count > LINKS_MAX)
		link_refuse(l, "refused, because too many connections are open");
	else if (f->tls == NULL && front_is_removed_host(f, l->who + strlen(ACCEPTED)))
		link_refuse(l, "refused: this node has been removed from the cluster");
	else
		side_watch(&l->outside, UV_READABLE);
}

/* --- dialled --- */

static void connected(struct link *l)
{
	l->state = l->front->tls != NULL ? LINK_HANDSHAKE : LINK_CONNECTING;
	if (l->front->tls != NULL)
		run_handshake(l);
	else
		open_link(l);
}

static bool connect_outside(struct link *l, int *ret_fd)
{
	int fd = socket(l->peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	net_tune(fd, l->front->user_timeout_ms);
	if (connect(fd, (struct sockaddr *)&l->peer, sizeof l->peer) != 0 && errno != EINPROGRESS) {
		close(fd);
		return false;
	}
	*ret_fd = fd;
	return true;
}

static void give_up(struct link *l, int fd)
{
	if (fd >= 0)
		close(fd);
	link_close(l);
}

void link_dialled(struct front *f, const struct dial *d)
{
	struct link *l = link_new(f, true);
	int fd = d->outside_fd;

	l->state = LINK_CONNECTING;
	snprintf(l->who, sizeof l->who, "connection to %s", d->address);
	if (d->preface[0] != '\0')
		flow_hold(&l->out, d->preface, GREETING_BYTES);
	if (!side_open(&l->inside, l, d->inside_fd) || !front_find_node(f, d->address, l->expected) ||
	    net_parse(d->address, &l->peer, NULL) != 0 || (fd < 0 && !connect_outside(l, &fd))) {
		give_up(l, fd);
		return;
	}
	if (!side_open(&l->outside, l, fd))
		link_close(l);
	else if (d->outside_fd < 0)
		side_watch(&l->outside, UV_WRITABLE);
	else
		connected(l);
}

/* --- events --- */

static void end_connect(struct link *l)
{
	int so_error = 0;
	socklen_t len = sizeof so_error;

	if (getsockopt(l->outside.fd, SOL_SOCKET, SO_ERROR, &so_error, &len) != 0 || so_error != 0)
		link_close(l);
	else
		connected(l);
}

void link_event(struct link *l, struct side *s, int status, int events)
{
	if (status < 0) {
		link_close(l);
		return;
	}
	switch (l->state) {
	case LINK_CONNECTING:
		end_connect(l);
		break;
	case LINK_HANDSHAKE:
		run_handshake(l);
		break;
	case LINK_GREETING:
		read_greeting(l);
		break;
	case LINK_OPEN:
		watch_or_close(l, pump_run(l, s, events));
		break;
	}
}
