/* What has to be done while still root: directories, the control socket, the change to the instance's OS user. */
#ifndef DRIVERS_SETUP_H
#define DRIVERS_SETUP_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <sys/types.h>

/* Create <state_dir>/dbd/<group>, <run_dir>/<group>, the lease file and, as root, the data directory, and give them to os_user.
 * Started as another user than root, everything must be creatable by that user. */
int setup_dirs(const struct config *cfg, const struct config_instance *inst, struct err *e) MUST_USE;

/* Listen at the instance's socket for control_uid. Replaces another guard's socket: lock the lease file first. */
int setup_listen(const struct config *cfg, const struct config_instance *inst, uid_t control_uid, int *ret_fd,
                 struct err *e) MUST_USE;

/* Become os_user, for good. */
int setup_become(const struct config_instance *inst, struct err *e) MUST_USE;

#endif
