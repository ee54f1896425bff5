/* struct vip_msg on the control socket: who may connect, what a message must look like, replies and events.
 * One control connection at a time; a newer one replaces the older (its process has been restarted). */
#ifndef VIPD_PROTOCOL_H
#define VIPD_PROTOCOL_H

#include "core/base/vip_msg.h"
#include "vipd/allow.h"
#include "vipd/loop.h"

struct protocol;

struct protocol_ops {
	/* A request that passed every check; `what` are its addresses and ports. Fill in the reply (rc, flags, text are set to
	 * 0; seq, owner, addresses and ports to the request's) and return true; or return false and call protocol_answer
	 * with the tag later. */
	bool (*request)(void *ctx, const struct vip_msg *m, const struct vip_set *what, uint64_t tag, struct vip_msg *reply);
};

struct protocol {
	struct loop *loop;
	const struct allow *allow;
	const struct protocol_ops *ops;
	void *ctx;
	struct loop_io listener, peer; /* peer.fd is -1: nobody is connected */
	uint32_t peer_number;          /* a late answer goes only to the connection that asked */
};

/* loop, allow and ops are borrowed; ops->request gets ctx. */
int protocol_open(struct protocol *p, const char *path, struct loop *loop, struct err *e) MUST_USE;
void protocol_close(struct protocol *p);

/* Answer a request that was put off. rc, flags, mac, addrs and text are the caller's; dropped when the asker has gone. */
void protocol_answer(struct protocol *p, uint64_t tag, struct vip_msg *reply);

/* Tell the control process something unasked; lost when nobody is connected. Type, version and seq are filled in. */
void protocol_event(struct protocol *p, struct vip_msg *event);

/* Is this a request, and does vip.allow list everything it names? ERR_PROTOCOL, ERR_INVAL, ERR_REFUSED (names the address or
 * port and the file). */
int protocol_check(const struct vip_msg *m, const struct allow *a, struct vip_set *ret_what, struct err *e) MUST_USE;

/* IPv4 as ::ffff:a.b.c.d and back (false for anything else). */
void protocol_put_address(struct vip_addr *to, struct in_addr from);
bool protocol_get_address(const struct vip_addr *from, struct in_addr *ret);

#endif
