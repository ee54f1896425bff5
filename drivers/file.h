/* Small files that must be whole and durable. */
#ifndef DRIVERS_FILE_H
#define DRIVERS_FILE_H

#include "core/base/err.h"
#include "core/base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Replace path by data: temporary file, fsync, rename, fsync of the directory. Mode 0600. */
int file_write(const char *path, const void *data, size_t len, struct err *e) MUST_USE;

/* Like file_write, but an unchanged file is left alone; *ret_changed (may be NULL) says whether it was written. */
int file_update(const char *path, const char *text, bool *ret_changed, struct err *e) MUST_USE;

/* Append up to max bytes of the end of the file to out. ERR_NOTFOUND when there is none. */
int file_read_tail(const char *path, size_t max, struct buf *out, struct err *e) MUST_USE;

bool file_exists(const char *path);

/* Remove a file durably; a missing one is fine. */
int file_remove(const char *path, struct err *e) MUST_USE;

/* mkdir -p with this mode; an existing directory is fine. */
int file_make_dirs(const char *path, unsigned mode, struct err *e) MUST_USE;

/* True for a missing directory as well. */
bool file_is_empty_dir(const char *path);

/* Remove everything below path; with_itself: the directory too. Does not cross file systems, does not follow links. */
int file_remove_tree(const char *path, bool with_itself, struct err *e) MUST_USE;

/* fsync the directory that holds path. */
int file_sync_parent(const char *path, struct err *e) MUST_USE;

#endif
