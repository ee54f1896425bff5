#include "tests/sim/engine.h"

#include "core/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int64_t rng_range(struct rng *r, int64_t min, int64_t max)
{
	return min + (int64_t)(rng_next(r) % (uint64_t)(max - min + 1));
}

bool rng_one_in(struct rng *r, int64_t n)
{
	return rng_next(r) % (uint64_t)n == 0;
}

int64_t rng_long_tail(struct rng *r, int64_t min, int64_t max)
{
	int doublings = 0;
	int64_t low;

	while (min << (doublings + 1) <= max)
		doublings++;
	low = min << rng_range(r, 0, doublings);
	return rng_range(r, low, 2 * low < max ? 2 * low : max);
}

struct drift drift_random(struct rng *r)
{
	struct drift d;

	d.offset_us = rng_range(r, SECOND, 1000000 * SECOND);
	/* The extremes are where the margin is thinnest. */
	d.ppm = rng_one_in(r, 3) ? rng_range(r, -10000, 10000) : rng_one_in(r, 2) ? 10000 : -10000;
	return d;
}

int64_t drift_local_us(const struct drift *d, int64_t true_us)
{
	return d->offset_us + true_us + true_us * d->ppm / 1000000;
}

int64_t drift_true_us(const struct drift *d, int64_t local_us)
{
	int64_t t = (local_us - d->offset_us) * 1000 / (1000000 + d->ppm) * 1000;

	/* The estimate is at most a few ms early. */
	if (t < 0)
		t = 0;
	t += (local_us - drift_local_us(d, t)) * 1000000 / (1000000 + d->ppm);
	while (drift_local_us(d, t) < local_us)
		t++;
	while (t > 0 && drift_local_us(d, t - 1) >= local_us)
		t--;
	return t;
}

void sim_queue_reset(struct sim_queue *q)
{
	q->now_us = 0;
	q->posted = 0;
	q->count = 0;
}

void sim_queue_done(struct sim_queue *q)
{
	free(q->heap);
	memset(q, 0, sizeof *q);
}

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_post(struct sim_queue *q, int64_t at_us, struct sim_event e)
{
	size_t i;

	if (q->count == q->cap) {
		q->cap = q->cap > 0 ? 2 * q->cap : 1024;
		q->heap = mem_resize(q->heap, q->cap * sizeof *q->heap);
	}
	e.at_us = at_us > q->now_us ? at_us : q->now_us;
	e.order = q->posted++;
	for (i = q->count++; i > 0 && is_before(&e, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
		q->heap[i] = q->heap[(i - 1) / 2];
	q->heap[i] = e;
}

bool sim_next(struct sim_queue *q, int64_t end_us, struct sim_event *ret)
{
	struct sim_event last;
	size_t i = 0, child;

	if (q->count == 0 || q->heap[0].at_us > end_us)
		return false;
	*ret = q->heap[0];
	last = q->heap[--q->count];
	while ((child = 2 * i + 1) < q->count) {
		if (child + 1 < q->count && is_before(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!is_before(&q->heap[child], &last))
			break;
		q->heap[i] = q->heap[child];
		i = child;
	}
	q->heap[i] = last;
	q->now_us = ret->at_us;
	return true;
}

void trace_line(struct trace *t, const char *who, const char *fmt, ...)
{
	char *line;
	va_list ap;
	int len;

	if (!t->is_on)
		return;
	if (t->lines == NULL)
		t->lines = mem_alloc(TRACE_LINES * sizeof *t->lines);
	line = t->lines[t->count++ % TRACE_LINES];
	len = snprintf(line, sizeof *t->lines, "[%10.3f] %s > ", (double)t->now_us / (double)MS, who);
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof *t->lines - (size_t)len, fmt, ap);
	va_end(ap);
	if (t->is_all)
		puts(line);
}

void trace_print(const struct trace *t)
{
	uint64_t first = t->count > TRACE_LINES ? t->count - TRACE_LINES : 0;

	if (t->is_all)
		return;
	for (uint64_t i = first; i < t->count; i++)
		puts(t->lines[i % TRACE_LINES]);
}

void trace_done(struct trace *t)
{
	free(t->lines);
	memset(t, 0, sizeof *t);
}

uint64_t sim_default_seed(void)
{
	const char *given = getenv("MHA_SIM_SEED");

	if (given != NULL && *given != '\0')
		return strtoull(given, NULL, 10);
	return (uint64_t)time(NULL) / 86400 * 1000000;
}

double sim_wall_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}
