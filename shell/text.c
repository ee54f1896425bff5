#include "shell/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#define NEAREST_MAX_WORD     31
#define NEAREST_MAX_DISTANCE 2

/* Length in bytes of the character at s and its width; 1 byte of width 1 for what is not a character. s is not empty. */
static size_t next_char(const char *s, int *ret_width, bool *ret_valid)
{
	mbstate_t state;
	wchar_t wc;
	size_t n;

	memset(&state, 0, sizeof state);
	n = mbrtowc(&wc, s, strlen(s), &state);
	if (n == 0 || n == (size_t)-1 || n == (size_t)-2) {
		*ret_width = 1;
		*ret_valid = false;
		return 1;
	}
	*ret_width = wcwidth(wc);
	*ret_valid = true;
	return n;
}

size_t text_width(const char *s)
{
	size_t width = 0;
	bool valid;
	int w;

	while (*s != '\0') {
		s += next_char(s, &w, &valid);
		width += w > 0 ? (size_t)w : 0;
	}
	return width;
}

size_t text_prefix(const char *s, size_t columns)
{
	const char *p = s;
	size_t width = 0, n;
	bool valid;
	int w;

	while (*p != '\0') {
		n = next_char(p, &w, &valid);
		width += w > 0 ? (size_t)w : 0;
		if (width > columns)
			break;
		p += n;
	}
	return (size_t)(p - s);
}

void text_add_safe(struct buf *b, const char *s)
{
	bool valid;
	size_t n;
	int w;

	for (; *s != '\0'; s += n) {
		n = next_char(s, &w, &valid);
		if (*s == '\n')
			buf_puts(b, "\\n");
		else if (*s == '\t')
			buf_puts(b, "\\t");
		else if (!valid || (n == 1 && w < 0))
			buf_printf(b, "\\x%02x", (unsigned)(unsigned char)*s);
		else if (w < 0) /* a control character beyond ASCII */
			buf_puts(b, "?");
		else
			buf_add(b, s, n);
	}
}

void text_add_utf8(struct buf *b, const char *s)
{
	bool valid;
	size_t n;
	int w;

	for (; *s != '\0'; s += n) {
		n = next_char(s, &w, &valid);
		if (valid)
			buf_add(b, s, n);
		else
			buf_puts(b, "\xef\xbf\xbd");
	}
}

char *text_bytes(uint64_t bytes, char *buf)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i + 1 < sizeof units / sizeof units[0]) {
		v /= 1024;
		i++;
	}
	snprintf(buf, 16, i == 0 ? "%.0f %s" : "%.1f %s", v, units[i]);
	return buf;
}

char *text_local_time(const char *iso, char *buf)
{
	struct tm utc, local;
	const char *rest;
	char *end;
	long ms = 0;
	time_t t;
	size_t n;

	memset(&utc, 0, sizeof utc);
	rest = strptime(iso, "%Y-%m-%dT%H:%M:%S", &utc);
	if (rest != NULL && *rest == '.') {
		ms = strtol(rest + 1, &end, 10);
		rest = end;
	}
	if (rest == NULL || strcmp(rest, "Z") != 0 || ms < 0 || ms > 999) {
		str_copy(buf, 40, iso);
		return buf;
	}
	t = timegm(&utc);
	localtime_r(&t, &local);
	n = strftime(buf, 40, "%Y-%m-%d %H:%M:%S", &local);
	snprintf(buf + n, 40 - n, ".%03ld", ms);
	return buf;
}

/* Letters to insert, delete, change or swap with a neighbour to make b of a. Both are at most NEAREST_MAX_WORD long. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t d[NEAREST_MAX_WORD + 1][NEAREST_MAX_WORD + 1];
	size_t la = strlen(a), lb = strlen(b), i, j, best;

	for (i = 0; i <= la; i++) {
		for (j = 0; j <= lb; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[la][lb];
}

const char *text_nearest(const char *word, const char *const *candidates)
{
	const char *best = NULL;
	size_t best_distance = NEAREST_MAX_DISTANCE + 1, distance, len = strlen(word);

	if (len < 2 || len > NEAREST_MAX_WORD)
		return NULL;
	for (; *candidates != NULL; candidates++) {
		if (strlen(*candidates) > NEAREST_MAX_WORD)
			continue;
		/* An unfinished word ("stat") means what it begins, however much is missing. */
		distance = strncmp(*candidates, word, len) == 0 ? 1 : edit_distance(word, *candidates);
		if (distance < best_distance && distance < len) {
			best = *candidates;
			best_distance = distance;
		}
	}
	return best;
}
