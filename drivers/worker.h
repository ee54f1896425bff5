/* A worker of the guard: waits for questions on descriptor 3 and answers them with the driver. May hang; the guard kills it
 * then. */
#ifndef DRIVERS_WORKER_H
#define DRIVERS_WORKER_H

#include "core/base/config.h"

/* task: "probe" or "verb", for logs. Returns the exit code, when the guard is gone. */
int worker_run(const struct config *cfg, const char *group, const char *task);

#endif
