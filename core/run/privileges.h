/* What the parent process keeps of root. */
#ifndef RUN_PRIVILEGES_H
#define RUN_PRIVILEGES_H

#include "core/base/err.h"

/* After directories are made: keep of the capabilities we have only those that starting, signalling and stopping children needs
 * (SETUID, SETGID, KILL) and the two that mha-vipd gets (NET_ADMIN, NET_RAW); the others are gone for good, from the bounding
 * set too, and no program that is started from here gains any (no_new_privs). What is made from now on is for its owner only
 * (umask 077). Without privileges only the last two happen. */
int privileges_reduce(struct err *e) MUST_USE;

#endif
