/* What holds for a group right now, as bits: the guards of the rule table. Pure: reads the view, changes nothing. */
#ifndef CONTROL_FACTS_H
#define CONTROL_FACTS_H

#include "core/control/state.h"
#include "core/control/sync_plan.h"

/* X(bit, words): the words stand in docs/fsm.md. */
#define FACTS(X)                                                                                                               \
	X(F_PAUSED, "paused")                                                                                                  \
	X(F_ASSIGNED, "primary assigned")                                                                                      \
	X(F_FRESH, "primary's node reports")                                                                                   \
	X(F_UP, "primary is up")                                                                                               \
	X(F_LEASED, "primary holds the lease")                                                                                 \
	X(F_DOWN, "primary's server has ended")                                                                                \
	X(F_STUCK, "primary answers no probe")                                                                                 \
	X(F_UNSERVED, "primary is up but without lease for seconds")                                                           \
	X(F_STREAMED, "a replica hears the primary")                                                                           \
	X(F_CANDIDATE, "a candidate exists")                                                                                   \
	X(F_SYNC, "synchronous group")                                                                                         \
	X(F_SAFE, "every standby that may hold acknowledged commits has stopped receiving")                                    \
	X(F_MISSING, "such a standby cannot be asked")                                                                         \
	X(F_COLLECTED, "every reachable replica has stopped receiving")                                                        \
	X(F_FENCED, "old primary is stopped and gave up its lease")                                                            \
	X(F_RESTART_FIRST, "policy: restart first")                                                                            \
	X(F_FAILOVER_ASKED, "operator asks for a failover")                                                                    \
	X(F_SWITCHOVER_ASKED, "operator asks for a switchover")                                                                \
	X(F_FORCED, "operator accepts loss")                                                                                   \
	X(F_TARGET_READY, "target can take over")                                                                              \
	X(F_TARGET_HAS_ALL, "target has everything")                                                                           \
	X(F_CHECKPOINTED, "checkpoint done")                                                                                   \
	X(F_STOPPED_CLEAN, "old primary stopped cleanly")                                                                      \
	X(F_FAILED, "the server cannot be brought up")                                                                         \
	X(F_LATE, "state lasts too long")                                                                                      \
	X(F_SYNC_MOVES, "synchronous set must be committed")                                                                   \
	X(F_UNPROTECTED, "no synchronous standby")                                                                             \
	X(F_PAUSE_ASKED, "operator asks for a pause")                                                                          \
	X(F_RESUME_ASKED, "operator asks to resume")

enum fact_index {
#define X(bit, words) bit##_INDEX,
	FACTS(X)
#undef X
	        FACT_COUNT
};

typedef uint64_t fact_set;
#define X(bit, words) static const fact_set bit = (fact_set)1 << bit##_INDEX;
FACTS(X)
#undef X

const char *fact_words(enum fact_index i);

fact_set facts_of(const struct ctl *c, const struct group *g);

/* The step of the synchronous set that is due; F_SYNC_MOVES when it is a commit. */
struct sync_step facts_sync_step(const struct ctl *c, const struct group *g);

/* How long a state may last before F_LATE, ms. */
int64_t facts_state_limit(enum group_state s);

/* The switchover's target: the one asked for, or the best candidate. */
int facts_target(const struct ctl *c, const struct group *g);

#endif
