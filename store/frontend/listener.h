/* The doors: the unix socket, TCP when sql.auth is insecure-trust, and the one for sessions that other nodes relay. */
#ifndef STORE_FRONTEND_LISTENER_H
#define STORE_FRONTEND_LISTENER_H

#include "core/base/err.h"

struct frontend;
struct listener;

int listener_start(struct frontend *f, struct listener **ret, struct err *e) MUST_USE;
void listener_close(struct listener *l, void (*done_cb)(void *arg), void *arg); /* removes the unix socket; frees */

#endif
