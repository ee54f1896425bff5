/* The one clock: CLOCK_BOOTTIME. It never jumps, and it counts the time a machine sleeps. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_MS INT64_C(1000000)

int64_t clock_now_ms(void);
int64_t clock_now_ns(void);

/* Wall clock in ms since 1970, for people and event rows only: nothing is ever decided on it. */
int64_t clock_wall_ms(void);

/* "2026-11-23T18:50:21.123Z" for a wall-clock time; buf must hold 32 bytes. Returns buf. */
char *clock_format_wall(int64_t wall_ms, char *buf);

#endif
