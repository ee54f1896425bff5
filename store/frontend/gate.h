/* Waiting, bounded, for what a statement needs: leadership of this node, the controller's lease (DESIGN section 4). */
#ifndef STORE_FRONTEND_GATE_H
#define STORE_FRONTEND_GATE_H

#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stdint.h>

struct frontend;
struct session;

enum gate_need {
	GATE_LEADER = 1,     /* this node leads */
	GATE_LEASE = 2,      /* and the lease is valid now */
	GATE_LEASE_SEEN = 4, /* and the lease was valid at some time since this node leads */
	GATE_KNOWN = 8       /* somebody leads */
};

bool gate_is_open(const struct session *s, unsigned needs);

/* cb comes exactly once: at once when the gate is open or waiting is hopeless, else within wait_ms. The lease is nothing that a
 * control session needs. */
void gate_wait(struct session *s, unsigned needs, int64_t wait_ms, void (*cb)(struct session *s, bool is_open));
void gate_leave(struct session *s); /* cb will not come */

/* Leadership or lease has changed. */
void gate_poll(struct frontend *f);

/* Why the gate is shut, as the client is told: 57P03; 57P01 where the session should end. */
void gate_error(const struct session *s, unsigned needs, struct sqlerr *e);

/* The session is better off elsewhere: it could reconnect and be relayed. */
bool gate_should_end(const struct session *s);

#endif
