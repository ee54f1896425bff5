/* Text for people: display width, safe printing, sizes, times, and the nearest word to a mistyped one. */
#ifndef SHELL_TEXT_H
#define SHELL_TEXT_H

#include "core/base/str.h"

#include <stddef.h>
#include <stdint.h>

/* Columns that s takes on a terminal (wcwidth); a byte that is no valid character counts as one. */
size_t text_width(const char *s);

/* Bytes of the longest prefix of s that takes at most `columns`; never cuts a character. */
size_t text_prefix(const char *s, size_t columns);

/* Append s with control characters and invalid bytes written as escapes (\n, \x1b), so that data cannot steer a terminal. */
void text_add_safe(struct buf *b, const char *s);

/* Append s with each invalid UTF-8 byte replaced by U+FFFD. */
void text_add_utf8(struct buf *b, const char *s);

/* "0 B", "1.5 MB" (powers of 1024); buf must hold 16 bytes. Returns buf. */
char *text_bytes(uint64_t bytes, char *buf);

/* "2026-11-23T18:50:21.123Z" as "2026-11-23 19:50:21.123" in the local zone; anything else is copied. buf must hold 40 bytes.
 * Returns buf. */
char *text_local_time(const char *iso, char *buf);

/* The candidate that a mistyped word most likely means, or NULL when none is near. Borrowed from the list, which ends with
 * NULL. */
const char *text_nearest(const char *word, const char *const *candidates);

#endif
