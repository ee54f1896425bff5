/* What the files of the link share: link.c (hub, libwebsockets), link_listen.c (sockets), link_peer.c (links), link_http.c
 * (requests). */
#ifndef RUN_LINK_INTERNAL_H
#define RUN_LINK_INTERNAL_H

#include "core/base/str.h"
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
#define HTTP_BODY_MAX          (64 * 1024)
#define LINK_HTTP_SESSION_SIZE sizeof(void *)

struct frame {
	struct frame *next;
	size_t len;
	char *data; /* LWS_PRE bytes of room, then len bytes */
};

/* One WebSocket connection, dialled or accepted. It lives from the dial or the upgrade until libwebsockets destroys its wsi;
 * conn_drop takes it away from its peer earlier, so that nobody waits for a close handshake with a host that is gone. */
struct conn {
	struct conn *prev, *next;
	struct link_hub *hub;
	struct lws *wsi;
	struct peer *peer; /* NULL until an accepted connection has said its name, and after conn_drop */
	bool is_dialled;
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
	struct link_hub *hub;
};

struct link_hub {
	uv_loop_t *loop;
	const struct config *config;
	struct link_handlers h;
	struct lws_context *context; /* libwebsockets clears it when it has gone */
	struct lws_vhost *vhost;
	struct listener listeners[2];
	uv_timer_t tick;
	int64_t ticked_ms;
	struct peer peers[CONFIG_NODES_MAX];
	struct conn *conns;
	struct http_request *requests;
	char *hello;
	bool is_stopping;
	unsigned stop_ticks;
	unsigned open_handles; /* of libuv, ours */
};

/* link_listen.c */
int link_listen(struct link_hub *l, struct err *e) MUST_USE;
void link_unlisten(struct link_hub *l);
void link_set_socket_options(int fd);

/* link_peer.c */
int link_peer_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
void link_peers_tick(struct link_hub *l, int64_t now, bool was_stalled);
void link_peers_stop(struct link_hub *l);
/* The wsi ends: its conn, if it has one, is freed. Called at every sign of it, since a dial can end without any but the last.
 */
void link_wsi_gone(struct lws *wsi);

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

#endif
