/* A client of mha-dbd or mha-vipd: a SOCK_SEQPACKET connection of fixed-size messages on the loop, connected again (every 20 ms
 * at first, 200 ms at the most) while the other side is away. */
#ifndef RUN_CHILD_SOCK_H
#define RUN_CHILD_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct child_sock;

struct child_handlers {
	void *arg;
	void (*up)(void *arg, pid_t peer_pid);
	void (*down)(void *arg, const char *reason);
	void (*message)(void *arg, const void *msg); /* msg_size bytes, borrowed */
};

struct child_sock *child_sock_new(uv_loop_t *loop, const char *path, size_t msg_size, const struct child_handlers *h);
void child_sock_close(struct child_sock *s); /* frees */
bool child_sock_is_up(const struct child_sock *s);
pid_t child_sock_peer(const struct child_sock *s); /* 0 while down */

/* False when it is down or the other side does not read (then it is told down and connected again). */
bool child_sock_send(struct child_sock *s, const void *msg);

#endif
