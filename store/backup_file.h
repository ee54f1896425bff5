/* A backup of the store as one file: a head of BACKUP_HEAD_BYTES, then each database as a zstd frame.
 *
 *   head: "MHABKUP1", a JSON object (struct backup_info), zeros, and in its last 32 bytes the SHA-256 of all before
 *
 * It holds everything that the store holds, the private key of the cluster's CA among it: mode 0600, and to be kept as
 * carefully as the nodes themselves. */
#ifndef STORE_BACKUP_FILE_H
#define STORE_BACKUP_FILE_H

#include "core/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define BACKUP_HEAD_BYTES 4096
#define BACKUP_PARTS      2 /* config and mha, in this order */

struct backup_part {
	char name[16];
	uint64_t bytes, stored_bytes; /* of the database; of its frame */
	char sha256[65];              /* of the database, hexadecimal */
};

struct backup_info {
	char cluster[33], uuid[40], node[33], program[24];
	uint64_t revision;      /* commits that the node's front end had seen acknowledged */
	int64_t schema_version; /* of the database mha */
	int64_t at_ms;          /* since 1970 */
	struct backup_part parts[BACKUP_PARTS];
};

/* Write path, which must not exist yet, and sync it. data[i] are info->parts[i].bytes bytes; stored_bytes and sha256 are filled
 * in. A file that could not be finished is removed. ERR_EXISTS, ERR_IO. Blocks. */
int backup_file_write(const char *path, struct backup_info *info, const void *const data[BACKUP_PARTS], struct err *e) MUST_USE;

/* The head, checked: ERR_NOTFOUND, ERR_IO, ERR_INVAL (no backup, damaged, cut short, longer than it says). */
int backup_file_read(const char *path, struct backup_info *ret, struct err *e) MUST_USE;

/* Part i, unpacked and compared with its checksum. *ret is returned: free(). Errors as above. Blocks. */
int backup_file_read_part(const char *path, const struct backup_info *info, unsigned i, void **ret, struct err *e) MUST_USE;

/* SHA-256 in hexadecimal; buf holds 65 bytes. */
char *backup_sha256(const void *data, size_t len, char *buf);

#endif
