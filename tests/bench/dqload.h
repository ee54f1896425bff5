/* Load over dqlite's own protocol, blocking, and the few requests that make a cluster of bare nodes. */
#ifndef BENCH_DQLOAD_H
#define BENCH_DQLOAD_H

#include "tests/bench/load.h"

/* target: host:port of the leader. */
extern const struct load_driver dqload_driver;

/* A TCP connection with TCP_NODELAY, blocking. Returns it, or -errno. */
int dqload_dial(const char *address);

/* Who leads, as the node at `address` knows it: 0 and "" for nobody. ret_address has room for 64 bytes. */
int dqload_leader(const char *address, uint64_t *ret_id, char *ret_address, struct err *e) MUST_USE;

/* Ask the leader at `leader` to take in a node, as a voter. */
int dqload_add(const char *leader, uint64_t id, const char *address, struct err *e) MUST_USE;

#endif
