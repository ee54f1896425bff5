#include "core/base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 * CLOCK_NS_PER_MS + ts.tv_nsec;
}

int64_t clock_now_ns(void)
{
	return read_clock_ns(CLOCK_BOOTTIME);
}

int64_t clock_now_ms(void)
{
	return clock_now_ns() / CLOCK_NS_PER_MS;
}

int64_t clock_wall_ms(void)
{
	return read_clock_ns(CLOCK_REALTIME) / CLOCK_NS_PER_MS;
}

char *clock_format_wall(int64_t wall_ms, char *buf)
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, 32 - n, ".%03dZ", (int)(wall_ms % 1000));
	return buf;
}
