#include "store/stepdown.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/dq.h"
#include "store/net.h"

#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS    1000 /* a transfer takes some ms; without a quorum it never ends */
#define CANDIDATES_MAX 16
#define ROLE_VOTER     0

struct stepdown {
	uv_timer_t deadline;
	struct dq *dq;
	const struct node *node;
	const struct config *config;
	uint64_t candidates[CANDIDATES_MAX]; /* in the order in which they are asked */
	size_t count, next;
	void (*done)(void *arg);
	void *arg;
	bool is_over;
	unsigned parts_open;
};

static void part_closed(struct stepdown *s)
{
	if (--s->parts_open > 0)
		return;
	s->done(s->arg);
	free(s);
}

static void timer_closed_cb(uv_handle_t *h)
{
	part_closed(h->data);
}

static void dq_closed_cb(void *arg)
{
	part_closed(arg);
}

static void end(struct stepdown *s)
{
	if (s->is_over)
		return;
	s->is_over = true;
	uv_close((uv_handle_t *)&s->deadline, timer_closed_cb);
	dq_close(s->dq, dq_closed_cb, s);
}

static void deadline_cb(uv_timer_t *timer)
{
	log_warn("store", "the leadership could not be handed over in time: the others elect a leader");
	end(timer->data);
}

static bool is_arbiter(const struct config *c, const char *address)
{
	char text[NET_ADDRESS_CAP];

	for (unsigned i = 0; i < c->nodes_count; i++)
		if (strcmp(net_format(c->nodes[i].address, c->nodes[i].raft_port, text), address) == 0)
			return c->nodes[i].role != NULL && strcmp(c->nodes[i].role, "arbiter") == 0;
	return false;
}

static void transferred_cb(void *arg, const struct dq_result *r);

static void ask_next(struct stepdown *s)
{
	if (s->next == s->count)
		end(s);
	else
		dq_transfer(s->dq, s->candidates[s->next++], transferred_cb, s);
}

static void transferred_cb(void *arg, const struct dq_result *r)
{
	struct stepdown *s = arg;

	if (s->is_over)
		return;
	if (r->code != 0) {
		ask_next(s);
		return;
	}
	log_info("store", "handed the leadership to %llu", (unsigned long long)s->candidates[s->next - 1]);
	end(s);
}

/* Data nodes before the arbiter, which would only hand over again. */
static void members_cb(void *arg, const struct dq_result *r)
{
	struct stepdown *s = arg;

	if (s->is_over)
		return;
	for (int want_arbiter = 0; r->code == 0 && want_arbiter <= 1; want_arbiter++) {
		for (size_t i = 0; i < r->row_count && s->count < CANDIDATES_MAX; i++) {
			const struct dq_value *v = &r->values[i * r->column_count];
			bool is_other_voter = v[2].u.i == ROLE_VOTER && (uint64_t)v[0].u.i != node_id(s->node);

			if (is_other_voter && is_arbiter(s->config, v[1].u.s.data) == (want_arbiter == 1))
				s->candidates[s->count++] = (uint64_t)v[0].u.i;
		}
	}
	ask_next(s);
}

static void nothing_to_do_cb(uv_timer_t *timer)
{
	end(timer->data);
}

void stepdown_run(uv_loop_t *loop, const struct node *n, const struct config *c, void (*done)(void *arg), void *arg)
{
	struct stepdown *s = mem_alloc(sizeof *s);

	s->node = n;
	s->config = c;
	s->done = done;
	s->arg = arg;
	s->dq = dq_new(loop, node_local_address(n), NULL);
	uv_timer_init(loop, &s->deadline);
	s->deadline.data = s;
	s->parts_open = 2;
	if (!node_leader(n)->is_self) {
		uv_timer_start(&s->deadline, nothing_to_do_cb, 0, 0);
		return;
	}
	uv_timer_start(&s->deadline, deadline_cb, DEADLINE_MS, 0);
	dq_cluster(s->dq, members_cb, s);
}
