/* The rule table: every decision the controller can take about a group, in one place. docs/fsm.md is generated from it. */
#ifndef CONTROL_RULES_H
#define CONTROL_RULES_H

#include "core/base/str.h"
#include "core/control/facts.h"

enum rule_action {
	DO_STAY,           /* say the reason; nothing else */
	DO_SYNC_SET,       /* commit the next synchronous set */
	DO_CREATE,         /* first epoch for the assigned primary */
	DO_RESTART,        /* bring the primary up again, same epoch */
	DO_FENCE,          /* begin (or begin again) a failover: old primary stops, replicas detach */
	DO_PROMOTE_BEST,   /* new epoch for the best candidate */
	DO_CHECKPOINT,     /* begin a switchover */
	DO_STOP_OLD,       /* switchover: stop writes */
	DO_PROMOTE_TARGET, /* new epoch for the target */
	DO_FINISH,         /* the operation has succeeded */
	DO_ABANDON,        /* the operation has failed, the old primary goes on */
	DO_REFUSE,         /* answer the operator's command with the reason */
	DO_PAUSE,
	DO_RESUME,
	RULE_ACTION_COUNT
};
const char *rule_action_words(enum rule_action a);

struct rule {
	int number; /* stable, with gaps; event rows carry it */
	enum group_state state;
	fact_set need; /* all of these hold (0: don't care) */
	fact_set bar;  /* none of these holds */
	enum group_state next;
	enum rule_action action;
	int severity;       /* of the event row: 0 info, 1 warning, 2 critical */
	const char *reason; /* {primary} {target} {unfit} {best} {why} {waiting} {set} {error} are filled in; "" for the healthy
	                       state */
};

extern const struct rule rules[];
extern const size_t rule_count;

/* The first rule of the state whose guards hold; never NULL (each state ends in a row without guards). */
const struct rule *rules_find(enum group_state state, fact_set facts);

/* Check the table: numbers grow, no row is shadowed by an earlier one of its state, each state ends in a row without guards.
 * ERR_INVAL names the rule. */
int rules_check(struct err *e) MUST_USE;

/* docs/fsm.md as text, appended to out. */
void rules_document(struct buf *out);

#endif
