/* Who comes in. A connection is a guest until it has shown who it is; guests are few, so that hosts which open connections and
 * say nothing cannot keep a peer or an administrator out. */
#include "core/run/link_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REFUSAL_MS 60000

static void describe_end(int fd, bool is_local, char *buf, size_t size)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof sa;
	const void *ip = &((struct sockaddr_in *)&sa)->sin_addr;
	char text[INET6_ADDRSTRLEN] = "";

	if (is_local) {
		str_copy(buf, size, "the unix socket");
		return;
	}
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family == AF_INET6)
		ip = &((struct sockaddr_in6 *)&sa)->sin6_addr;
	str_copy(buf, size, inet_ntop(sa.ss_family, ip, text, sizeof text) != NULL ? text : "an unknown address");
}

static bool is_guest(const struct conn *c)
{
	return !c->is_known && c->wsi != NULL && !c->is_dropped;
}

static unsigned count_guests_from(const struct link_hub *l, const char *from)
{
	const struct conn *c;
	unsigned count = 0;

	for (c = l->conns; c != NULL; c = c->next)
		count += is_guest(c) && strcmp(c->from, from) == 0;
	return count;
}

/* The oldest guest of the address that has most of them; one whose request is being worked on only if there is no other. */
static struct conn *find_least_welcome(struct link_hub *l)
{
	struct conn *c, *best = NULL;
	unsigned best_rank = 0;

	for (c = l->conns; c != NULL; c = c->next) {
		unsigned rank;

		if (!is_guest(c))
			continue;
		rank = count_guests_from(l, c->from) + (link_http_is_busy(l, c->wsi) ? 0 : LINK_CONNS_MAX);
		if (best != NULL && rank < best_rank)
			continue;
		best = c; /* the list begins with the newest */
		best_rank = rank;
	}
	return best;
}

static bool make_room(struct link_hub *l)
{
	struct conn *c;

	if (l->guests_count < LINK_GUESTS_MAX && l->conns_count < LINK_CONNS_MAX)
		return true;
	c = find_least_welcome(l);
	if (c == NULL)
		return l->conns_count < LINK_CONNS_MAX;
	refusal_note(l, c->from, "closed for a newer connection: too many have not shown who they are");
	conn_kill(c);
	return true;
}

void guest_accept(struct link_hub *l, int fd, bool is_local)
{
	lws_sock_file_fd_type descriptor = {.sockfd = fd};
	struct conn *c;
	struct lws *wsi;
	bool is_secure = !is_local && !l->is_tls_off;
	char from[64];

	describe_end(fd, is_local, from, sizeof from);
	if (!make_room(l)) {
		refusal_note(l, from, "closed: there are too many connections");
		close(fd);
		return;
	}
	if (!is_local)
		link_set_socket_options(fd);
	/* It closes the descriptor when it fails. */
	l->alert[0] = '\0';
	wsi = lws_adopt_descriptor_vhost(is_secure ? l->secure : l->vhost,
	                                 LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | (is_secure ? LWS_ADOPT_ALLOW_SSL : 0), descriptor,
	                                 NULL, NULL);
	if (wsi == NULL) {
		refusal_note(l, from, l->alert[0] != '\0' ? l->alert : "what it sent first is no TLS");
		return;
	}
	c = conn_new(l, wsi);
	c->is_secure = is_secure;
	c->is_local = is_local;
	str_copy(c->from, sizeof c->from, from);
	c->deadline_ms = clock_now_ms() + LINK_GREETING_MS;
	lws_set_opaque_user_data(wsi, c);
}

/* root and the node's own user administer it. */
static void identify_local(struct conn *c)
{
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof cred;
	char room[1024], user[33];
	struct passwd pw, *found = NULL;
	bool has_cred = getsockopt(lws_get_socket_fd(c->wsi), SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0;

	snprintf(user, sizeof user, "uid %u", (unsigned)cred.uid);
	if (has_cred && getpwuid_r(cred.uid, &pw, room, sizeof room, &found) == 0 && found != NULL)
		str_copy(user, sizeof user, found->pw_name);
	if (has_cred && (cred.uid == 0 || cred.uid == geteuid())) {
		c->who = HTTP_ADMIN;
		str_copy(c->name, sizeof c->name, user);
		conn_know(c);
		return;
	}
	snprintf(c->why, sizeof c->why,
	         "user %s may not administer this node: be root or the user that mhad runs as, or use an administrator's "
	         "certificate (--node https://...)",
	         user);
	refusal_note(c->hub, c->from, c->why);
}

static void identify_certificate(struct conn *c)
{
	SSL *ssl = lws_get_ssl(c->wsi);
	struct err e = ERR_INIT;

	if (ssl == NULL || SSL_get0_peer_certificate(ssl) == NULL)
		return; /* someone who wants to join, or a load balancer */
	if (link_tls_peer(c, NULL, &e) == ERR_OK)
		return;
	str_copy(c->why, sizeof c->why, e.text);
	refusal_note(c->hub, c->from, c->why);
}

void guest_identify(struct conn *c)
{
	if (c->is_asked)
		return;
	c->is_asked = true;
	c->who = HTTP_NOBODY;
	if (c->is_local) {
		identify_local(c);
		return;
	}
	if (c->is_secure) {
		identify_certificate(c);
		return;
	}
	c->who = HTTP_ADMIN;
	str_copy(c->name, sizeof c->name, "insecure");
	conn_know(c);
}

static void end_refusal(struct refusal *r)
{
	if (r->repeats > 0)
		log_warn("link", "refused %s: %s (%u more in the last minute)", r->from, r->reason, r->repeats);
	r->since_ms = 0;
}

/* The place of this address and reason, or a free one; NULL when all are taken. */
static struct refusal *find_refusal(struct refusals *all, const char *from, const char *reason)
{
	struct refusal *r, *unused = NULL;
	unsigned i;

	for (i = 0; i < REFUSALS_MAX; i++) {
		r = &all->list[i];
		if (r->since_ms == 0)
			unused = unused != NULL ? unused : r;
		else if (strcmp(r->from, from) == 0 && strcmp(r->reason, reason) == 0)
			return r;
	}
	return unused;
}

void refusal_note(struct link_hub *l, const char *from, const char *reason)
{
	struct refusal *r = find_refusal(&l->refusals, from, reason);

	if (r == NULL) {
		l->refusals.others++;
		return;
	}
	if (r->since_ms != 0) {
		r->repeats++;
		return;
	}
	str_copy(r->from, sizeof r->from, from);
	str_copy(r->reason, sizeof r->reason, reason);
	r->since_ms = clock_now_ms();
	r->repeats = 0;
	log_warn("link", "refused %s: %s", from, reason);
}

void refusals_tick(struct link_hub *l, int64_t now)
{
	struct refusals *all = &l->refusals;
	unsigned i;

	for (i = 0; i < REFUSALS_MAX; i++)
		if (all->list[i].since_ms != 0 && now - all->list[i].since_ms >= REFUSAL_MS)
			end_refusal(&all->list[i]);
	if (all->others > 0 && now - all->others_said_ms >= REFUSAL_MS) {
		log_warn("link", "refused %u more, from other addresses or for other reasons", all->others);
		all->others = 0;
		all->others_said_ms = now;
	}
}
