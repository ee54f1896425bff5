#include "store/watch.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/stepdown.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS 50

struct watch {
	uv_timer_t timer;
	uv_loop_t *loop;
	const struct config *config;
	struct node *node;
	const struct admin *admin;
	uint64_t change;  /* leadership looked at last */
	int64_t since_ms; /* when it began, or when it was last offered away */
	bool is_handing_over;
	bool is_stopped;
};

/* The same silence after which the other nodes give a node up (docs/architecture.md, profiles). */
static int64_t patience_ms(const struct watch *w)
{
	const char *profile = node_profile(w->node);

	if (strcmp(profile, "fast") == 0)
		return 600;
	return strcmp(profile, "relaxed") == 0 ? 3000 : 1100;
}

static void closed_cb(uv_handle_t *h)
{
	free(h->data);
}

static void close_watch(struct watch *w)
{
	uv_close((uv_handle_t *)&w->timer, closed_cb);
}

static void handed_over_cb(void *arg)
{
	struct watch *w = arg;

	w->is_handing_over = false;
	w->since_ms = clock_now_ms();
	if (w->is_stopped)
		close_watch(w);
}

static void look_cb(uv_timer_t *timer)
{
	struct watch *w = timer->data;
	const struct node_leader *l = node_leader(w->node);
	int64_t now = clock_now_ms(), heard = admin_control_ms(w->admin);

	if (l->change_count != w->change || !l->is_self) {
		w->change = l->change_count;
		w->since_ms = now;
		return;
	}
	if (heard < w->since_ms)
		heard = w->since_ms;
	if (w->is_handing_over || now - heard <= patience_ms(w))
		return;
	log_warn("store", "the control process of this node is silent -> the leadership is given away");
	w->is_handing_over = true;
	stepdown_run(w->loop, w->node, w->config, handed_over_cb, w);
}

struct watch *watch_start(uv_loop_t *loop, const struct config *c, struct node *n, const struct admin *a)
{
	struct watch *w = mem_alloc(sizeof *w);

	w->loop = loop;
	w->config = c;
	w->node = n;
	w->admin = a;
	w->since_ms = clock_now_ms();
	uv_timer_init(loop, &w->timer);
	w->timer.data = w;
	uv_timer_start(&w->timer, look_cb, LOOK_MS, LOOK_MS);
	return w;
}

void watch_stop(struct watch *w)
{
	if (w == NULL || w->is_stopped)
		return;
	w->is_stopped = true;
	uv_timer_stop(&w->timer);
	if (!w->is_handing_over)
		close_watch(w);
}
