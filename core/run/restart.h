/* Have a child of this node replaced that does not answer (core/run/restart_msg.h). */
#ifndef RUN_RESTART_H
#define RUN_RESTART_H

#include <sys/types.h>

/* At the start of the control process: take over the descriptor that the parent has left open, if it has. */
void restart_open(void);

/* name as in struct restart_msg. Without a parent to ask the process is killed from here, if it may be. */
void restart_ask(const char *name, pid_t pid, const char *why);

#endif
