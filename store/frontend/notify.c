#include "store/frontend/notify.h"

#include "store/frontend/messages.h"
#include "store/frontend/session.h"

#include <inttypes.h>
#include <stdio.h>

void notify_deliver(struct session *s)
{
	const struct node_leader *l = node_leader(s->f->node);
	char payload[256];

	if (!s->listens || !s->has_news || s->tx == TX_EXPLICIT || s->tx == TX_FAILED)
		return;
	s->has_news = false;
	snprintf(payload, sizeof(payload), "{\"id\":\"%" PRIu64 "\",\"address\":\"%s\",\"self\":%s,\"change\":%" PRIu64 "}",
	         l->id, l->id != 0 ? l->address : "", l->is_self ? "true" : "false", l->change_count);
	msg_put_notification(&s->out, s->pid, NOTIFY_LEADER, payload);
}

void notify_leader(struct frontend *f)
{
	struct session *s;

	TAILQ_FOREACH(s, &f->sessions, link)
	{
		if (!s->listens || s->phase != SESSION_READY)
			continue;
		s->has_news = true;
		if (s->is_busy || s->simple.is_active)
			continue; /* with its next ReadyForQuery */
		notify_deliver(s);
		session_flush(s);
	}
}
