/* The control process: agent, controller and API on one loop. Started by the supervisor as `mhad --control`. */
#ifndef RUN_CONTROL_MAIN_H
#define RUN_CONTROL_MAIN_H

#include "core/base/config.h"

/* Runs until SIGTERM or SIGINT; returns the process' exit code (78: the configuration is wrong, do not restart). c is borrowed;
 * nodes that join are added to it. */
int control_main(struct config *c);

#endif
