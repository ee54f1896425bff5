#include "store/frontend/frontend.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "store/frontend/gate.h"
#include "store/frontend/listener.h"
#include "store/frontend/notify.h"
#include "store/frontend/relay.h"
#include "store/frontend/session.h"
#include "store/frontend/transaction.h"
#include "store/interrupt.h"

#include <stdlib.h>
#include <string.h>

#define DATABASE_COUNT (sizeof(((struct frontend *)NULL)->databases) / sizeof(struct database))

void frontend_count_commit(struct frontend *f)
{
	admin_set_revision(f->admin, ++f->revision);
}

/* --- what changes --- */

static void leader_changed(void *arg, const struct node_leader *l)
{
	struct frontend *f = arg;
	struct session *s, *next;

	(void)l;
	gate_poll(f);
	notify_leader(f);
	for (s = TAILQ_FIRST(&f->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		relay_leader_changed(s);
		transaction_leader_changed(s);
	}
}

static void lease_changed(void *arg)
{
	gate_poll(arg);
}

/* --- start --- */

static void open_database(struct frontend *f, struct database *db, const char *name, bool is_system)
{
	const char *address = node_local_address(f->node);

	db->name = name;
	db->is_system = is_system;
	db->writer = writer_new(f->loop, address, name);
	db->reader = reader_new(f->loop, address, name);
	db->shadow = shadow_new(name);
}

int frontend_start(uv_loop_t *loop, const struct config *c, struct node *n, struct admin *a, struct frontend **ret,
                   struct err *e)
{
	struct frontend *f = mem_alloc(sizeof(*f));
	int rc;

	f->loop = loop;
	f->config = c;
	f->node = n;
	f->admin = a;
	TAILQ_INIT(&f->sessions);
	TAILQ_INIT(&f->waiting);
	interrupt_install();
	rc = listener_start(f, &f->listener, e);
	if (rc != ERR_OK) {
		free(f);
		return rc;
	}
	open_database(f, &f->databases[0], "config", false);
	open_database(f, &f->databases[1], "mha", true);
	node_on_leader_change(n, leader_changed, f);
	admin_on_lease(a, lease_changed, f);
	*ret = f;
	return ERR_OK;
}

/* --- stop: listeners, sessions, then what they used --- */

static void part_closed(void *arg)
{
	struct frontend *f = arg;
	size_t i;

	if (--f->closing > 0)
		return;
	for (i = 0; i < DATABASE_COUNT; i++)
		shadow_free(f->databases[i].shadow);
	if (f->done_cb != NULL)
		f->done_cb(f->done_arg);
	free(f);
}

/* Runs once: after the listener is closed and the last session is gone. */
static void close_parts(struct frontend *f)
{
	size_t i;

	if (!f->is_stopping || f->listener != NULL || f->session_count > 0)
		return;
	f->closing = 2 * DATABASE_COUNT;
	for (i = 0; i < DATABASE_COUNT; i++) {
		writer_close(f->databases[i].writer, part_closed, f);
		reader_close(f->databases[i].reader, part_closed, f);
	}
}

void frontend_session_gone(struct frontend *f)
{
	f->session_count--;
	close_parts(f);
}

static void listener_closed(void *arg)
{
	struct frontend *f = arg;

	f->listener = NULL;
	close_parts(f);
}

void frontend_stop(struct frontend *f, void (*done)(void *arg), void *arg)
{
	struct session *s, *next;
	struct sqlerr e = SQLERR_INIT;

	f->is_stopping = true;
	f->done_cb = done;
	f->done_arg = arg;
	admin_on_lease(f->admin, NULL, NULL);
	node_forget_leader_change(f->node, f);
	sqlerr_set(&e, "57P01", "terminating connection: the store of this node is stopping");
	for (s = TAILQ_FIRST(&f->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->phase == SESSION_READY)
			session_end(s, &e);
		else if (s->phase != SESSION_ENDING)
			session_close(s);
	}
	listener_close(f->listener, listener_closed, f);
}
