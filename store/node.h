/* The dqlite node of this process: identity on disk, start, leadership. The rest of mha-stored reaches it through dq.h only. */
#ifndef STORE_NODE_H
#define STORE_NODE_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct node;

/* <state_dir>/store/node.json: {"name","id" (decimal text),"cluster_uuid" ("" until init or the first
 * contact),"profile","bootstrap"}. Created with a random id when missing. Errors, each naming the file and the way out:
 * identity present but its data gone (an old member on an empty directory), data present but identity gone, another node name
 * or cluster name, directory in use, disk full. */
int node_start(uv_loop_t *loop, const struct config *c, struct node **ret, struct err *e) MUST_USE;
void node_stop(struct node *n); /* blocking; frees (its libuv handles close in the next turns of the loop); NULL is fine */

/* Has this node been initialised or joined? A fresh node has not: no dqlite runs, node_local_address() answers nobody, no
 * leader is known. */
bool node_is_member(const struct node *n);

/* The configuration's nodes have changed (core/base/roster.h): who may connect and who must answer where. */
void node_nodes_changed(struct node *n);

/* A unix socket that leads to another node's raft port (store/front.h: front_connect). ERR_UNREACHABLE. */
int node_connect(struct node *n, const char *address, const char *preface, int *ret_fd, struct err *e) MUST_USE;

/* The one-time acts on a fresh node; each writes node.json and starts dqlite in this process (some ms, blocking: nobody is
 * served yet). node_init makes it the only voter of a new cluster. node_join makes it ready to be added by a leader; repeating
 * it with the same uuid is fine. Errors: ERR_REFUSED (member already, other uuid, other cluster), ERR_INVAL (uuid or profile),
 * ERR_IO. */
int node_init(struct node *n, const char *cluster, const char *uuid, const char *profile, struct err *e) MUST_USE;
int node_join(struct node *n, const char *uuid, const char *profile, struct err *e) MUST_USE;

/* node_init in three steps, for a restore between the first and the last: begin leaves a store of one voter in ret_dir
 * (PATH_MAX bytes), where node_dqlite_start_private may run it; end takes it over, or with is_ok false makes the node fresh
 * again. */
int node_init_begin(struct node *n, const char *cluster, const char *uuid, const char *profile, char *ret_dir,
                    struct err *e) MUST_USE;
int node_init_end(struct node *n, bool is_ok, struct err *e) MUST_USE;

uint64_t node_id(const struct node *n);
const char *node_raft_address(const struct node *n);  /* "10.77.0.11:7401", as the cluster knows it */
const char *node_local_address(const struct node *n); /* for dq_new() */
const char *node_sql_address(const struct node *n);   /* "@name": where relayed sessions arrive from the own front */
const char *node_cluster_uuid(const struct node *n);  /* "" before init */
const char *node_profile(const struct node *n);       /* "" before init */
const char *node_name(const struct node *n);

/* Leadership, from polling LEADER every 50 ms (a node that is no voter hears of it from the others): id 0 when unknown.
 * on_change is called on the loop after every change, with a stable order. */
struct node_leader {
	uint64_t id;
	char address[64];
	bool is_self;
	uint64_t change_count; /* counts changes: tells "left and came back" apart */
};
const struct node_leader *node_leader(const struct node *n);
void node_on_leader_change(struct node *n, void (*cb)(void *arg, const struct node_leader *l), void *arg);
void node_forget_leader_change(struct node *n, const void *arg); /* every listener with this arg */

#endif
