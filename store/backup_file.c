#include "store/backup_file.h"

#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define MAGIC      "MHABKUP1"
#define MAGIC_SIZE 8
#define SUM_SIZE   32
#define CHUNK      ((size_t)1 << 20)
#define LEVEL      3

char *backup_sha256(const void *data, size_t len, char *buf)
{
	unsigned char sum[SUM_SIZE];

	EVP_Digest(data, len, sum, NULL, EVP_sha256(), NULL);
	for (size_t i = 0; i < SUM_SIZE; i++)
		snprintf(buf + 2 * i, 3, "%02x", sum[i]);
	return buf;
}

/* --- writing --- */

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return errno != 0 ? errno : EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_part(int fd, struct backup_part *p, const void *data, struct err *e)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	ZSTD_inBuffer in = {data, p->bytes, 0};
	void *chunk = mem_alloc(CHUNK);
	size_t left = 1;
	int rc = 0;

	ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	while (rc == 0 && left != 0) {
		ZSTD_outBuffer out = {chunk, CHUNK, 0};

		left = ZSTD_compressStream2(z, &out, &in, ZSTD_e_end);
		if (ZSTD_isError(left))
			rc = err_set(e, ERR_NOMEM, "database %s: %s", p->name, ZSTD_getErrorName(left));
		else if (write_all(fd, chunk, out.pos) != 0)
			rc = err_sys(e, errno, "database %s", p->name);
		p->stored_bytes += out.pos;
	}
	ZSTD_freeCCtx(z);
	free(chunk);
	backup_sha256(data, p->bytes, p->sha256);
	return rc;
}

static json_t *part_json(const struct backup_part *p)
{
	return json_pack("{s:s,s:I,s:I,s:s}", "name", p->name, "bytes", (json_int_t)p->bytes, "stored_bytes",
	                 (json_int_t)p->stored_bytes, "sha256", p->sha256);
}

static int write_head(int fd, const struct backup_info *info, struct err *e)
{
	unsigned char head[BACKUP_HEAD_BYTES] = MAGIC;
	json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:[o,o]}", "format", 1, "cluster", info->cluster, "uuid",
	                      info->uuid, "node", info->node, "program", info->program, "revision", (json_int_t)info->revision,
	                      "schema_version", (json_int_t)info->schema_version, "at_ms", (json_int_t)info->at_ms, "databases",
	                      part_json(&info->parts[0]), part_json(&info->parts[1]));
	size_t len = json_dumpb(o, (char *)head + MAGIC_SIZE, sizeof head - MAGIC_SIZE - SUM_SIZE - 1, JSON_COMPACT);

	json_decref(o);
	if (len == 0 || len > sizeof head - MAGIC_SIZE - SUM_SIZE - 1)
		return err_set(e, ERR_INVAL, "the head does not fit");
	EVP_Digest(head, sizeof head - SUM_SIZE, head + sizeof head - SUM_SIZE, NULL, EVP_sha256(), NULL);
	if (pwrite(fd, head, sizeof head, 0) != (ssize_t)sizeof head)
		return err_sys(e, errno, "the head");
	return 0;
}

int backup_file_write(const char *path, struct backup_info *info, const void *const data[BACKUP_PARTS], struct err *e)
{
	static const char room[BACKUP_HEAD_BYTES];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_EXISTS, "%s exists already: give another name, or move it away", path);
	if (fd < 0)
		return err_sys(e, errno, "cannot create %s", path);
	if (write_all(fd, room, sizeof room) != 0)
		rc = err_sys(e, errno, "the head");
	for (unsigned i = 0; rc == 0 && i < BACKUP_PARTS; i++)
		rc = write_part(fd, &info->parts[i], data[i], e);
	if (rc == 0)
		rc = write_head(fd, info, e);
	if (rc == 0 && fsync(fd) != 0)
		rc = err_sys(e, errno, "sync");
	close(fd);
	if (rc != 0) {
		(void)unlink(path);
		return err_wrap(e, "cannot write %s", path);
	}
	return 0;
}

/* --- reading --- */

static bool copy_text(const json_t *o, const char *key, char *dst, size_t cap)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL && str_copy(dst, cap, s);
}

static bool copy_number(const json_t *o, const char *key, uint64_t *ret)
{
	const json_t *n = json_object_get(o, key);

	if (!json_is_integer(n) || json_integer_value(n) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(n);
	return true;
}

static bool parse_info(const json_t *o, struct backup_info *ret)
{
	static const char *const names[BACKUP_PARTS] = {"config", "mha"};
	const json_t *list = json_object_get(o, "databases");
	uint64_t schema, at;
	bool ok = copy_text(o, "cluster", ret->cluster, sizeof ret->cluster) &&
	          copy_text(o, "uuid", ret->uuid, sizeof ret->uuid) && copy_text(o, "node", ret->node, sizeof ret->node) &&
	          copy_text(o, "program", ret->program, sizeof ret->program) && copy_number(o, "revision", &ret->revision) &&
	          copy_number(o, "schema_version", &schema) && copy_number(o, "at_ms", &at) &&
	          json_array_size(list) == BACKUP_PARTS;

	for (unsigned i = 0; ok && i < BACKUP_PARTS; i++) {
		const json_t *p = json_array_get(list, i);
		struct backup_part *part = &ret->parts[i];

		ok = copy_text(p, "name", part->name, sizeof part->name) && strcmp(part->name, names[i]) == 0 &&
		     copy_number(p, "bytes", &part->bytes) && copy_number(p, "stored_bytes", &part->stored_bytes) &&
		     copy_text(p, "sha256", part->sha256, sizeof part->sha256);
	}
	if (ok) {
		ret->schema_version = (int64_t)schema;
		ret->at_ms = (int64_t)at;
	}
	return ok;
}

static int check_head(const unsigned char *head, struct backup_info *ret, struct err *e)
{
	unsigned char sum[SUM_SIZE];
	json_t *o;
	int rc = 0;

	EVP_Digest(head, BACKUP_HEAD_BYTES - SUM_SIZE, sum, NULL, EVP_sha256(), NULL);
	if (memcmp(head, MAGIC, MAGIC_SIZE - 1) != 0)
		return err_set(e, ERR_INVAL, "this is no backup of a store");
	if (memcmp(sum, head + BACKUP_HEAD_BYTES - SUM_SIZE, SUM_SIZE) != 0)
		return err_set(e, ERR_INVAL, "its head is damaged (the checksum differs)");
	if (memcmp(head, MAGIC, MAGIC_SIZE) != 0)
		return err_set(e, ERR_INVAL, "it was written by a newer version of this software");
	o = json_loads((const char *)head + MAGIC_SIZE, 0, NULL);
	if (json_integer_value(json_object_get(o, "format")) != 1 || !parse_info(o, ret))
		rc = err_set(e, ERR_INVAL, "its head does not say what this version needs: was it written by a newer one?");
	json_decref(o);
	return rc;
}

static int check_size(int fd, const struct backup_info *info, struct err *e)
{
	uint64_t expected = BACKUP_HEAD_BYTES;
	struct stat st;

	for (unsigned i = 0; i < BACKUP_PARTS; i++)
		if (info->parts[i].bytes > INT64_MAX / 4 || info->parts[i].stored_bytes > INT64_MAX / 4)
			return err_set(e, ERR_INVAL, "its head names impossible sizes");
		else
			expected += info->parts[i].stored_bytes;
	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot look at it");
	if ((uint64_t)st.st_size < expected)
		return err_set(e, ERR_INVAL, "it is cut short: it has %" PRIu64 " bytes of %" PRIu64, (uint64_t)st.st_size,
		               expected);
	if ((uint64_t)st.st_size > expected)
		return err_set(e, ERR_INVAL, "it is longer than it says: %" PRIu64 " bytes, not %" PRIu64, (uint64_t)st.st_size,
		               expected);
	return 0;
}

static int open_file(const char *path, int *ret, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOTFOUND, "%s: there is no such file", path);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	*ret = fd;
	return 0;
}

int backup_file_read(const char *path, struct backup_info *ret, struct err *e)
{
	unsigned char head[BACKUP_HEAD_BYTES];
	struct backup_info info = {0};
	ssize_t n;
	int fd, rc = open_file(path, &fd, e);

	if (rc != 0)
		return rc;
	n = pread(fd, head, sizeof head, 0);
	if (n < 0)
		rc = err_sys(e, errno, "cannot read it");
	else if (n < (ssize_t)sizeof head)
		rc = n >= MAGIC_SIZE && memcmp(head, MAGIC, MAGIC_SIZE) == 0
		             ? err_set(e, ERR_INVAL, "it is cut short: it has %zd bytes, its head alone has %d", n,
		                       BACKUP_HEAD_BYTES)
		             : err_set(e, ERR_INVAL, "this is no backup of a store");
	else
		rc = check_head(head, &info, e);
	if (rc == 0)
		rc = check_size(fd, &info, e);
	close(fd);
	if (rc != 0)
		return err_wrap(e, "%s", path);
	*ret = info;
	return 0;
}

/* Unpack the frame that stands at fd into data[p->bytes]. */
static int unpack(int fd, const struct backup_part *p, char *data, struct err *e)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	ZSTD_outBuffer out = {data, p->bytes, 0};
	void *chunk = mem_alloc(CHUNK);
	uint64_t left = p->stored_bytes;
	size_t state = 1;
	int rc = 0;

	while (rc == 0 && left > 0) {
		ssize_t n = read(fd, chunk, left < CHUNK ? (size_t)left : CHUNK);
		ZSTD_inBuffer in = {chunk, n > 0 ? (size_t)n : 0, 0};

		if (n <= 0)
			rc = err_sys(e, n < 0 ? errno : EIO, "database %s: cannot read it", p->name);
		for (left -= in.size; rc == 0 && in.pos < in.size;) {
			state = ZSTD_decompressStream(z, &out, &in);
			if (ZSTD_isError(state))
				rc = err_set(e, ERR_INVAL, "database %s is damaged: %s", p->name, ZSTD_getErrorName(state));
			else if (in.pos < in.size && (state == 0 || out.pos == out.size))
				rc = err_set(e, ERR_INVAL, "database %s is damaged: it is longer than the head says", p->name);
		}
	}
	if (rc == 0 && (state != 0 || out.pos != out.size))
		rc = err_set(e, ERR_INVAL, "database %s is damaged: it ends early", p->name);
	ZSTD_freeDCtx(z);
	free(chunk);
	return rc;
}

int backup_file_read_part(const char *path, const struct backup_info *info, unsigned i, void **ret, struct err *e)
{
	const struct backup_part *p = &info->parts[i];
	off_t at = BACKUP_HEAD_BYTES;
	char sum[65];
	void *data;
	int fd, rc = open_file(path, &fd, e);

	if (rc != 0)
		return rc;
	for (unsigned k = 0; k < i; k++)
		at += (off_t)info->parts[k].stored_bytes;
	data = malloc(p->bytes + 1);
	if (data == NULL)
		rc = err_set(e, ERR_NOMEM, "database %s has %" PRIu64 " bytes: there is not enough memory", p->name, p->bytes);
	else if (lseek(fd, at, SEEK_SET) != at)
		rc = err_sys(e, errno, "cannot read it");
	else
		rc = unpack(fd, p, data, e);
	if (rc == 0 && strcmp(backup_sha256(data, p->bytes, sum), p->sha256) != 0)
		rc = err_set(e, ERR_INVAL, "database %s is damaged: its checksum differs", p->name);
	close(fd);
	if (rc != 0) {
		free(data);
		return err_wrap(e, "%s", path);
	}
	*ret = data;
	return 0;
}
