/* What has to be done while still root: directories, the control socket, the change to the instance's OS user. */
#ifndef DRIVERS_SETUP_H
#define DRIVERS_SETUP_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <sys/types.h>

/* Create <state_dir>/dbd/<group>, <run_dir>/<group> and, as root, the data directory; listen at the instance's socket, give it to
 * control_uid, then become os_user. Started as another user than root, everything must be creatable by that user. */
int setup_identity(const struct config *cfg, const struct config_instance *inst, uid_t control_uid, int *ret_listen_fd, struct err *e) MUST_USE;

#endif
