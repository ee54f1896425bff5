#include "core/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 32

bool str_copy(char *dst, size_t cap, const char *src)
{
	size_t len = strnlen(src, cap);
	bool fits = len < cap;

	if (!fits)
		len = str_border(src, cap - 1);
	memcpy(dst, src, len);
	dst[len] = '\0';
	return fits;
}

int str_to_u64(const char *s, const char *what, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (!isdigit((unsigned char)s[0]) || *end != '\0' || errno != 0)
		return err_set(e, ERR_INVAL, "%s \"%s\" is not a number", what, s);
	if (v < min || v > max)
		return err_set(e, ERR_INVAL, "%s %s is out of range (%llu to %llu)", what, s, (unsigned long long)min,
		               (unsigned long long)max);
	*ret = v;
	return ERR_OK;
}

bool str_is_name(const char *s)
{
	size_t i;

	if (!islower((unsigned char)s[0]) && !isdigit((unsigned char)s[0]))
		return false;
	for (i = 0; s[i] != '\0'; i++)
		if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && s[i] != '_' && s[i] != '-')
			return false;
	return i <= NAME_MAX_LEN;
}

static void buf_reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap > 0 ? b->cap : 64;

	while (cap < b->len + more + 1)
		cap *= 2;
	if (cap != b->cap) {
		b->data = mem_resize(b->data, cap);
		b->cap = cap;
	}
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	buf_reserve(b, len);
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n > 0) {
		buf_reserve(b, (size_t)n);
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

void buf_done(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof *b);
}

void *mem_alloc(size_t size)
{
	void *p = calloc(1, size > 0 ? size : 1);

	if (p == NULL)
		abort();
	return p;
}

void *mem_resize(void *p, size_t size)
{
	p = realloc(p, size > 0 ? size : 1);
	if (p == NULL)
		abort();
	return p;
}

char *mem_strdup(const char *s)
{
	size_t len = strlen(s) + 1;

	return memcpy(mem_alloc(len), s, len);
}

/* Bytes of the character that starts with this one; 0: none does. */
static size_t utf8_len(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* How many bytes at s (it ends with NUL) begin a character, *ret_is_whole whether it is all of it. No overlong forms, no
 * surrogates, nothing beyond U+10FFFF. */
static size_t utf8_read(const unsigned char *s, bool *ret_is_whole)
{
	size_t len = utf8_len(s[0]), n = 1;
	unsigned char min = 0x80, max = 0xbf;

	if (s[0] == 0xe0)
		min = 0xa0;
	else if (s[0] == 0xf0)
		min = 0x90;
	else if (s[0] == 0xed)
		max = 0x9f;
	else if (s[0] == 0xf4)
		max = 0x8f;
	for (; n < len && s[n] >= min && s[n] <= max; n++) {
		min = 0x80;
		max = 0xbf;
	}
	*ret_is_whole = n == len;
	return n;
}

size_t str_border(const char *s, size_t len)
{
	size_t back;

	for (back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)s[len - back];

		if (c >= 0x80 && c < 0xc0)
			continue;
		return utf8_len(c) > back ? len - back : len;
	}
	return len;
}

char *str_utf8(const char *s)
{
	static const char replacement[] = "\xef\xbf\xbd";
	struct buf b = {0};
	bool is_whole;
	size_t n;

	buf_puts(&b, "");
	for (; *s != '\0'; s += n) {
		n = utf8_read((const unsigned char *)s, &is_whole);
		if (is_whole)
			buf_add(&b, s, n);
		else if (s[n] != '\0' || utf8_len((unsigned char)*s) == 0)
			buf_puts(&b, replacement);
	}
	return b.data;
}
