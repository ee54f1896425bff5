/* The simulator's world: true time, drifting clocks, one seeded random number, and a queue of events. Times are us of true
 * time. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS     INT64_C(1000)
#define SECOND INT64_C(1000000)
#define NEVER  INT64_MAX

/* splitmix64: small, fast, and every seed is as good as another. */
struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *r);
/* In [min, max], both included. */
int64_t rng_range(struct rng *r, int64_t min, int64_t max);
/* True once in `n` calls on average. */
bool rng_one_in(struct rng *r, int64_t n);
/* Mostly short, sometimes very long: between min and max, every order of magnitude as likely as the next. */
int64_t rng_long_tail(struct rng *r, int64_t min, int64_t max);

/* A host's CLOCK_BOOTTIME: runs up to 1% too fast or too slow, started whenever. */
struct drift {
	int64_t offset_us;
	int64_t ppm;
};
struct drift drift_random(struct rng *r);
int64_t drift_local_us(const struct drift *d, int64_t true_us);
static inline int64_t drift_local_ms(const struct drift *d, int64_t true_us)
{
	return drift_local_us(d, true_us) / MS;
}
/* The first true time at which the host's clock shows local_us. */
int64_t drift_true_us(const struct drift *d, int64_t local_us);

struct sim_event;
typedef void (*sim_cb)(void *world, const struct sim_event *e);

struct sim_event {
	int64_t at_us;
	uint64_t order; /* ties break in the order of posting */
	sim_cb fn;
	int a, b; /* whatever fn wants */
	uint64_t u;
	void *p;
};

struct sim_queue {
	int64_t now_us;
	uint64_t posted;
	size_t count, cap;
	struct sim_event *heap; /* owned */
};
/* Keeps the memory for the next run. */
void sim_queue_reset(struct sim_queue *q);
void sim_queue_done(struct sim_queue *q);
/* Post *e (fn, a, b, u, p) for at_us, not before now. */
void sim_post(struct sim_queue *q, int64_t at_us, struct sim_event e);
/* Take the next event at or before end_us; false when there is none. Time moves to it. */
bool sim_next(struct sim_queue *q, int64_t end_us, struct sim_event *ret);

/* The trace: off in ordinary runs; a failing run is repeated with it on, because a seed is a whole run. The newest lines are
 * kept. */
struct trace {
	bool is_on;
	bool is_all; /* print every line at once */
	uint64_t count;
	int64_t now_us;
	char (*lines)[256]; /* owned */
};
#define TRACE_LINES 240
void trace_line(struct trace *t, const char *who, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void trace_print(const struct trace *t);
void trace_done(struct trace *t);

/* A seed of today, or $MHA_SIM_SEED. */
uint64_t sim_default_seed(void);
double sim_wall_seconds(void);

#endif
