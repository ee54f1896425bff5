/* The life of a connection. */
#include "core/run/link_internal.h"

#include "core/base/log.h"

#include <stdlib.h>

struct conn *conn_new(struct link_hub *l, struct lws *wsi)
{
	struct conn *c = mem_alloc(sizeof *c);

	c->hub = l;
	c->wsi = wsi;
	c->next = l->conns;
	if (c->next != NULL)
		c->next->prev = c;
	l->conns = c;
	l->conns_count++;
	l->guests_count++;
	return c;
}

void conn_know(struct conn *c)
{
	if (c->is_known)
		return;
	c->is_known = true;
	c->hub->guests_count--;
}

void conn_drop(struct conn *c, const char *reason)
{
	struct link_hub *l = c->hub;
	struct peer *p = c->peer;

	if (c->is_dropped)
		return;
	c->is_dropped = true;
	c->peer = NULL;
	if (p == NULL)
		return;
	if (p->dialling == c)
		p->dialling = NULL;
	if (p->up == c) {
		p->up = NULL;
		l->h.down(l->h.arg, p->name, reason);
	}
}

void conn_drop_and_log(struct conn *c, const char *reason)
{
	if (c->peer != NULL)
		log_warn("link", "closed the link with %s: %s", c->peer->name, reason);
	else
		refusal_note(c->hub, c->from, reason);
	conn_drop(c, reason);
}

/* An asynchronous kill would wait for libwebsockets' next event, which may be long in coming. */
void conn_kill(struct conn *c)
{
	struct lws *wsi = c->wsi;

	c->wsi = NULL;
	if (wsi != NULL)
		lws_set_timeout(wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_SYNC); /* may free c */
}

void conn_free(struct conn *c)
{
	/* One that we have ended ourselves has had its reason. */
	if (c->is_secure && !c->is_shaken && !c->is_asked && !c->is_dropped && c->wsi != NULL)
		link_tls_failed(c);
	conn_drop(c, "the peer closed the connection");
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->hub->conns = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->hub->conns_count--;
	if (!c->is_known)
		c->hub->guests_count--;
	while (c->first != NULL) {
		struct frame *f = c->first;

		c->first = f->next;
		free(f->data);
		free(f);
	}
	buf_done(&c->rx);
	free(c);
}

void link_wsi_gone(struct lws *wsi)
{
	struct conn *c = lws_get_opaque_user_data(wsi);

	lws_set_opaque_user_data(wsi, NULL);
	if (c != NULL)
		conn_free(c);
}
