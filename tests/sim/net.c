#include "tests/sim/world.h"

#include "core/base/str.h"

struct msg *msg_new(struct world *w, enum msg_type type)
{
	struct msg *m = w->free_msgs;

	/* A healthy run never needs a tenth of them: somebody talks without end, or the simulator leaks. */
	if (++w->msg_count > SIM_MSGS - 256)
		violate(w, "a storm: %d messages are on their way at once", w->msg_count);
	w->free_msgs = m->next;
	m->refs = 1;
	m->type = type;
	return m;
}

void msg_drop(struct world *w, struct msg *m)
{
	if (--m->refs > 0)
		return;
	m->next = w->free_msgs;
	w->free_msgs = m;
	w->msg_count--;
}

void msg_reset(struct world *w)
{
	if (w->msgs == NULL)
		w->msgs = mem_alloc(SIM_MSGS * sizeof *w->msgs);
	w->free_msgs = NULL;
	w->msg_count = 0;
	for (int i = SIM_MSGS - 1; i >= 0; i--) {
		w->msgs[i].next = w->free_msgs;
		w->free_msgs = &w->msgs[i];
	}
}

bool net_is_cut(const struct world *w, int from, int to)
{
	return from != to && (w->cut[from][to] > 0 || !w->hosts[from].is_up || !w->hosts[to].is_up);
}

/* One stream per pair: nothing overtakes; what meets a cut is lost with the connection, and now and then something hangs for
 * long. Takes m's reference. */
void net_send(struct world *w, int from, int to, struct msg *m, int64_t stall_us)
{
	int64_t delay = rng_range(&w->rng, 100, 1500), at;

	if (net_is_cut(w, from, to) || (from != to && !w->is_calm && rng_one_in(&w->rng, 300))) {
		msg_drop(w, m);
		return;
	}
	if (!w->is_calm && rng_one_in(&w->rng, 100))
		delay = rng_long_tail(&w->rng, 2 * MS, 1500 * MS);
	at = w->q.now_us + stall_us + (from == to ? 0 : delay);
	if (at < w->arrival[from][to])
		at = w->arrival[from][to];
	w->arrival[from][to] = at;
	sim_post(&w->q, at,
	         (struct sim_event){.fn = control_message, .a = to, .b = from, .u = w->hosts[to].control.run, .p = m});
}
