/* A session on a node that does not lead, pumped to the leader over the raft port's connections (store/front.h). */
#ifndef STORE_FRONTEND_RELAY_H
#define STORE_FRONTEND_RELAY_H

#include <stddef.h>

struct session;
struct relay;

/* Connect to the leader and hand it the session's startup packet as it came; from then on bytes go through. The session fails
 * with 57P03 / 57P01. */
void relay_start(struct session *s);

void relay_from_client(struct session *s); /* bytes wait in s->in */
void relay_client_written(struct session *s);
void relay_leader_changed(struct session *s);
void relay_close(struct session *s);

#endif
