#include "core/run/restart.h"

#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"
#include "core/run/restart_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

static int ask_fd = -1;

void restart_open(void)
{
	socklen_t size = sizeof(int);
	int type = 0;

	if (getsockopt(RESTART_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET)
		return; /* started by hand */
	fcntl(RESTART_FD, F_SETFD, FD_CLOEXEC);
	ask_fd = RESTART_FD;
}

void restart_ask(const char *name, pid_t pid, const char *why)
{
	struct restart_msg m = {.version = RESTART_MSG_VERSION, .pid = pid};
	struct err e = ERR_INIT;

	if (pid <= 1)
		return;
	str_copy(m.name, sizeof m.name, name);
	log_warn(name, "%s -> the supervisor is asked to kill it and start it again", why);
	if (ask_fd < 0) {
		if (kill(pid, SIGKILL) != 0)
			log_warn(name, "cannot be killed: %s", strerror(errno));
	} else if (seq_send(ask_fd, &m, sizeof m, &e) != ERR_OK) {
		log_warn(name, "the supervisor does not hear: %s", e.text);
	}
}
