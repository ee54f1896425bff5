/* The network side of the dqlite node: the raft port, and the way to the other nodes' raft ports. dqlite itself listens on an
 * abstract unix socket that only this process may use; the front listens on the advertised TCP address and pumps bytes between
 * the two, in a thread of its own. With TLS both sides show a certificate of the cluster (core/base/tls.h) before a byte
 * passes.
 *
 * The first 8 bytes of a connection say what it carries: FRONT_SQL a session that another node relays to the SQL front end,
 * anything else raft. */
#ifndef STORE_FRONT_H
#define STORE_FRONT_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "core/base/tls.h"

#define FRONT_SQL "MHASQL1\n"

struct front;

struct front_params {
	const char *address;    /* to listen on: "10.0.0.1:7401" */
	const char *raft, *sql; /* "@name": the abstract sockets of dqlite and of the SQL front end, both of this process */
	struct tls *tls;        /* borrowed; NULL: plaintext, everybody is let in */
	unsigned user_timeout_ms;
	unsigned dial_ms; /* must stay below the election timeout: dialling blocks a thread that raft's disk work shares */
};

/* Bind and listen; connections queue in the kernel until front_run. ERR_IO names the address and why. *ret is returned:
 * front_stop, front_free. */
int front_open(const struct front_params *p, struct front **ret, struct err *e) MUST_USE;

/* Start the thread. */
int front_run(struct front *f, struct err *e) MUST_USE;

/* Blocking: closes every connection and ends the thread. From then on dialling fails. NULL is fine. */
void front_stop(struct front *f);

/* After front_stop, and after the last thread that may dial has ended. NULL is fine. */
void front_free(struct front *f);

/* Who must answer at which address, and who was removed from the cluster: copied, taken over within a second, also by the
 * connections that are open. From any thread. An address that is not listed may be dialled, but a node of this cluster must
 * answer there. */
void front_set_nodes(struct front *f, const struct config *c);

/* dqlite's connect function; front is a struct front. From any thread; blocks for dial_ms at most. errno values. */
int front_dial(void *front, const char *address, int *ret_fd);

/* Without blocking: a unix socket whose other end leads to `address`, or to nowhere: then it is closed in some seconds. preface
 * is sent first: FRONT_SQL or "". From any thread. errno values. */
int front_connect(struct front *f, const char *address, const char *preface, int *ret_fd) MUST_USE;

#endif
