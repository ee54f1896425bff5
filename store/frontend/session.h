/* One client: its socket, the order of its messages, and the state that they change. */
#ifndef STORE_FRONTEND_SESSION_H
#define STORE_FRONTEND_SESSION_H

#include "core/base/str.h"
#include "store/frontend/exec.h"
#include "store/frontend/extended.h"
#include "store/frontend/internal.h"
#include "store/frontend/prepare.h"
#include "store/frontend/settings.h"
#include "store/frontend/simple.h"
#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum session_phase {
	SESSION_STARTUP, /* its startup packet has not come */
	SESSION_ROUTING, /* served here or relayed? no leader is known yet */
	SESSION_READY,
	SESSION_RELAYED,
	SESSION_ENDING, /* the last bytes are on their way out */
	SESSION_CLOSED
};

enum session_tx {
	TX_NONE,
	TX_IMPLICIT, /* several statements that came together: ends with them */
	TX_EXPLICIT, /* BEGIN */
	TX_FAILED    /* only ROLLBACK gets out */
};

struct session {
	TAILQ_ENTRY(session) link;
	struct frontend *f;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} io;
	uv_timer_t timer; /* startup, gate, pause, idle in transaction, last bytes: never two at once */
	void (*timer_cb)(struct session *s);
	unsigned handles_open;
	unsigned refs; /* requests to admin that cannot be called back */
	enum session_phase phase;

	bool is_unix, is_own_user, is_admin, is_control,
	        was_relayed; /* was_relayed: not again, so no chain can close on itself */
	char user[64];
	struct database *db;
	int32_t pid, secret;
	struct settings settings;
	struct relay *relay;
	char *startup; /* the startup packet, while it may have to be relayed */
	size_t startup_len;

	struct buf in; /* in_at..len: not yet handled */
	size_t in_at;
	struct buf out;                                                             /* not yet given to the socket */
	bool is_reading, is_writing, is_busy, is_pumping, wants_flush, is_skipping; /* is_skipping: to the next Sync */

	enum session_tx tx;
	bool tx_is_readonly, tx_has_ddl;
	unsigned savepoints;
	struct writer_unit *unit; /* the slot, held or asked for */
	bool has_slot;
	bool tx_is_lost;    /* given up when the leadership changed; the client has not been told yet */
	uint64_t tx_change; /* leadership under which the slot was got */

	TAILQ_ENTRY(session) gate_link;
	bool is_at_gate;
	unsigned gate_needs;
	void (*gate_cb)(struct session *s, bool is_open);

	struct prepare prepare;
	struct op op;
	struct simple simple;
	struct extended extended;
	bool listens, has_news; /* LISTEN mha_leader; something to tell */
};

/* Where a connection comes in: that, and nothing that it says, tells whether another node relayed it (DOOR_RELAY: an abstract
 * socket for this process only, behind the front that knows the other nodes by their certificates). */
enum session_door { DOOR_UNIX, DOOR_TCP, DOOR_RELAY };

/* A new session for a connection that waits on the listening stream. */
void session_accept(struct frontend *f, uv_stream_t *server, enum session_door door);

/* Handle what has come in, as far as it can be now. Call it whenever the session has stopped being busy. */
void session_pump(struct session *s);

/* The pending operation has ended: go on. */
void session_resume(struct session *s);

/* Give s->out to the socket. */
void session_flush(struct session *s);

/* A statement failed: the client is told, the rest of its Query (or everything to the next Sync) is skipped, and its
 * transaction is failed or rolled back. */
void session_fail(struct session *s, const struct sqlerr *e);

/* FATAL: tell the client, then close. */
void session_end(struct session *s, const struct sqlerr *e);

/* One request to admin has ended. */
void session_unref(struct session *s);

/* Read from the client, or leave its bytes to the kernel. */
void session_read(struct session *s, bool is_wanted);

/* Close without a word: rolls back, forgets, frees in the end. */
void session_close(struct session *s);

/* One timer: replaces what ran before. */
void session_timer_start(struct session *s, int64_t ms, void (*cb)(struct session *s));
void session_timer_stop(struct session *s);

/* The ReadyForQuery message, the notifications that waited for it, and out. */
void session_ready(struct session *s);

#endif
