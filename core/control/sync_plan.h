/* How the set of synchronous standbys changes without a moment in which an automatic failover could lose an acknowledged
 * commit.
 *
 * S is the set committed in the store (who may be promoted), T the set the server waits for (ANY 1 of T), D the set it should
 * become. A commit that was acknowledged under T is on some member of T; so S is right as long as T is a subset of S and ALL of
 * S are asked before one is promoted. Hence: grow:             commit S = S + new first, then tell the server; shrink: tell the
 * server first; when it surely obeys and one member of T has everything, commit the smaller S; to nothing:       commit S = {}
 * first (nobody is promotable by itself any more), then tell the server to stop waiting; from nothing:     tell the server;
 * when one member of T has everything written before it obeyed, commit S = T. */
#ifndef CONTROL_SYNC_PLAN_H
#define CONTROL_SYNC_PLAN_H

#include "core/control/names.h"

#include <stdbool.h>

struct sync_input {
	node_set committed; /* S */
	node_set told;      /* T: as the server reports it in force */
	node_set desired;   /* D */
	bool is_settled;    /* T has been in force long enough for every part of the server to obey it */
	bool is_caught_up;  /* one member of T has everything that was written before T was in force */
};

struct sync_step {
	bool is_commit; /* commit `set` as S */
	node_set set;
	node_set tell; /* what the server shall be told to wait for now */
};

struct sync_step sync_plan(const struct sync_input *in);

#endif
