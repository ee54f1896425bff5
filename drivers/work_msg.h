/* What the guard and its two workers say to each other over a socketpair: one struct work_msg per SOCK_SEQPACKET packet.
 * The prober answers probes, the other worker runs verbs; both are the same program and can be killed at any moment. */
#ifndef DRIVERS_WORK_MSG_H
#define DRIVERS_WORK_MSG_H

#include "core/base/dbd_msg.h"

#include <stdint.h>

#define WORK_ARGV_SIZE 2048
#define WORK_FD        3 /* the worker's end of the socketpair */

enum work_type {
	WORK_PROBE = 1, /* guard: look at the server; answered by WORK_PROBED within 1 s */
	WORK_PROBED,
	WORK_VERB, /* guard: run order; answered by WORK_DONE within the verb's limit */
	WORK_DONE,
	WORK_RUN, /* worker: start the server with argv; answered by WORK_RAN */
	WORK_RAN,
	WORK_EPOCH, /* guard: store this epoch as seen; no answer */
	WORK_PEERS, /* guard, never during a verb: order.peers may replicate from now on; answered by WORK_PEERED */
	WORK_PEERED
};

struct work_msg {
	uint16_t type;
	uint16_t argv_len; /* bytes used of argv */
	uint32_t seq;      /* of the question, repeated in the answer */
	int32_t rc;
	int32_t server_pid;   /* guard's messages: the running server, 0: none */
	uint8_t is_committed; /* DONE of a promote: the server was told to become writable */
	uint8_t pad[7];
	uint64_t seen_epoch;
	uint64_t promoted_epoch;
	uint64_t sync_since;       /* DONE: set by the verb, 0: unchanged */
	struct dbd_msg order;      /* VERB: the order; DONE, PROBED: text and report */
	char argv[WORK_ARGV_SIZE]; /* each argument ends with NUL */
};

#endif
