#include "core/control/sync_plan.h"

static struct sync_step commit_set(node_set set, node_set tell)
{
	return (struct sync_step){.is_commit = true, .set = set, .tell = tell};
}

static struct sync_step tell_server(node_set tell)
{
	return (struct sync_step){.tell = tell};
}

struct sync_step sync_plan(const struct sync_input *in)
{
	bool is_proven = in->told == in->desired && in->is_settled && in->is_caught_up;

	/* A server that waits for nobody acknowledges what no standby has: whatever S says is no longer true. */
	if (in->told == 0 && in->committed != 0)
		return commit_set(0, in->desired);
	if (in->desired == 0)
		return in->committed != 0 ? commit_set(0, in->told) : tell_server(0);
	if (in->committed == 0)
		return is_proven ? commit_set(in->desired, in->desired) : tell_server(in->desired);
	/* The server may hold an older, larger set than S knows of only after a crash between two steps: take it in first. */
	if ((in->desired & ~in->committed) != 0 || (in->told & ~in->committed) != 0)
		return commit_set(in->committed | in->desired | in->told, in->told);
	if (in->committed != in->desired && is_proven)
		return commit_set(in->desired, in->desired);
	return tell_server(in->desired);
}
