/* Small files that are there whole or not at all, whatever happens to the machine: written beside, synced, renamed, and the
 * directory synced. */
#ifndef BASE_SAVE_H
#define BASE_SAVE_H

#include "core/base/err.h"

#include <stddef.h>
#include <sys/types.h>

/* Replace path by data[len] with exactly this mode, whatever the umask. ERR_IO names the file; the old one stays. */
int save_file(const char *path, const void *data, size_t len, mode_t mode, struct err *e) MUST_USE;

/* Write all of it and sync. 0 or an errno. */
int save_write(int fd, const void *data, size_t len) MUST_USE;

/* After a rename or unlink: make it durable. */
int save_sync_parent(const char *path, struct err *e) MUST_USE;

#endif
