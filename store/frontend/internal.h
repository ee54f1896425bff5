/* What the parts of the front end share: its databases, its sessions, the session that waits for a leader or a lease. */
#ifndef STORE_FRONTEND_INTERNAL_H
#define STORE_FRONTEND_INTERNAL_H

#include "core/base/config.h"
#include "store/admin.h"
#include "store/frontend/shadow.h"
#include "store/node.h"
#include "store/reader.h"
#include "store/writer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#define FRONTEND_MAX_SESSIONS 2000
#define FRONTEND_WAIT_MS      5000 /* for a leader, for a lease */
#define FRONTEND_PAUSE_MS     25   /* between two tries of what was surely not applied */

struct session;
struct listener;

struct database {
	const char *name;
	bool is_system; /* the cluster's own: only an admin writes */
	struct writer *writer;
	struct reader *reader;
	struct shadow *shadow;
	bool is_stale;               /* the shadow may differ from the store's schema */
	uint64_t loaded_change;      /* leadership (change_count) under which the shadow was loaded; 0: never */
	const struct session *owner; /* whose open transaction's schema the shadow shows; NULL: the committed one */
};

TAILQ_HEAD(session_list, session);

struct frontend {
	uv_loop_t *loop;
	const struct config *config;
	struct node *node;
	struct admin *admin;
	struct database databases[2];
	struct listener *listener;
	struct session_list sessions;
	unsigned session_count;
	struct session_list waiting; /* at a gate */
	uint64_t revision;           /* commits acknowledged */
	bool is_stopping;
	unsigned closing; /* databases' parts still to close */
	void (*done_cb)(void *arg);
	void *done_arg;
};

/* One more commit of this node is known to be applied. */
void frontend_count_commit(struct frontend *f);

/* A session's memory is about to go. */
void frontend_session_gone(struct frontend *f);

#endif
