/* Does the store process of this node still answer? Knocks at its SQL socket every two seconds with the eight bytes that ask a
 * PostgreSQL server whether it speaks TLS: answered by its loop before anybody logs in, whatever the cluster's state.
 * Independent of the control session, whose statements may rightly wait for a quorum. */
#ifndef RUN_STORE_WATCH_H
#define RUN_STORE_WATCH_H

#include "core/base/config.h"

#include <stdint.h>

struct store_watch {
	int fd; /* of a knock that is not answered yet, -1: none */
	int64_t asked_ms, next_ms;
	int peer_pid;
};
#define STORE_WATCH_INIT                                                                                                       \
	{                                                                                                                      \
		.fd = -1                                                                                                       \
	}

/* To be called about every 100 ms; never blocks. Has the store replaced (restart_ask) when a knock stays unanswered for 8 s. A
 * store that does not listen is being started, or is gone; both are the supervisor's business. */
void store_watch_tick(struct store_watch *w, const struct config *c, int64_t now_ms);
void store_watch_done(struct store_watch *w);

#endif
