#include "vipd/loop.h"

#include "core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop loop;
static char trace[64];

static void note(char what)
{
	size_t len = strlen(trace);

	assert_true(len + 1 < sizeof trace);
	trace[len] = what;
	trace[len + 1] = '\0';
}

static void first_cb(struct loop_timer *t)
{
	(void)t;
	note('1');
}

static void second_cb(struct loop_timer *t)
{
	(void)t;
	note('2');
}

static void stop_cb(struct loop_timer *t)
{
	(void)t;
	loop_stop(&loop);
}

static void read_cb(struct loop_io *io)
{
	char c;

	if (read(io->fd, &c, 1) == 1)
		note('r');
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	trace[0] = '\0';
	return loop_init(&loop, &e);
}

static int teardown(void **state)
{
	(void)state;
	loop_done(&loop);
	return 0;
}

static void add(struct loop_timer *t, void (*cb)(struct loop_timer *), int64_t ms)
{
	t->cb = cb;
	loop_add_timer(&loop, t);
	if (ms >= 0)
		loop_set_timer(t, clock_now_ns() + ms * CLOCK_NS_PER_MS);
}

static void timers_fire_once_and_those_never_set_never(void **state)
{
	struct loop_timer one, two, end;
	struct err e = ERR_INIT;

	(void)state;
	add(&one, first_cb, 10);
	add(&two, second_cb, -1);
	add(&end, stop_cb, 60);
	assert_int_equal(loop_run(&loop, &e), ERR_OK);
	assert_string_equal(trace, "1");
}

static void what_is_due_comes_before_what_waits_to_be_read_in_the_order_of_adding(void **state)
{
	struct loop_timer one, two, end;
	struct loop_io io = {.cb = read_cb};
	struct err e = ERR_INIT;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	io.fd = fds[0];
	assert_int_equal(loop_add_io(&loop, &io, &e), ERR_OK);
	add(&one, first_cb, 0);
	add(&two, second_cb, 0);
	/* The second is due earlier; the order of adding decides. */
	loop_set_timer(&two, 1);
	add(&end, stop_cb, 50);
	assert_int_equal(loop_run(&loop, &e), ERR_OK);
	assert_string_equal(trace, "12r");
	loop_remove_io(&loop, &io);
	close(fds[0]);
	close(fds[1]);
}

static void a_cleared_timer_does_not_fire(void **state)
{
	struct loop_timer one, end;
	struct err e = ERR_INIT;

	(void)state;
	add(&one, first_cb, 5);
	loop_clear_timer(&one);
	add(&end, stop_cb, 30);
	assert_int_equal(loop_run(&loop, &e), ERR_OK);
	assert_string_equal(trace, "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(timers_fire_once_and_those_never_set_never),
	        TEST(what_is_due_comes_before_what_waits_to_be_read_in_the_order_of_adding),
	        TEST(a_cleared_timer_does_not_fire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
