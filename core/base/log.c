#include "core/base/log.h"

#include "core/base/clock.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
	const char *prog;
	const char *node;
	enum log_level level;
	bool is_terminal;
} logger = {"mha", "", LOG_LEVEL_INFO, false};

void log_init(const char *prog, const char *node)
{
	const char *wanted = getenv("MHA_LOG");
	unsigned i;

	logger.prog = prog;
	logger.node = node != NULL ? node : "";
	logger.is_terminal = isatty(STDERR_FILENO) == 1;
	for (i = 0; wanted != NULL && i < 4; i++)
		if (strcmp(wanted, level_names[i]) == 0)
			logger.level = (enum log_level)i;
}

/* Appends s to out as the inside of a JSON string; cuts what does not fit. Returns the new length. */
static size_t append_escaped(char *out, size_t len, size_t cap, const char *s)
{
	for (; *s != '\0' && len + 8 < cap; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			out[len++] = '\\';
			out[len++] = (char)c;
		} else if (c < 0x20) {
			len += (size_t)snprintf(out + len, cap - len, "\\u%04x", c);
		} else {
			out[len++] = (char)c;
		}
	}
	return len;
}

void log_line(enum log_level level, const char *obj, const char *fmt, ...)
{
	char msg[2048], line[4096], when[32];
	size_t len;
	va_list ap;

	if (level < logger.level)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	clock_format_wall(clock_wall_ms(), when);
	if (logger.is_terminal) {
		len = (size_t)snprintf(line, sizeof line, "%s %-5s %s %s: %s", when + 11, level_names[level], logger.prog, obj,
		                       msg);
		if (len >= sizeof line)
			len = sizeof line - 2;
	} else {
		len = (size_t)snprintf(line, sizeof line, "{\"ts\":\"%s\",\"level\":\"%s\",\"prog\":\"%s\",\"node\":\"", when,
		                       level_names[level], logger.prog);
		len = append_escaped(line, len, sizeof line - 64, logger.node);
		len += (size_t)snprintf(line + len, sizeof line - len, "\",\"obj\":\"");
		len = append_escaped(line, len, sizeof line - 32, obj);
		len += (size_t)snprintf(line + len, sizeof line - len, "\",\"msg\":\"");
		len = append_escaped(line, len, sizeof line - 4, msg);
		line[len++] = '"';
		line[len++] = '}';
	}
	line[len++] = '\n';
	/* One write, so that lines of several processes on one pipe do not mix. A full disk must not stop a decision. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}
