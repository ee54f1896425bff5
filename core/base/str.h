/* Bounded strings and a growing buffer. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies src into dst[cap], always terminated. Returns false when it was cut: between two characters of UTF-8. */
bool str_copy(char *dst, size_t cap, const char *src);

/* Whole-string decimal number within [min, max]; what names it in the error ("port"). *ret is untouched on failure. */
int str_to_u64(const char *s, const char *what, uint64_t min, uint64_t max, uint64_t *ret, struct err *e) MUST_USE;

/* A node, group or cluster name: 1 to 32 of [a-z0-9_-], starting with a letter or digit. */
bool str_is_name(const char *s);

/* The first len bytes of s without the beginning of a UTF-8 character that would be cut: how many bytes are left. */
size_t str_border(const char *s, size_t len);

/* A copy (returned: free) that is UTF-8: what is not becomes U+FFFD, a character that was cut at the end is left out. */
char *str_utf8(const char *s);

/* Growing text. Zero-initialised is empty; buf_done frees. Aborts when memory is out (nothing sensible is left to do). */
struct buf {
	char *data; /* terminated by NUL beyond len, or NULL when empty */
	size_t len;
	size_t cap;
};
void buf_add(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b); /* keeps the memory */
void buf_done(struct buf *b);

/* malloc family that aborts when memory is out; free with free(). */
void *mem_alloc(size_t size); /* zeroed */
void *mem_resize(void *p, size_t size);
char *mem_strdup(const char *s);

#endif
