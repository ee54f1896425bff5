#include "shell/interrupt.h"

#include <stddef.h>

static volatile sig_atomic_t is_set;

static void take_signal(int number)
{
	(void)number;
	is_set = 1;
}

void interrupt_catch(struct sigaction *ret_old)
{
	struct sigaction take = {.sa_handler = take_signal}; /* no SA_RESTART: whoever waits shall look at the flag */

	sigaction(SIGINT, &take, ret_old);
}

void interrupt_release(const struct sigaction *old)
{
	sigaction(SIGINT, old, NULL);
}

bool interrupt_is_set(void)
{
	return is_set != 0;
}

void interrupt_clear(void)
{
	is_set = 0;
}
