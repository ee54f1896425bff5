/* Who this node is: <state_dir>/store/node.json. The random id is drawn once and never used for other data: a voter that forgot
 * its vote and its log must not come back under its old id. */
#ifndef STORE_NODE_IDENTITY_H
#define STORE_NODE_IDENTITY_H

#include "core/base/err.h"

#include <stdint.h>

/* FRESH: knows no cluster. INITIALISING: on its way to a cluster of one; nothing was acknowledged yet. JOINING: waits to be
 * added, no data yet. MEMBER: has data, for ever. */
enum identity_state { IDENTITY_FRESH, IDENTITY_INITIALISING, IDENTITY_JOINING, IDENTITY_MEMBER };

struct identity {
	char name[33], cluster[33];
	char cluster_uuid[37]; /* "" while fresh */
	char profile[16];      /* "" while fresh */
	char address[64];      /* of the raft port, as the cluster knows it */
	uint64_t id;           /* 2 to INT64_MAX, so that it fits an SQL INTEGER */
	enum identity_state state;
};

/* A fresh one with a random id. */
int identity_create(const char *name, const char *address, struct identity *ret, struct err *e) MUST_USE;

/* ERR_NOTFOUND: no such file. ERR_INVAL names what is wrong in it. */
int identity_load(const char *path, struct identity *ret, struct err *e) MUST_USE;

/* Whole or not at all, also across a power cut: written beside, fsynced, renamed, the directory fsynced. */
int identity_save(const char *path, const struct identity *id, struct err *e) MUST_USE;

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", lower-case hexadecimal. */
int identity_check_uuid(const char *uuid, struct err *e) MUST_USE;

/* dqlite's network latency setting of a profile (fast, default, relaxed); the election timeout is 15 times that. */
int identity_latency_ms(const char *profile, unsigned *ret, struct err *e) MUST_USE;

#endif
