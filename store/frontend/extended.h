/* The extended query protocol: prepared statements and portals. */
#ifndef STORE_FRONTEND_EXTENDED_H
#define STORE_FRONTEND_EXTENDED_H

#include "store/frontend/messages.h"

#include <stdbool.h>

struct session;
struct prepared;
struct portal;

struct extended {
	struct prepared *statements; /* uthash, by name */
	struct portal *portals;
	struct prepared *parsing; /* on its way through the shadow */
	struct portal *running;
	int limit; /* rows that the running Execute may send; 0: all */
};

/* P B D E C; true when the message was one of them. */
bool extended_handle(struct session *s, struct msg_in *m);
void extended_sync(struct session *s);

void extended_forget_portals(struct session *s);               /* at the end of a transaction */
bool extended_deallocate(struct session *s, const char *name); /* NULL: all of them. False: there is none of that name */
void extended_done(struct session *s);

#endif
