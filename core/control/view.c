/* What the controller sees: who was heard when, what each instance reported last. */
#include "core/control/state.h"

#include <stdio.h>
#include <string.h>

bool view_is_online(const struct ctl *c, int node)
{
	const struct view_node *n;

	if (node < 0)
		return false;
	n = &c->nodes[node];
	return n->is_heard && !n->is_stopping && c->now_ms - n->heard_ms <= c->profile->silence_ms;
}

bool view_is_fresh(const struct ctl *c, const struct group *g, int node)
{
	return node >= 0 && c->now_ms - g->inst[node].seen_ms <= c->profile->silence_ms;
}

const char *view_node_name(const struct ctl *c, int node)
{
	return node < 0 || node >= c->node_count ? "nobody" : c->nodes[node].id.name;
}

char *view_set_names(const struct ctl *c, node_set s, char *buf, size_t size)
{
	size_t len = 0;
	int node;

	snprintf(buf, size, "nobody");
	for (node = 0; node < c->node_count && len < size; node++)
		if ((s & node_bit(node)) != 0)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len > 0 ? "," : "", c->nodes[node].id.name);
	return buf;
}

static struct group *find_group(struct ctl *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->group_count; i++)
		if (strcmp(c->groups[i].rec.name, name) == 0)
			return &c->groups[i];
	return NULL;
}

static void note_streaming(struct group *g, const struct instance_report *r, int64_t now_ms)
{
	int i;

	for (i = 0; i < r->standby_count; i++)
		if (r->standbys[i].is_streaming && r->standbys[i].node >= 0 && r->standbys[i].node < MAX_NODES)
			g->inst[r->standbys[i].node].streamed_ms = now_ms;
}

static void take_report(struct ctl *c, int node, const struct instance_report *r)
{
	struct group *g = find_group(c, r->group);

	if (g == NULL)
		return;
	g->inst[node].is_known = true;
	g->inst[node].seen_ms = c->now_ms;
	g->inst[node].r = *r;
	if (r->is_leased || r->promoted_epoch != g->rec.epoch)
		g->inst[node].leased_ms = c->now_ms;
	if (node == g->rec.primary)
		note_streaming(g, r, c->now_ms);
}

/* The primary has not taken the order yet that makes its synchronous set certain (fsm.c, has_obeyed). */
static bool waits_for_sync(const struct ctl *c, const struct group *g, int node)
{
	const struct instance_report *r = &g->inst[node].r;

	return g->rec.is_sync && node == g->rec.primary && (r->generation != c->generation || r->answers <= g->sync_beat);
}

/* An order answers a heartbeat; it is repeated only when it says something that the node has not taken yet, or once a second.
 */
static void mark_due(struct ctl *c, int node)
{
	size_t i;

	for (i = 0; i < c->group_count; i++) {
		struct group *g = &c->groups[i];

		if ((g->rec.instances & node_bit(node)) == 0)
			continue;
		if (g->inst[node].r.step != g->rec.step || waits_for_sync(c, g, node) ||
		    c->now_ms - g->ordered_ms[node] >= ORDER_REPEAT_MS)
			g->due |= node_bit(node);
	}
}

void view_heartbeat(struct ctl *c, const struct heartbeat *hb)
{
	struct view_node *n;
	size_t i;

	if (hb->node < 0 || hb->node >= c->node_count)
		return;
	n = &c->nodes[hb->node];
	n->is_heard = true;
	n->heard_ms = c->now_ms;
	n->heartbeat = hb->number;
	n->incarnation = hb->incarnation;
	n->is_stopping = hb->is_stopping;
	for (i = 0; i < hb->report_count; i++)
		take_report(c, hb->node, &hb->reports[i]);
	mark_due(c, hb->node);
}
