/* SET and RESET, and the names that SHOW knows. */
#ifndef STORE_FRONTEND_SET_H
#define STORE_FRONTEND_SET_H

#include <stddef.h>

struct session;

/* Run s->op.in.st, a SET or RESET. */
void set_run(struct session *s);

/* The setting that a SHOW statement names, PostgreSQL's special spellings resolved ("TIME ZONE" -> TimeZone). */
void set_shown_name(const char *sql, char *dst, size_t cap);

#endif
