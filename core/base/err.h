/* Errors: a code for the program, a sentence for the person. Returned, never logged, by library code. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_code {
	ERR_OK = 0,
	ERR_INVAL, /* bad input: names the thing and what would be right */
	ERR_NOMEM,
	ERR_IO,          /* a system call failed: errno's text is in the message */
	ERR_PROTOCOL,    /* a peer sent what it may not send */
	ERR_TIMEOUT,     /* still running, or gave up waiting */
	ERR_UNREACHABLE, /* nobody answers at an address */
	ERR_NOQUORUM,    /* no leader with a usable majority */
	ERR_REFUSED,     /* a precondition does not hold */
	ERR_NOTFOUND,
	ERR_EXISTS,
	ERR_SQL,      /* the store or a database refused a statement */
	ERR_AMBIGUOUS /* a commit whose outcome is not known: read again */
};

struct err {
	enum err_code code;
	char text[512];
};

#define ERR_INIT                                                                                                               \
	{                                                                                                                      \
		ERR_OK, ""                                                                                                     \
	}
#define MUST_USE __attribute__((warn_unused_result))

/* Store code and text in e (may be NULL) and return code, so that a failing function ends in `return err_set(...)`. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set, with ": " and strerror(errno_value) appended. */
int err_sys(struct err *e, int errno_value, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put context in front of e's text ("node \"n1\": ..."); the code stays. Returns the code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The code as one lower-case word, for logs and JSON; borrowed, static. */
const char *err_name(enum err_code code);

#endif
