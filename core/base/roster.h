/* The cluster's nodes as last committed in the store, kept on every node's disk (<state_dir>/roster/nodes.json, mode 0644, no
 * secrets), so that a restarted node knows its peers before it can ask anybody. Written by the control process only; the
 * programs merge it into their configuration at start and when they are told that it has changed. */
#ifndef BASE_ROSTER_H
#define BASE_ROSTER_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <stdint.h>

#define ROSTER_NODES_MAX 16

struct roster_node {
	char name[33];
	char address[48];
	char role[12]; /* "data" or "arbiter" */
	char failure_domain[33];
	char raft_id[24]; /* "" while it has only been invited */
	uint16_t peer_port, raft_port, sql_port;
	bool is_removed; /* was a member: refused from now on */
};

struct roster {
	uint64_t number; /* grows with every change; an older one is never taken */
	char uuid[40];
	unsigned count;
	struct roster_node nodes[ROSTER_NODES_MAX];
};

/* The file's text. Every field is checked. ERR_INVAL names it. */
int roster_parse(const char *json, struct roster *ret, struct err *e) MUST_USE;
char *roster_format(const struct roster *r); /* returned: free() */

/* ERR_NOTFOUND when there is none (an uninitialised node, or one whose nodes are listed in node.yaml only). */
int roster_load(const struct config *c, struct roster *ret, struct err *e) MUST_USE;
int roster_save(const struct config *c, const struct roster *r, struct err *e) MUST_USE; /* atomic, synced */

/* Merge into c->nodes: known names take over address, ports and role, new ones are appended, removed ones keep their place with
 * is_removed set. Places never change while a process runs. This node's own entry keeps the address of node.yaml. ERR_INVAL when
 * it would be more than ROSTER_NODES_MAX. */
int roster_merge(const struct roster *r, struct config *c, struct err *e) MUST_USE;

/* roster_load + roster_merge; no roster is fine. For the start of each program. */
int roster_apply(struct config *c, struct err *e) MUST_USE;

#endif
