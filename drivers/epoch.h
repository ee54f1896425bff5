/* The two epochs that an instance must never forget, in <state_dir>/dbd/<group>/epoch. */
#ifndef DRIVERS_EPOCH_H
#define DRIVERS_EPOCH_H

#include "core/base/err.h"

#include <stdint.h>

struct epochs {
	uint64_t seen;     /* highest epoch of any order acted upon */
	uint64_t promoted; /* epoch of the last completed promotion, 0: never, or undone since by a rewind or a clone */
};

/* A missing file is {0, 0}; a damaged one is ERR_IO, because guessing low would let an old order through. */
int epoch_read(const char *path, struct epochs *ret, struct err *e) MUST_USE;

/* Raise what is stored to at least v, durably: when it returns ERR_OK the numbers survive a power cut. Never lowers. */
int epoch_raise(const char *path, struct epochs v, struct err *e) MUST_USE;

/* The data no longer is a former primary's: it was rewound or cloned. seen stays. */
int epoch_forget_promotion(const char *path, struct err *e) MUST_USE;

#endif
