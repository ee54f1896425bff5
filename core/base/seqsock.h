/* Framed sockets: SOCK_SEQPACKET unix sockets that carry one fixed-size struct per packet. A packet of another length is
 * a protocol error; the peer's uid and pid come from the kernel (SO_PEERCRED). All descriptors are CLOEXEC, non-blocking. */
#ifndef BASE_SEQSOCK_H
#define BASE_SEQSOCK_H

#include "core/base/err.h"

#include <stddef.h>
#include <sys/types.h>

struct seq_peer {
	uid_t uid;
	pid_t pid;
};

/* Listen at a path (an old socket file there is replaced), mode 0600. *ret_fd: close it and unlink the path. */
int seq_listen(const char *path, int *ret_fd, struct err *e) MUST_USE;

/* Accept one connection if one waits: *ret_fd is -1 when none does. */
int seq_accept(int listen_fd, int *ret_fd, struct seq_peer *ret_peer, struct err *e) MUST_USE;

/* Connect to a listening path; ERR_UNREACHABLE when nobody listens. */
int seq_connect(const char *path, int *ret_fd, struct seq_peer *ret_peer, struct err *e) MUST_USE;

/* Send one packet; ERR_TIMEOUT when the peer's queue is full (nothing was sent), ERR_UNREACHABLE when it is gone. */
int seq_send(int fd, const void *msg, size_t len, struct err *e) MUST_USE;

/* Receive one packet of exactly len bytes. ERR_TIMEOUT: none waits; ERR_UNREACHABLE: the peer is gone;
 * ERR_PROTOCOL: a packet of another length came (it is consumed). */
int seq_recv(int fd, void *msg, size_t len, struct err *e) MUST_USE;

#endif
