#include "store/frontend/gate.h"

#include "core/base/clock.h"
#include "store/frontend/session.h"

#include <assert.h>

bool gate_is_open(const struct session *s, unsigned needs)
{
	const struct frontend *f = s->f;
	const struct node_leader *l = node_leader(f->node);

	/* Without a store there is nobody to lead it, whatever was heard: a session must not be sent in circles. */
	if ((needs & (GATE_KNOWN | GATE_LEADER)) != 0 && node_cluster_uuid(f->node)[0] == '\0')
		return false;
	if ((needs & GATE_KNOWN) != 0 && l->id == 0)
		return false;
	if ((needs & GATE_LEADER) != 0 && !l->is_self)
		return false;
	if (s->is_control)
		return true;
	if ((needs & GATE_LEASE) != 0 && !admin_lease_is_valid(f->admin))
		return false;
	return (needs & GATE_LEASE_SEEN) == 0 || admin_lease_seen_since_leader(f->admin);
}

/* No waiting when the answer cannot change soon: another node leads, or there is no store yet. The control process never waits:
 * it has better things to do. */
static bool is_hopeless(const struct session *s, unsigned needs)
{
	const struct node_leader *l = node_leader(s->f->node);

	if ((needs & (GATE_LEADER | GATE_KNOWN)) == 0)
		return false;
	if (s->is_control || node_cluster_uuid(s->f->node)[0] == '\0')
		return true;
	return (needs & GATE_LEADER) != 0 && l->id != 0 && !l->is_self;
}

static void finish(struct session *s, bool is_open)
{
	gate_leave(s);
	s->gate_cb(s, is_open);
}

static void timeout_cb(struct session *s)
{
	finish(s, false);
}

void gate_wait(struct session *s, unsigned needs, int64_t wait_ms, void (*cb)(struct session *s, bool is_open))
{
	bool is_open = gate_is_open(s, needs);

	assert(!s->is_at_gate);
	if (is_open || wait_ms <= 0 || is_hopeless(s, needs)) {
		cb(s, is_open);
		return;
	}
	s->gate_needs = needs;
	s->gate_cb = cb;
	s->is_at_gate = true;
	TAILQ_INSERT_TAIL(&s->f->waiting, s, gate_link);
	session_timer_start(s, wait_ms, timeout_cb);
}

void gate_leave(struct session *s)
{
	if (!s->is_at_gate)
		return;
	s->is_at_gate = false;
	TAILQ_REMOVE(&s->f->waiting, s, gate_link);
	session_timer_stop(s);
}

void gate_poll(struct frontend *f)
{
	struct session *s, *next;

	/* A callback takes only its own session out; what it puts in again stands at the end and was looked at then. */
	for (s = TAILQ_FIRST(&f->waiting); s != NULL; s = next) {
		next = TAILQ_NEXT(s, gate_link);
		if (gate_is_open(s, s->gate_needs))
			finish(s, true);
		else if (is_hopeless(s, s->gate_needs))
			finish(s, false);
	}
}

void gate_error(const struct session *s, unsigned needs, struct sqlerr *e)
{
	const struct node_leader *l = node_leader(s->f->node);

	if (node_cluster_uuid(s->f->node)[0] == '\0')
		sqlerr_set(e, "57P03",
		           "the store is not initialised: run `mha-shell cluster init` or wait until this node is added");
	else if ((needs & (GATE_LEADER | GATE_KNOWN)) != 0 && l->id == 0)
		sqlerr_set(e, "57P03", "no leader of the store is known: a majority of the voters may be down");
	else if ((needs & GATE_LEADER) != 0 && !l->is_self)
		sqlerr_set(e, gate_should_end(s) && s->phase == SESSION_READY ? "57P01" : "57P03",
		           "node is not the leader; the leader is %s", l->address);
	else
		sqlerr_set(e, "57P03",
		           "this node leads the store, but its controller holds no lease: nothing can be read or acknowledged "
		           "safely");
}

bool gate_should_end(const struct session *s)
{
	return !s->is_admin && !node_leader(s->f->node)->is_self;
}
