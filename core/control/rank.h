/* Who may be the next primary, and why the others may not: pure, each rejection names its reason. */
#ifndef CONTROL_RANK_H
#define CONTROL_RANK_H

#include "core/control/state.h"

enum rank_reject {
	RANK_OK,
	RANK_NO_INSTANCE,
	RANK_IS_PRIMARY,
	RANK_MAINTENANCE,
	RANK_UNREACHABLE,
	RANK_NOT_RUNNING,
	RANK_NOT_REPLICA,
	RANK_NO_POSITION,
	RANK_NOT_SYNC,    /* a synchronous group, and it is not in the committed set */
	RANK_NO_SYNC_SET, /* a synchronous group whose committed set is empty: nobody is known to hold every acknowledged commit
	                   */
	RANK_OLD_TIMELINE
};
const char *rank_reject_text(enum rank_reject r);

/* May this node's instance become primary? is_forced: the operator accepts loss, membership of the synchronous set is not
 * asked. */
enum rank_reject rank_check(const struct ctl *c, const struct group *g, int node, bool is_forced);

/* The best candidate or NODE_NONE: most advanced, then this controller's own node, then the lowest index. */
int rank_best(const struct ctl *c, const struct group *g, bool is_forced);

/* "n2: not reachable; n3: server is not running"; buf of size bytes. Returns buf. */
char *rank_explain(const struct ctl *c, const struct group *g, bool is_forced, char *buf, size_t size);

/* Positions order first by timeline, then by offset: <0, 0, >0. */
int rank_compare_position(const struct instance_report *a, const struct instance_report *b);

#endif
