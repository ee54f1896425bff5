/* What mha-vipd may do: it needs two capabilities to start, and after everything is open it gives up all else. */
#ifndef VIPD_SANDBOX_H
#define VIPD_SANDBOX_H

#include "core/base/err.h"

/* ERR_REFUSED when CAP_NET_ADMIN or CAP_NET_RAW is missing; says how to get them. */
int sandbox_check_capabilities(struct err *e) MUST_USE;

/* No new privileges; every capability but those two is gone for good; only the system calls of the event loop are left, any
 * other one kills the process (it has been taken over, or is broken). No socket, file or program can be opened afterwards. */
int sandbox_enter(struct err *e) MUST_USE;

/* What sandbox_enter has put in force, for the log. */
const char *sandbox_describe(void);

#endif
