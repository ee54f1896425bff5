/* Inside the front: one connection between the network and this process. All of it runs on the front's thread, except where
 * it says otherwise.
 *
 *   CONNECTING  TCP is on its way (dialled without blocking)
 *   HANDSHAKE   TLS
 *   GREETING    accepted: its first 8 bytes decide where it leads
 *   OPEN        bytes pass in both directions
 *
 * Until it is open a link is a stranger: it has a deadline, and of accepted ones no more than STRANGERS_MAX are kept. */
#ifndef STORE_FRONT_LINK_H
#define STORE_FRONT_LINK_H

#include "store/front.h"
#include "store/front_refusal.h"
#include "store/net.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#define LINKS_MAX      5000 /* relayed sessions are links too */
#define STRANGERS_MAX  128
#define STRANGER_MS    3000
#define GREETING_BYTES 8
#define FRONT_BUFFER   ((size_t)64 << 10)
#define FRONT_NAME_CAP 33

struct link;

/* One end of a link. */
struct side {
	struct link *link;
	int fd; /* -1: none yet */
	uv_poll_t *poll;
	int events; /* as given to the poll handle; 0: stopped */
	SSL *ssl;   /* NULL: bytes as they are */
	bool read_wants_write, write_wants_read;
};

/* One direction. What could not be written yet is held, and while something is held nothing more is read. */
struct flow {
	struct side *from, *to;
	char *held; /* [at, len) */
	size_t at, len;
};

enum link_state { LINK_CONNECTING, LINK_HANDSHAKE, LINK_GREETING, LINK_OPEN };

TAILQ_HEAD(link_list, link);

struct link {
	TAILQ_ENTRY(link) entry; /* front's strangers or open */
	struct front *front;
	enum link_state state;
	bool is_dialled, is_closed;
	struct sockaddr_storage peer;
	char who[80];                  /* for the log: "connection from 10.0.0.2" */
	char expected[FRONT_NAME_CAP]; /* "": any node */
	int64_t deadline_ms;
	char greeting[GREETING_BYTES];
	size_t greeting_len;
	struct side outside, inside; /* TCP, this process */
	struct flow in, out;         /* towards the inside, towards the outside */
	unsigned handles_open;
};

struct front_node {
	char name[FRONT_NAME_CAP], address[NET_ADDRESS_CAP];
	bool is_removed;
};

/* A connection that another thread asked for. */
struct dial {
	STAILQ_ENTRY(dial) entry;
	char address[NET_ADDRESS_CAP], preface[GREETING_BYTES + 1];
	int inside_fd, outside_fd; /* outside_fd -1: still to be connected */
};
STAILQ_HEAD(dial_list, dial);

struct front {
	struct tls *tls;
	char *raft, *sql;
	unsigned user_timeout_ms, dial_ms;
	uv_loop_t loop;
	uv_thread_t thread;
	bool is_running;
	int listen_fd;
	uv_poll_t listener;
	bool is_paused; /* no descriptors are left: accepting waits for the next tick */
	uv_async_t wake;
	uv_timer_t tick;
	struct link_list strangers, open; /* strangers: the oldest first */
	unsigned stranger_count /* accepted ones */, link_count;
	struct refusals refusals;
	unsigned checked_number; /* tls_refresh's, when the open links were last checked */
	char scratch[FRONT_BUFFER];

	pthread_mutex_t lock; /* of what follows */
	struct front_node nodes[CONFIG_NODES_MAX];
	unsigned node_count, nodes_number, nodes_checked;
	struct dial_list dials;
	bool is_stopping;
};

/* A link for an accepted or a connected descriptor, or one that has to be connected (fd -1). peer: its address. Takes fds. */
void link_accepted(struct front *f, int fd, const struct sockaddr_storage *peer);
void link_dialled(struct front *f, const struct dial *d);

/* Something can be read, written, or has failed (status < 0). */
void link_event(struct link *l, struct side *s, int status, int events);

void link_close(struct link *l);                   /* without a word */
void link_refuse(struct link *l, const char *why); /* and say it in the log */

/* What the timer looks after: deadlines, and whether open links may stay. */
void link_check_deadlines(struct front *f, int64_t now_ms);
void link_check_peers(struct front *f);

/* --- front_pump.c --- */

/* Start looking after a descriptor; it is closed with the side. False: no memory or no pollable descriptor. */
bool side_open(struct side *s, struct link *l, int fd);
void side_close(struct side *s);

/* Bytes that are there now: > 0, 0 none, -1 the end or an error. */
ssize_t side_read(struct side *s, char *buf, size_t cap);

/* Which events the link waits for in its state. */
void side_watch(struct side *s, int events);

/* Move what can be moved. False: the link is over. */
bool flow_run(struct flow *w);
void flow_hold(struct flow *w, const char *data, size_t len); /* nothing is held yet */
void pump_watch(struct link *l);
bool pump_run(struct link *l, struct side *s, int events);

/* The way in: connects to an abstract socket of this very process. -1: it is not there, or somebody else's. */
int front_connect_inside(const char *name);

/* --- front.c --- */

/* From any thread. *ret_name (FRONT_NAME_CAP): who must answer at the address, "" when it is not listed. False: a removed
 * node's. */
bool front_find_node(struct front *f, const char *address, char *ret_name);
bool front_is_removed(struct front *f, const char *name);
/* Without encryption there is nothing but the address to tell a removed node by. host is numeric. */
bool front_is_removed_host(struct front *f, const char *host);

/* From any thread. False: the front is stopping; else the dial, and the descriptors in it, are taken. */
bool front_ask(struct front *f, const struct dial *d);

#endif
