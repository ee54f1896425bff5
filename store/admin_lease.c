/* The controller's lease, as the control session last told it. */
#include "store/admin_internal.h"

#include "core/base/clock.h"

int64_t admin_control_ms(const struct admin *a)
{
	return a->control_ms;
}

bool admin_lease_is_valid(const struct admin *a)
{
	return a->lease_deadline_ns > clock_now_ns();
}

/* Both at this very instant: leader, by what the own node last said, and lease valid. */
bool admin_lease_seen_since_leader(struct admin *a)
{
	const struct node_leader *l = node_leader(a->node);

	if (!l->is_self)
		return false;
	if (a->lease_seen_change != l->change_count && admin_lease_is_valid(a))
		a->lease_seen_change = l->change_count;
	return a->lease_seen_change == l->change_count;
}

void admin_set_lease(struct admin *a, uint64_t generation, int64_t deadline_ns)
{
	a->control_ms = clock_now_ms();
	if (generation < a->lease_generation)
		return;
	a->lease_generation = generation;
	a->lease_deadline_ns = deadline_ns;
	(void)admin_lease_seen_since_leader(a);
	if (a->on_lease != NULL)
		a->on_lease(a->on_lease_arg);
}

void admin_on_lease(struct admin *a, void (*cb)(void *arg), void *arg)
{
	a->on_lease = cb;
	a->on_lease_arg = arg;
}
