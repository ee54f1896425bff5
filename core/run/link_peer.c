/* Links to the peers: dial, shake hands, carry frames, notice silence. */
#include "core/run/link_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct peer *find_peer(struct link_hub *l, const char *name)
{
	unsigned i;

	for (i = 0; i < CONFIG_NODES_MAX; i++)
		if (l->peers[i].is_there && strcmp(l->peers[i].name, name) == 0)
			return &l->peers[i];
	return NULL;
}

static bool was_removed(const struct link_hub *l, const char *name)
{
	unsigned i;

	for (i = 0; i < CONFIG_NODES_MAX; i++)
		if (l->peers[i].is_removed && strcmp(l->peers[i].name, name) == 0)
			return true;
	return false;
}

/* Every connection of the peer but `newest`, those that are still shaking hands too. */
static void drop_all_of(struct link_hub *l, const struct peer *p, const struct conn *newest, const char *reason)
{
	struct conn *c;

	for (c = l->conns; c != NULL && !l->is_stopping; c = c->next)
		if (c->peer == p && c != newest)
			conn_drop(c, reason);
}

static void dial(struct link_hub *l, struct peer *p, int64_t now)
{
	struct conn *c = conn_new(l, NULL);
	struct lws *wsi;
	char host[80];
	struct lws_client_connect_info i = {
	        .context = l->context,
	        .vhost = l->vhost,
	        .address = p->address,
	        .port = p->port,
	        .path = LINK_PATH,
	        .host = host,
	        .origin = host,
	        .protocol = LINK_PROTOCOL,
	        .local_protocol_name = LINK_PROTOCOL,
	        .ietf_version_or_minus_one = -1,
	        .iface = l->config->address, /* else the kernel may take a virtual address, and the link would leave with it */
	        .opaque_user_data = c,
	};

	if (l->secure != NULL) {
		/* The name is checked by link_tls_peer, against the node's, not the host's. */
		i.vhost = l->secure;
		i.ssl_connection = LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
		i.alpn = "http/1.1";
		c->is_secure = true;
	}

	snprintf(host, sizeof host, "%s:%u", p->address, p->port);
	c->is_dialled = true;
	conn_know(c);
	str_copy(c->from, sizeof c->from, p->address);
	c->peer = p;
	c->deadline_ms = now + LINK_CONNECT_MS;
	p->dialling = c;
	p->next_dial_ms = now + LINK_REDIAL_MS;
	wsi = lws_client_connect_via_info(&i);
	if (p->dialling != c)
		return; /* it failed at once and is freed */
	c->wsi = wsi;
	if (wsi == NULL)
		conn_free(c);
}

/* Say no to a hello: the reason is the last frame. The other side closes when it has read it; the deadline closes if it does
 * not. */
static void refuse(struct conn *c, const char *name, const char *reason)
{
	struct peer *p = c->peer != NULL ? c->peer : find_peer(c->hub, name);
	char *text = frame_refused(reason);

	if (p == NULL || (c->is_secure && strcmp(c->name, p->name) != 0)) {
		refusal_note(c->hub, c->from, reason); /* not the peer: what others say must not fill the log */
	} else if (strcmp(p->refusal, reason) != 0) {
		/* Once per reason: it comes back with every dial. */
		str_copy(p->refusal, sizeof p->refusal, reason);
		log_warn("link", "refused \"%s\": %s", name, reason);
	}
	if (c->peer != NULL && c->peer->dialling == c) {
		c->peer->dialling = NULL;
		c->peer->next_dial_ms = clock_now_ms() + LINK_REDIAL_REFUSED_MS;
	}
	c->peer = NULL;
	c->is_closing = true;
	conn_queue(c, text, strlen(text));
	free(text);
}

static void go_up_if_agreed(struct conn *c)
{
	struct peer *p = c->peer;

	if (!c->is_accepted || !c->is_welcomed)
		return;
	c->deadline_ms = 0;
	if (p->dialling == c)
		p->dialling = NULL;
	p->up = c;
	p->refusal[0] = '\0';
	c->hub->h.up(c->hub->h.arg, p->name);
}

static void receive_hello(struct conn *c, const char *name, const char *hello)
{
	struct link_hub *l = c->hub;
	struct peer *p = find_peer(l, name);
	char reason[256] = "";
	char *welcome;

	if (strcmp(name, l->config->node) == 0)
		snprintf(reason, sizeof reason, "the name \"%s\" is this node's own: give each host a name of its own", name);
	else if (p == NULL && was_removed(l, name))
		snprintf(reason, sizeof reason,
		         "node \"%s\" was removed from the cluster: empty its state directory and add it again to take it back",
		         name);
	else if (p == NULL)
		snprintf(reason, sizeof reason, "node \"%s\" is not among the nodes in the configuration of \"%s\"", name,
		         l->config->node);
	else if (c->is_secure && strcmp(c->name, name) != 0)
		snprintf(reason, sizeof reason, "its certificate is for \"%s\", but it says that it is \"%s\"", c->name, name);
	else if (c->is_dialled && c->peer != p)
		snprintf(reason, sizeof reason, "at %s there should be \"%s\", not \"%s\": correct the addresses under nodes",
		         c->peer->address, c->peer->name, name);
	else if (!l->h.hello(l->h.arg, name, hello, reason, sizeof reason) && reason[0] == '\0')
		snprintf(reason, sizeof reason, "\"%s\" does not want this link", l->config->node);
	if (c->is_dropped)
		return;
	if (reason[0] != '\0') {
		refuse(c, name, reason);
		return;
	}
	/* The newest hello wins, also over a connection whose handshake is not done: what an older one still has on its way
	 * must not come after the frames of this one (a release that follows a later ask would take a grant that counts). The
	 * peer speaks on a connection only after our welcome to its hello, so the older one's hello has been seen before this.
	 */
	drop_all_of(l, p, c, "replaced by a newer link");
	if (c->is_dropped) /* the owner may have stopped the hub in its down handler */
		return;
	c->peer = p;
	c->is_accepted = true;
	conn_know(c);
	welcome = frame_welcome();
	conn_queue(c, welcome, strlen(welcome));
	free(welcome);
	go_up_if_agreed(c);
}

static void receive_refusal(struct conn *c, const char *reason)
{
	struct link_hub *l = c->hub;
	struct peer *p = c->peer;

	conn_drop(c, reason);
	if (p == NULL)
		return;
	p->next_dial_ms = clock_now_ms() + LINK_REDIAL_REFUSED_MS;
	l->h.refused(l->h.arg, p->name, reason);
}

static void receive_handshake(struct conn *c, const char *text, size_t len)
{
	char name[33] = "", *said = NULL;
	enum frame_kind kind = frame_parse(text, len, name, &said);

	if (kind == FRAME_REFUSED) {
		receive_refusal(c, said);
	} else if (kind == FRAME_HELLO && !c->is_accepted) {
		receive_hello(c, name, said);
	} else if (kind == FRAME_WELCOME && c->is_accepted) {
		c->is_welcomed = true;
		go_up_if_agreed(c);
	} else {
		conn_drop_and_log(c, "its first frame is no hello");
	}
	free(said);
}

static void receive_text(struct conn *c, const char *text, size_t len)
{
	struct link_hub *l = c->hub;

	if (c->peer == NULL || c->peer->up != c)
		receive_handshake(c, text, len);
	else
		l->h.frame(l->h.arg, c->peer->name, text, len);
}

static void receive(struct conn *c, const void *in, size_t len)
{
	struct buf whole;

	if (c->is_dropped || c->is_closing)
		return;
	c->received_ms = clock_now_ms();
	if (c->rx.len + len > LINK_FRAME_MAX) {
		conn_drop_and_log(c, "it sent a frame of more than 256 KiB");
		return;
	}
	buf_add(&c->rx, in, len);
	if (!lws_is_final_fragment(c->wsi))
		return;
	/* Taken out of c, because the handler may end the connection. */
	whole = c->rx;
	memset(&c->rx, 0, sizeof c->rx);
	if (lws_frame_is_binary(c->wsi) || !frame_is_utf8(whole.data != NULL ? whole.data : "", whole.len))
		conn_drop_and_log(c, "it sent a frame that is not UTF-8 text");
	else
		receive_text(c, whole.data != NULL ? whole.data : "", whole.len);
	buf_done(&whole);
}

static void start_handshake(struct conn *c)
{
	int64_t now = clock_now_ms();
	char *hello = frame_hello(c->hub);

	link_set_socket_options(lws_get_socket_fd(c->wsi));
	c->is_open = true;
	c->deadline_ms = now + LINK_HANDSHAKE_MS;
	c->received_ms = now;
	conn_queue(c, hello, strlen(hello));
	free(hello);
}

/* An upgrade is accepted at the one path and with our subprotocol only. */
static int check_upgrade(struct conn *c)
{
	char uri[sizeof LINK_PATH + 1] = "";

	guest_identify(c);
	if (c->is_local) {
		refusal_note(c->hub, c->from, "a peer link is made over TCP only");
		return -1;
	}
	if (lws_hdr_copy(c->wsi, uri, sizeof uri, WSI_TOKEN_GET_URI) <= 0 || strcmp(uri, LINK_PATH) != 0)
		return -1;
	if (c->is_secure && c->who != HTTP_NODE) {
		refusal_note(c->hub, c->from, "a peer link takes a node's certificate");
		return -1;
	}
	return 0;
}

/* Before anything is said to it: is it the node that should be there? */
static int check_dialled(struct conn *c, struct lws *wsi)
{
	struct err e = ERR_INIT;
	int64_t now = clock_now_ms();

	c->wsi = wsi;
	c->deadline_ms = now + LINK_HANDSHAKE_MS;
	c->is_shaken = true;
	if (!c->is_secure || c->peer == NULL || link_tls_peer(c, c->peer->name, &e) == ERR_OK)
		return 0;
	refusal_note(c->hub, c->from, e.text);
	c->peer->next_dial_ms = now + LINK_REDIAL_REFUSED_MS;
	conn_drop(c, e.text);
	return -1;
}

int link_peer_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct link_hub *l = lws_context_user(lws_get_context(wsi));
	struct conn *c = lws_get_opaque_user_data(wsi);

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return l->is_stopping || c == NULL ? -1 : check_upgrade(c);
	case LWS_CALLBACK_ESTABLISHED:
		if (c == NULL || c->is_dropped)
			return -1;
		start_handshake(c);
		return 0;
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: /* connected, and TLS is agreed */
		return c == NULL || c->is_dropped ? -1 : check_dialled(c, wsi);
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		if (c == NULL || c->is_dropped)
			return -1;
		c->wsi = wsi;
		start_handshake(c);
		return 0;
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_CLIENT_RECEIVE:
		if (c != NULL)
			receive(c, in, len);
		return c == NULL || c->is_dropped ? -1 : 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return c == NULL || c->is_dropped ? -1 : conn_write_one(c);
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_CLIENT_CLOSED:
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		link_wsi_gone(wsi);
		return 0;
	default:
		return lws_callback_http_dummy(wsi, reason, user, in, len);
	}
}

/* Take over what the configuration says about one place. */
static void update_peer(struct link_hub *l, struct peer *p, const struct config_node *n)
{
	bool is_there = !n->is_removed && strcmp(n->name, l->config->node) != 0;
	bool has_moved = strcmp(p->address, n->address) != 0 || p->port != n->peer_port;

	str_copy(p->name, sizeof p->name, n->name);
	str_copy(p->address, sizeof p->address, n->address);
	p->port = n->peer_port;
	p->is_removed = n->is_removed;
	p->is_ours_to_dial = strcmp(l->config->node, n->name) < 0;
	if (is_there == p->is_there && !has_moved)
		return;
	p->is_there = is_there;
	p->next_dial_ms = 0;
	p->refusal[0] = '\0';
	drop_all_of(l, p, NULL, is_there ? "the node's address has changed" : "the node was removed from the cluster");
}

void link_peers_changed(struct link_hub *l)
{
	const struct config *c = l->config;
	unsigned i;

	for (i = 0; i < c->nodes_count && i < CONFIG_NODES_MAX && !l->is_stopping; i++)
		update_peer(l, &l->peers[i], &c->nodes[i]);
}

static void give_up(struct conn *c)
{
	const char *reason = c->is_dialled && !c->is_open ? "no answer to the dial" : "the handshake took too long";

	if (c->peer == NULL && !c->is_closing)
		refusal_note(c->hub, c->from, "it said nothing that could be understood in time");
	conn_drop(c, reason);
}

static void check_conn(struct conn *c, int64_t now)
{
	/* A dial that has found its host gets the time of a handshake. */
	if (c->is_secure && c->is_dialled && !c->is_met && !c->is_shaken && c->wsi != NULL && lws_get_ssl(c->wsi) != NULL) {
		c->is_met = true;
		c->deadline_ms = now + LINK_HANDSHAKE_MS;
	}
	if (c->deadline_ms != 0 && now >= c->deadline_ms)
		give_up(c);
	else if (c->peer != NULL && c->peer->up == c && now - c->received_ms >= LINK_SILENCE_MS)
		conn_drop(c, "nothing received for 1500 ms");
}

void link_peers_tick(struct link_hub *l, int64_t now, bool was_stalled)
{
	struct conn *c, *next;
	unsigned i;

	/* After a stall of this process what the peers sent waits in the sockets: read it before judging their silence. */
	for (c = l->conns; c != NULL && !was_stalled; c = next) {
		next = c->next;
		if (!c->is_dropped)
			check_conn(c, now);
		if (l->is_stopping)
			return;
		if (c->is_dropped)
			conn_kill(c);
	}
	for (i = 0; i < CONFIG_NODES_MAX; i++) {
		struct peer *p = &l->peers[i];

		if (l->is_open && p->is_there && p->is_ours_to_dial && p->up == NULL && p->dialling == NULL &&
		    now >= p->next_dial_ms)
			dial(l, p, now);
	}
}

void link_peers_stop(struct link_hub *l)
{
	struct conn *c;
	unsigned i;

	for (i = 0; i < CONFIG_NODES_MAX; i++)
		l->peers[i].up = l->peers[i].dialling = NULL; /* the owner asked for it: no news */
	for (c = l->conns; c != NULL; c = c->next) {
		c->peer = NULL;
		c->is_dropped = true;
	}
}

bool link_send(struct link_hub *l, const char *peer, const char *json, size_t len)
{
	struct peer *p = find_peer(l, peer);

	if (p == NULL || p->up == NULL)
		return false;
	if (p->up->queued_bytes + len > LINK_QUEUE_MAX) {
		conn_drop_and_log(p->up, "its queue is over 256 KiB: it does not read");
		return false;
	}
	conn_queue(p->up, json, len);
	return true;
}

bool link_is_up(const struct link_hub *l, const char *peer)
{
	const struct peer *p = find_peer((struct link_hub *)(uintptr_t)l, peer);

	return p != NULL && p->up != NULL;
}

size_t link_queued(const struct link_hub *l, const char *peer)
{
	const struct peer *p = find_peer((struct link_hub *)(uintptr_t)l, peer);

	return p != NULL && p->up != NULL ? p->up->queued_bytes : 0;
}
