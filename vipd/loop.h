/* A single-threaded event loop: epoll for descriptors, one timerfd (CLOCK_BOOTTIME) for all timers. */
#ifndef VIPD_LOOP_H
#define VIPD_LOOP_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Embedded in its owner; must outlive the loop or be removed. */
struct loop_io {
	int fd;
	void (*cb)(struct loop_io *io);
	void *ctx;
};

struct loop_timer {
	int64_t due_ns; /* 0: not armed */
	void (*cb)(struct loop_timer *t);
	void *ctx;
	struct loop_timer *next;
};

struct loop {
	int epoll_fd;
	int timer_fd;
	struct loop_timer *timers; /* every timer, armed or not, in the order of loop_add_timer */
	struct loop_timer *last;
	bool is_stopping;
};

int loop_init(struct loop *l, struct err *e) MUST_USE;
void loop_done(struct loop *l);

/* Call io->cb whenever io->fd is readable. */
int loop_add_io(struct loop *l, struct loop_io *io, struct err *e) MUST_USE;
void loop_remove_io(struct loop *l, struct loop_io *io);

/* Makes t known, not armed. Timers that are due in the same round fire in the order in which they were added. */
void loop_add_timer(struct loop *l, struct loop_timer *t);
void loop_set_timer(struct loop_timer *t, int64_t due_ns);
void loop_clear_timer(struct loop_timer *t);

/* Runs until loop_stop. In each round timers come first: what has lapsed is dropped before anything that waits is read. */
int loop_run(struct loop *l, struct err *e) MUST_USE;
void loop_stop(struct loop *l);

#endif
