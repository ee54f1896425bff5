/* dqlite's C API and nothing else: start, stop, bootstrap. Every call blocks (disk), none takes long. */
#ifndef STORE_NODE_DQLITE_H
#define STORE_NODE_DQLITE_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "core/base/tls.h"

#include <stdint.h>

#define DQLITE_LOCAL_CAP 32 /* "@dqlite-<16 hex digits>" and its NUL */

struct node_dqlite_params {
	uint64_t id;
	const char *address; /* of the raft port: what other nodes dial */
	const char *dir;     /* exists */
	unsigned latency_ms;
	struct tls *tls;             /* borrowed; NULL: plaintext */
	const char *sql;             /* "@name": where relayed sessions are served (front.h) */
	const struct config *config; /* borrowed: the nodes; front_set_nodes when they change */
};

struct node_dqlite;
struct front;

/* The abstract unix name on which this process reaches its node; buf holds DQLITE_LOCAL_CAP. Returns buf. */
char *node_dqlite_local_address(uint64_t id, char *buf);

/* Write a cluster of one voter, this node, into the empty directory. dqlite does so by itself for two well-known ids only,
 * which is a trap (a wiped node makes a second cluster); a random id must be told, once. */
int node_dqlite_bootstrap(const struct node_dqlite_params *p, struct err *e) MUST_USE;

/* Of a stopped node: how far its log goes. */
int node_dqlite_last_entry(const struct node_dqlite_params *p, uint64_t *ret_index, uint64_t *ret_term, struct err *e) MUST_USE;

/* Make the stopped store in p->dir a cluster of one voter, p->id. An unsafe override: see store/recover.h. */
int node_dqlite_take_over(const struct node_dqlite_params *p, struct err *e) MUST_USE;

/* Front and node. *ret is returned: node_dqlite_stop. */
int node_dqlite_start(const struct node_dqlite_params *p, struct node_dqlite **ret, struct err *e) MUST_USE;

/* The node alone, without a port: a cluster of one that only this process reaches. */
int node_dqlite_start_private(const struct node_dqlite_params *p, struct node_dqlite **ret, struct err *e) MUST_USE;
void node_dqlite_stop(struct node_dqlite *d); /* NULL is fine */

struct front *node_dqlite_front(struct node_dqlite *d); /* borrowed */

#endif
