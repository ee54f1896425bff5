/* From the first byte to ReadyForQuery: encryption requests, the startup packet, who it is, here or relayed. */
#ifndef STORE_FRONTEND_STARTUP_H
#define STORE_FRONTEND_STARTUP_H

#include "store/frontend/messages.h"

struct session;

/* A message before the session is ready. raw[size] is the whole packet. */
void startup_handle(struct session *s, struct msg_in *m, const char *raw, size_t size);

#endif
