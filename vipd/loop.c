#include "vipd/loop.h"

#include "core/base/clock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 16
#define NS_PER_S   INT64_C(1000000000)

int loop_init(struct loop *l, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	*l = (struct loop){.epoll_fd = -1, .timer_fd = -1};
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->epoll_fd < 0 || l->timer_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->timer_fd, &ev) != 0)
		return err_sys(e, errno, "event loop");
	return ERR_OK;
}

void loop_done(struct loop *l)
{
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	if (l->timer_fd >= 0)
		close(l->timer_fd);
}

int loop_add_io(struct loop *l, struct loop_io *io, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = io};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, io->fd, &ev) != 0)
		return err_sys(e, errno, "event loop");
	return ERR_OK;
}

void loop_remove_io(struct loop *l, struct loop_io *io)
{
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
}

void loop_add_timer(struct loop *l, struct loop_timer *t)
{
	t->next = NULL;
	t->due_ns = 0;
	if (l->last != NULL)
		l->last->next = t;
	else
		l->timers = t;
	l->last = t;
}

void loop_set_timer(struct loop_timer *t, int64_t due_ns)
{
	t->due_ns = due_ns > 0 ? due_ns : 1;
}

void loop_clear_timer(struct loop_timer *t)
{
	t->due_ns = 0;
}

static void fire_timers(struct loop *l)
{
	int64_t now = clock_now_ns();
	struct loop_timer *t;

	for (t = l->timers; t != NULL; t = t->next) {
		if (t->due_ns == 0 || t->due_ns > now)
			continue;
		t->due_ns = 0;
		t->cb(t);
	}
}

static int arm(struct loop *l, struct err *e)
{
	struct itimerspec when = {0};
	int64_t due = 0;
	struct loop_timer *t;

	for (t = l->timers; t != NULL; t = t->next)
		if (t->due_ns != 0 && (due == 0 || t->due_ns < due))
			due = t->due_ns;
	when.it_value.tv_sec = due / NS_PER_S;
	when.it_value.tv_nsec = due % NS_PER_S;
	if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		return err_sys(e, errno, "timer");
	return ERR_OK;
}

int loop_run(struct loop *l, struct err *e)
{
	struct epoll_event events[MAX_EVENTS];
	int i, n, rc;

	while (!l->is_stopping) {
		rc = arm(l, e);
		if (rc != ERR_OK)
			return rc;
		n = epoll_wait(l->epoll_fd, events, MAX_EVENTS, -1);
		if (n < 0 && errno != EINTR)
			return err_sys(e, errno, "event loop");
		fire_timers(l);
		for (i = 0; i < n && !l->is_stopping; i++) {
			struct loop_io *io = events[i].data.ptr;

			/* The timerfd (NULL) needs no read: arming it again clears it. */
			if (io != NULL)
				io->cb(io);
		}
	}
	return ERR_OK;
}

void loop_stop(struct loop *l)
{
	l->is_stopping = true;
}
