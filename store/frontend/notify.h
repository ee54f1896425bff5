/* LISTEN mha_leader: each change of the leader, told as soon as the protocol allows. */
#ifndef STORE_FRONTEND_NOTIFY_H
#define STORE_FRONTEND_NOTIFY_H

struct frontend;
struct session;

#define NOTIFY_LEADER "mha_leader"

/* Put what the session has not been told yet into its out buffer, unless it is in a transaction. */
void notify_deliver(struct session *s);

/* The leader has changed: tell all that listen. */
void notify_leader(struct frontend *f);

#endif
