/* A session on a node that does not lead, pumped to the leader's SQL port. */
#ifndef STORE_FRONTEND_RELAY_H
#define STORE_FRONTEND_RELAY_H

#include <stddef.h>

struct session;
struct relay;

/* A parameter of the startup packet that marks a relayed session: it is not relayed again, so no chain can close on itself. */
#define RELAY_MARK "mha_relayed"

/* Connect to the leader and hand it the session's startup packet; from then on bytes go through. The session fails with 57P03 /
 * 57P01. */
void relay_start(struct session *s);

void relay_from_client(struct session *s); /* bytes wait in s->in */
void relay_client_written(struct session *s);
void relay_leader_changed(struct session *s);
void relay_close(struct session *s);

#endif
