#include "core/control/rank.h"

#include <stdio.h>

const char *rank_reject_text(enum rank_reject r)
{
	static const char *const texts[] = {
	        [RANK_OK] = "eligible",
	        [RANK_NO_INSTANCE] = "has no instance of the group",
	        [RANK_IS_PRIMARY] = "is the primary",
	        [RANK_MAINTENANCE] = "is in maintenance",
	        [RANK_UNREACHABLE] = "is not reachable",
	        [RANK_NOT_RUNNING] = "its server is not running",
	        [RANK_NOT_REPLICA] = "its server is not a replica",
	        [RANK_NO_POSITION] = "its position is not known",
	        [RANK_NOT_SYNC] = "is not in the synchronous set, it may lack acknowledged commits",
	        [RANK_NO_SYNC_SET] = "nobody is known to hold every acknowledged commit",
	        [RANK_OLD_TIMELINE] = "is on an older timeline",
	};

	return texts[r];
}

int rank_compare_position(const struct instance_report *a, const struct instance_report *b)
{
	if (a->timeline != b->timeline)
		return a->timeline < b->timeline ? -1 : 1;
	if (a->position != b->position)
		return a->position < b->position ? -1 : 1;
	return 0;
}

static enum rank_reject check_server(const struct ctl *c, const struct group *g, int node)
{
	const struct instance_report *r = &g->inst[node].r;

	if (!view_is_fresh(c, g, node) || !view_is_online(c, node) || !g->inst[node].is_known)
		return RANK_UNREACHABLE;
	if (r->process != PROC_RUNNING)
		return RANK_NOT_RUNNING;
	if (r->role != ROLE_REPLICA)
		return RANK_NOT_REPLICA;
	if (r->position == 0)
		return RANK_NO_POSITION;
	return RANK_OK;
}

enum rank_reject rank_check(const struct ctl *c, const struct group *g, int node, bool is_forced)
{
	if ((g->rec.instances & node_bit(node)) == 0)
		return RANK_NO_INSTANCE;
	if (node == g->rec.primary)
		return RANK_IS_PRIMARY;
	if (c->nodes[node].id.is_maintenance)
		return RANK_MAINTENANCE;
	/* Promise 2: only a member of the committed set can hold every acknowledged commit. */
	if (g->rec.is_sync && !is_forced && g->rec.sync_set == 0)
		return RANK_NO_SYNC_SET;
	if (g->rec.is_sync && !is_forced && (g->rec.sync_set & node_bit(node)) == 0)
		return RANK_NOT_SYNC;
	return check_server(c, g, node);
}

int rank_best(const struct ctl *c, const struct group *g, bool is_forced)
{
	int best = NODE_NONE, node;

	for (node = 0; node < c->node_count; node++) {
		int order;

		if (rank_check(c, g, node, is_forced) != RANK_OK)
			continue;
		if (best == NODE_NONE) {
			best = node;
			continue;
		}
		order = rank_compare_position(&g->inst[node].r, &g->inst[best].r);
		if (order > 0 || (order == 0 && node == c->self))
			best = node;
	}
	return best;
}

char *rank_explain(const struct ctl *c, const struct group *g, bool is_forced, char *buf, size_t size)
{
	size_t len = 0;
	int node;

	buf[0] = '\0';
	if (g->rec.is_sync && !is_forced && g->rec.sync_set == 0) {
		snprintf(buf, size, "%s", rank_reject_text(RANK_NO_SYNC_SET));
		return buf;
	}
	for (node = 0; node < c->node_count && len < size; node++) {
		enum rank_reject why = rank_check(c, g, node, is_forced);

		if (why == RANK_NO_INSTANCE || why == RANK_IS_PRIMARY || why == RANK_OK)
			continue;
		len += (size_t)snprintf(buf + len, size - len, "%s%s %s", len > 0 ? "; " : "", view_node_name(c, node),
		                        rank_reject_text(why));
	}
	if (len == 0)
		snprintf(buf, size, "there is no other instance");
	return buf;
}
