/* What the files of the link share: link.c (hub, libwebsockets), link_listen.c (sockets), link_guest.c (who comes in),
 * link_conn.c (connections), link_peer.c (links), link_frame.c (their frames), link_http.c (requests). */
#ifndef RUN_LINK_INTERNAL_H
#define RUN_LINK_INTERNAL_H

#include "core/base/str.h"
#include "core/base/tls.h"
#include "core/run/link.h"

#include <libwebsockets.h>
#include <stdint.h>

#define LINK_PROTOCOL          "mha-peer-1"
#define LINK_PATH              "/v1/peer"
#define LINK_TICK_MS           25
#define LINK_REDIAL_MS         100  /* from one attempt to the next while a peer is down */
#define LINK_REDIAL_REFUSED_MS 1000 /* after a refusal: only the other side's state can change the answer */
#define LINK_CONNECT_MS        250 /* TCP connect; short, because a SYN that got lost in a partition is repeated only after 1 s */
#define LINK_HANDSHAKE_MS      1000 /* from the TCP connection to the welcome */
#define LINK_SILENCE_MS        1500 /* the owner sends heartbeats every 200 ms */
#define LINK_USER_TIMEOUT_MS   1000
#define LINK_FRAME_MAX         (256 * 1024)
#define LINK_QUEUE_MAX         (256 * 1024)
#define LINK_CONNS_MAX         512
#define LINK_GUESTS_MAX        64   /* of them whose user is not known (yet) */
#define LINK_GREETING_MS       3000 /* from the TCP connection to its first request or upgrade, TLS handshake included */
#define HTTP_BODY_MAX          (64 * 1024)
#define LINK_HTTP_SESSION_SIZE sizeof(void *)

struct frame {
	struct frame *next;
	size_t len;
	char *data; /* LWS_PRE bytes of room, then len bytes */
};

/* One connection, dialled or accepted, HTTP or WebSocket. It lives from the dial or the accept until libwebsockets destroys its
 * wsi; conn_drop takes it away from its peer earlier, so that nobody waits for a close handshake with a host that is gone. */
struct conn {
	struct conn *prev, *next;
	struct link_hub *hub;
	struct lws *wsi;
	struct peer *peer; /* NULL until an accepted connection has said its name, and after conn_drop */
	char from[64];     /* the other end's address, or "the unix socket" */
	bool is_local;     /* came by the unix socket */
	bool is_secure;    /* encrypted */
	bool is_shaken;    /* the TLS handshake is done */
	bool is_asked;     /* who it is has been looked at */
	bool is_known;     /* not a guest: who it is has been shown, or nobody asks in this cluster */
	enum http_who who;
	char name[33];
	char serial[48]; /* of its certificate; "" none */
	char why[256];   /* it may not do what an administrator may */
	bool is_dialled;
	bool is_met;         /* dialled: TCP is connected, TLS has begun */
	bool is_open;        /* upgraded: frames may be written */
	bool is_accepted;    /* we have accepted their hello */
	bool is_welcomed;    /* they have accepted ours */
	bool is_closing;     /* close when the queue is empty */
	bool is_dropped;     /* nothing more is read, written or reported */
	int64_t deadline_ms; /* of connecting, then of the handshake, then of a refusal's last words; 0: none */
	int64_t received_ms;
	struct buf rx;
	struct frame *first, *last;
	size_t queued_bytes;
};

/* One place of the configuration's nodes. Name and address are copies: the configuration may replace its texts. */
struct peer {
	char name[33];
	char address[48];
	uint16_t port;
	bool is_there; /* a peer: listed, not removed, not this node */
	bool is_removed;
	bool is_ours_to_dial;
	struct conn *dialling; /* until it is up */
	struct conn *up;
	int64_t next_dial_ms;
	char refusal[256]; /* last one logged */
};

struct listener {
	uv_poll_t poll;
	int fd; /* -1: not open */
	bool is_polled;
	bool is_local; /* the unix socket */
	struct link_hub *hub;
};

/* Refused connections, so that each address and reason is logged once a minute, however often it comes. */
struct refusal {
	char from[64], reason[256];
	int64_t since_ms; /* 0: free */
	unsigned repeats;
};

#define REFUSALS_MAX 32
struct refusals {
	struct refusal list[REFUSALS_MAX];
	unsigned others; /* since all places were taken */
	int64_t others_said_ms;
};

struct link_hub {
	uv_loop_t *loop;
	const struct config *config;
	struct link_handlers h;
	struct lws_context *context; /* libwebsockets clears it when it has gone */
	struct lws_vhost *vhost;     /* unencrypted: the unix socket, and everything with tls: {mode: insecure-plaintext} */
	struct lws_vhost *secure;    /* encrypted; NULL until there are credentials */
	struct tls *tls;
	SSL_CTX *client_ctx;
	bool is_tls_off, is_open; /* is_open: listening at the port and dialling */
	unsigned tls_number;      /* of tls_refresh, when connections were last checked */
	int64_t looked_ms;        /* for credentials */
	char problem[512];        /* last one logged that keeps the port closed */
	char alert[256];          /* why the TLS handshake that has just failed did so; "" not known */
	struct listener listeners[3];
	struct refusals refusals;
	uv_timer_t tick;
	int64_t ticked_ms;
	struct peer peers[CONFIG_NODES_MAX];
	struct conn *conns; /* the newest first */
	unsigned conns_count, guests_count;
	struct http_request *requests;
	char *hello;
	bool is_stopping;
	unsigned stop_ticks;
	unsigned open_handles; /* of libuv, ours */
};

/* link.c */
int link_make_vhost(struct link_hub *l, struct lws_vhost **ret, struct err *e) MUST_USE; /* &l->vhost or &l->secure */

/* link_tls.c */
/* Listen and dial. ERR_NOTFOUND: there is no certificate yet, the tick looks again. */
int link_open(struct link_hub *l, struct err *e) MUST_USE;
void link_tls_tick(struct link_hub *l, int64_t now);
int link_tls_server_context(struct link_hub *l, SSL_CTX *ctx); /* nonzero: it cannot be used */
/* Sets who, name and serial of c by its certificate. ERR_REFUSED says what is wrong with it. */
int link_tls_peer(struct conn *c, const char *expected, struct err *e) MUST_USE;
void link_tls_failed(struct conn *c); /* it ends and its handshake was not done: note why */

/* link_listen.c */
int link_listen(struct link_hub *l, struct err *e) MUST_USE;
int link_listen_local(struct link_hub *l, struct err *e) MUST_USE; /* the unix socket */
void link_unlisten(struct link_hub *l);
void link_set_socket_options(int fd);

/* link_guest.c */
/* fd is taken: handed to libwebsockets, or closed. */
void guest_accept(struct link_hub *l, int fd, bool is_local);
/* Look at who is at the other end, once; afterwards who, name and why of c are set. */
void guest_identify(struct conn *c);
void refusal_note(struct link_hub *l, const char *from, const char *reason);
void refusals_tick(struct link_hub *l, int64_t now);

/* link_conn.c */
struct conn *conn_new(struct link_hub *l, struct lws *wsi);
/* Take c away from its peer. The owner hears of it if the link was up. Nothing is awaited from the other side. The wsi is
 * closed by the callback that is running, if it is c's own, else at the next tick: this may be inside a callback of
 * libwebsockets. */
void conn_drop(struct conn *c, const char *reason);
void conn_drop_and_log(struct conn *c, const char *reason);
void conn_free(struct conn *c);
void conn_kill(struct conn *c); /* from the tick or a listener only: may free c */
void conn_know(struct conn *c); /* no longer a guest */
/* The wsi ends: its conn, if it has one, is freed. Called at every sign of it, since a dial can end without any but the last.
 */
void link_wsi_gone(struct lws *wsi);

/* link_peer.c */
int link_peer_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
void link_peers_tick(struct link_hub *l, int64_t now, bool was_stalled);
void link_peers_stop(struct link_hub *l);

/* link_frame.c: the frames of the handshake and the queue */
void conn_queue(struct conn *c, const char *json, size_t len);
int conn_write_one(struct conn *c); /* from the writable callback; nonzero: close the wsi */
char *frame_hello(const struct link_hub *l);
char *frame_welcome(void);
char *frame_refused(const char *reason);
bool frame_is_utf8(const char *text, size_t len);

enum frame_kind { FRAME_OTHER = 0, FRAME_HELLO, FRAME_WELCOME, FRAME_REFUSED };
/* What a frame of the handshake says. ret_name (33 bytes) and *ret_text (returned: free) are set for a hello, *ret_text for a
 * refusal. */
enum frame_kind frame_parse(const char *text, size_t len, char *ret_name, char **ret_text);

/* link_http.c */
int link_http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
void link_http_stop(struct link_hub *l);
/* Has the owner a request of this connection, unanswered? */
bool link_http_is_busy(const struct link_hub *l, const struct lws *wsi);

#endif
