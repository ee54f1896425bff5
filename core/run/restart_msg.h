/* What the control process asks of the parent, over the socketpair that it is started with: one struct restart_msg per
 * SOCK_SEQPACKET packet, no answer. A child that does not answer is killed, because the control process itself may not (another
 * OS user's). The parent checks length, version and name, and kills nothing but a child of its own. */
#ifndef RUN_RESTART_MSG_H
#define RUN_RESTART_MSG_H

#include <stdint.h>

#define RESTART_MSG_VERSION 1
#define RESTART_FD          3    /* the control process' end */
#define RESTART_EVERY_MS    3000 /* a child that was started more recently is left alone */

struct restart_msg {
	uint32_t version;
	int32_t pid;   /* that was silent; if the child is another process by now, nothing happens */
	char name[56]; /* as the supervisor's log names it: "stored", "vipd", "dbd main" */
};

#endif
