#include "store/node_hint.h"
#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/dq.h"
#include "store/net.h"
#include "store/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PACE_MS    200  /* between two rounds of questions */
#define VALID_MS   1000 /* of what a peer said */
#define TIMEOUT_MS 1000
#define ROLE_VOTER 0

struct node_hint {
	uv_loop_t *loop;
	const struct config *config;
	struct node *node;
	uint64_t own_id;
	struct dq *local, *peer; /* peer: NULL while none is being asked */
	unsigned next_peer;      /* index into the configuration's nodes */
	bool is_asking, is_closing;
	int64_t asked_ms, told_ms;
	uint64_t leader_id;
	char leader_address[NET_ADDRESS_CAP];
	unsigned parts_open;
};

static void part_closed_cb(void *arg)
{
	struct node_hint *h = arg;

	if (--h->parts_open == 0)
		free(h);
}

static void close_peer(struct node_hint *h)
{
	if (h->peer == NULL)
		return;
	dq_close(h->peer, part_closed_cb, h);
	h->peer = NULL;
}

/* A peer that does not know, or names us (who would know better), is as good as none: the next round asks another. */
static void peer_cb(void *arg, const struct dq_result *r)
{
	struct node_hint *h = arg;
	bool is_known;

	h->is_asking = false;
	if (h->is_closing)
		return;
	is_known = r->code == 0 && r->row_count == 1 && r->values[0].u.i != 0 && (uint64_t)r->values[0].u.i != h->own_id;
	if (!is_known) {
		close_peer(h);
		return;
	}
	h->told_ms = clock_now_ms();
	h->leader_id = (uint64_t)r->values[0].u.i;
	str_copy(h->leader_address, sizeof h->leader_address, r->values[1].u.s.data);
}

/* Through the front, as every way to another node: with TLS. */
static int connect_cb(void *arg, const char *address)
{
	struct node_hint *h = arg;
	int fd;

	return h->is_closing || node_connect(h->node, address, "", &fd, NULL) != 0 ? -ENOTCONN : fd;
}

static bool open_next_peer(struct node_hint *h)
{
	const struct config *c = h->config;
	char address[NET_ADDRESS_CAP];

	for (unsigned tries = 0; tries < c->nodes_count; tries++) {
		const struct config_node *n = &c->nodes[h->next_peer++ % c->nodes_count];

		if (n->is_removed || strcmp(n->name, c->node) == 0)
			continue;
		h->peer = dq_new(h->loop, net_format(n->address, n->raft_port, address), NULL);
		dq_set_connect(h->peer, connect_cb, h);
		dq_set_timeout(h->peer, TIMEOUT_MS);
		h->parts_open++;
		return true;
	}
	return false;
}

/* The own role decides whether others are to be asked: a voter that knows no leader is right. */
static void members_cb(void *arg, const struct dq_result *r)
{
	struct node_hint *h = arg;
	bool may_ask = false;

	h->is_asking = false;
	if (h->is_closing)
		return;
	for (size_t i = 0; r->code == 0 && i < r->row_count; i++) {
		const struct dq_value *v = &r->values[i * r->column_count];

		may_ask |= (uint64_t)v[0].u.i == h->own_id && v[2].u.i != ROLE_VOTER;
	}
	if (!may_ask)
		h->leader_id = 0;
	if (!may_ask || (h->peer == NULL && !open_next_peer(h)))
		return;
	h->is_asking = true;
	dq_leader(h->peer, peer_cb, h);
}

uint64_t node_hint_poll(struct node_hint *h, const char **ret_address)
{
	int64_t now_ms = clock_now_ms();

	if (!h->is_asking && now_ms - h->asked_ms >= PACE_MS) {
		h->asked_ms = now_ms;
		h->is_asking = true;
		dq_cluster(h->local, members_cb, h);
	}
	if (h->leader_id == 0 || now_ms - h->told_ms > VALID_MS)
		return 0;
	*ret_address = h->leader_address;
	return h->leader_id;
}

struct node_hint *node_hint_new(uv_loop_t *loop, const struct config *c, struct node *n)
{
	struct node_hint *h = mem_alloc(sizeof *h);

	h->loop = loop;
	h->config = c;
	h->node = n;
	h->own_id = node_id(n);
	h->local = dq_new(loop, node_local_address(n), NULL);
	dq_set_timeout(h->local, TIMEOUT_MS);
	h->parts_open = 1;
	return h;
}

void node_hint_close(struct node_hint *h)
{
	if (h == NULL)
		return;
	h->is_closing = true;
	close_peer(h);
	dq_close(h->local, part_closed_cb, h);
}
