/* `mha-stored --verify FILE`: what a backup holds and whether it can be trusted, without a store. */
#ifndef STORE_BACKUP_VERIFY_H
#define STORE_BACKUP_VERIFY_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdio.h>

/* Checksums, PRAGMA integrity_check and foreign_key_check of both databases; the report goes to out, as lines or one JSON
 * object. Rows that break a foreign key are told, not an error: the store itself lets them in. */
int backup_verify(const char *path, bool is_json, FILE *out, struct err *e) MUST_USE;

#endif
