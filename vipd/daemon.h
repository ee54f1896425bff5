/* mha-vipd as a whole: joins leases, firewall, addresses, announcements, conflicts and the control socket. */
#ifndef VIPD_DAEMON_H
#define VIPD_DAEMON_H

#include "core/base/err.h"

#include <netinet/in.h>

struct daemon_options {
	const char *socket_path;
	const char *allow_path;
	const char *table; /* name of the firewall's tables */
	/* The cluster's other hosts as they were last known here; those inside a peer-net of the file are peers from the start.
	 */
	const struct in_addr *peers;
	unsigned peer_count;
};

/* Load the fence, close and clean everything, listen, enter the sandbox. Everything in *o is borrowed. */
int daemon_start(const struct daemon_options *o, struct err *e) MUST_USE;

/* Until SIGTERM or SIGINT (then everything that is held is released; the fence stays), or until the fence is lost (ERR_IO). */
int daemon_run(struct err *e) MUST_USE;

void daemon_stop(void);

#endif
