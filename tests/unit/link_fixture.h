/* Hubs for tests: a node with its configuration and what its handlers were told. */
#ifndef TESTS_LINK_FIXTURE_H
#define TESTS_LINK_FIXTURE_H

#include "core/run/link.h"

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#define FIXTURE_NODES     4
#define FIXTURE_LIMIT_MS  20000
#define FIXTURE_HTTP_HELD 8

struct fixture_node {
	struct config config;
	struct config_node nodes[FIXTURE_NODES];
	struct link_hub *hub;
	unsigned ups, downs, refusals, frames;
	int64_t up_at_ms, down_at_ms;
	char reason[256]; /* of the last down or refusal */
	char peer[40];    /* of the last event */
	char *frame;      /* last one */
	size_t frame_len;
	bool stop_at_frame;
	const char *refuse_with; /* NULL: every hello is welcome */
	char hello[256];         /* last one seen */
	/* HTTP: requests are held here until the test answers; or answered with an echo at once. */
	bool echo;
	struct http_request *held[FIXTURE_HTTP_HELD];
	unsigned held_count;
};

/* Node `self` of n1, n2, ...: addresses[i] is the address of node i. names: NULL means n1, n2, ... */
void fixture_config(struct fixture_node *n, unsigned self, const char *const *names, const char *const *addresses,
                    unsigned count);
void fixture_start(struct fixture_node *n, uv_loop_t *loop);
void fixture_stop(struct fixture_node *n);
void fixture_done(struct fixture_node *n);

uint16_t fixture_port(void); /* one of this process' own */

/* The OS user of the clients below; 0: as the test. */
extern uid_t fixture_client_uid;

/* Turn the loop until done(arg); false when the limit has passed. */
bool fixture_run(uv_loop_t *loop, bool (*done)(void *arg), void *arg);
/* Turn it for so long, whatever happens. */
void fixture_run_for(uv_loop_t *loop, int ms);

/* In a process of its own: connect to address (a path: a unix socket), write the bytes, read until the server closes (or 5 s
 * pass); the loop turns meanwhile. Returned: free. */
char *fixture_exchange(uv_loop_t *loop, const char *address, const void *bytes, size_t len);
/* The same without waiting: *ret_fd is where the answer will come from. Returns the pid. */
pid_t fixture_exchange_start(const char *address, const void *bytes, size_t len, int *ret_fd);

#endif
