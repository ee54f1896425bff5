/* The network side of the dqlite node. dqlite itself listens on an abstract unix socket that only this process may use; the
 * front listens on the advertised TCP address and pumps bytes between the two, in a thread of its own. It also dials the other
 * nodes. */
#ifndef STORE_FRONT_H
#define STORE_FRONT_H

#include "core/base/err.h"

struct front;

/* Bind and listen on `address` ("10.0.0.1:7401"); connections queue in the kernel until front_run. target ("@name") is copied.
 * ERR_IO names the address and why. *ret is returned: front_close. */
int front_open(const char *address, const char *target, unsigned user_timeout_ms, struct front **ret, struct err *e) MUST_USE;

/* Start the thread. */
int front_run(struct front *f, struct err *e) MUST_USE;

void front_close(struct front *f); /* blocking: closes every connection, ends the thread, frees; NULL is fine */

/* How this node reaches others. */
struct front_dialer {
	unsigned deadline_ms; /* must stay below the election timeout: dialling blocks a thread that raft's disk work shares */
	unsigned user_timeout_ms;
};

/* dqlite's connect function; arg is a struct front_dialer. Blocks for deadline_ms at most. */
int front_dial(void *arg, const char *address, int *ret_fd);

#endif
