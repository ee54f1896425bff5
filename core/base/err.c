#include "core/base/err.h"

#include "core/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A text that fills its room may have been cut, and then inside a character. */
static void end_at_border(struct err *e)
{
	size_t len = strlen(e->text);

	if (len == sizeof e->text - 1)
		e->text[str_border(e->text, len)] = '\0';
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return (int)code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	end_at_border(e);
	return (int)code;
}

int err_sys(struct err *e, int errno_value, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (e == NULL)
		return ERR_IO;
	e->code = ERR_IO;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof e->text - len, ": %s", strerror(errno_value));
	end_at_border(e);
	return ERR_IO;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char inner[sizeof e->text];
	va_list ap;
	size_t len;

	if (e == NULL)
		return ERR_INVAL;
	memcpy(inner, e->text, sizeof inner);
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof e->text - len, ": %s", inner);
	end_at_border(e);
	return (int)e->code;
}

const char *err_name(enum err_code code)
{
	static const char *const names[] = {
	        [ERR_OK] = "ok",
	        [ERR_INVAL] = "invalid",
	        [ERR_NOMEM] = "no_memory",
	        [ERR_IO] = "io",
	        [ERR_PROTOCOL] = "protocol",
	        [ERR_TIMEOUT] = "timeout",
	        [ERR_UNREACHABLE] = "unreachable",
	        [ERR_NOQUORUM] = "no_quorum",
	        [ERR_REFUSED] = "refused",
	        [ERR_NOTFOUND] = "not_found",
	        [ERR_EXISTS] = "exists",
	        [ERR_SQL] = "sql",
	        [ERR_AMBIGUOUS] = "ambiguous",
	};

	if ((unsigned)code >= sizeof names / sizeof names[0])
		return "unknown";
	return names[code];
}
