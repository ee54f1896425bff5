#include "core/run/trust_files.h"

#include "core/base/log.h"
#include "core/base/pki.h"
#include "core/base/save.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64 * 1024)
#define SUFFIX   ".new"

static int open_dir(const struct config *c, int *ret_fd, struct err *e)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof path, "%s/tls", c->state_dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "directory %s does not exist", path)
		                       : err_sys(e, errno, "directory %s", path);
	*ret_fd = fd;
	return ERR_OK;
}

/* --- directories --- */

static int make_dir(const char *path, const struct passwd *owner, mode_t mode, struct err *e)
{
	int fd, rc = ERR_OK;

	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return err_sys(e, errno, "create directory %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "directory %s", path);
	if ((owner != NULL && fchown(fd, owner->pw_uid, owner->pw_gid) != 0) || fchmod(fd, mode) != 0)
		rc = err_sys(e, errno, "owner and mode of directory %s", path);
	close(fd);
	return rc;
}

/* Of state_dir, mode 0755, as far as they are missing. */
static int make_parents(const char *dir, struct err *e)
{
	char *copy = mem_strdup(dir), *slash = copy;
	int rc = ERR_OK;

	while (rc == ERR_OK && slash != NULL) {
		slash = strchr(slash + 1, '/');
		if (slash != NULL)
			*slash = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			rc = err_sys(e, errno, "create directory %s", copy);
		if (slash != NULL)
			*slash = '/';
	}
	free(copy);
	return rc;
}

int trust_files_make_dirs(const struct config *c, struct err *e)
{
	const struct passwd *owner = NULL;
	char path[PATH_MAX];
	int rc;

	if (geteuid() == 0 && c->user != NULL && (owner = getpwnam(c->user)) == NULL)
		return err_set(e, ERR_NOTFOUND, "user: the OS user \"%s\" does not exist: create it or name another one",
		               c->user);
	rc = make_parents(c->state_dir, e);
	snprintf(path, sizeof path, "%s/tls", c->state_dir);
	if (rc == ERR_OK)
		rc = make_dir(path, owner, 0700, e);
	snprintf(path, sizeof path, "%s/roster", c->state_dir);
	return rc == ERR_OK ? make_dir(path, owner, 0755, e) : rc;
}

/* --- writing --- */

/* NAME.new, complete on disk, with the owner of the directory: `mhad join` runs as root, the node does not. */
static int write_beside(int dir, const char *name, const char *text, struct err *e)
{
	char beside[64];
	struct stat st;
	int fd, saved = 0;

	snprintf(beside, sizeof beside, "%s" SUFFIX, name);
	(void)unlinkat(dir, beside, 0);
	fd = openat(dir, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "cannot write tls/%s", beside);
	if (fstat(dir, &st) != 0 || (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) != 0))
		saved = errno;
	if (saved == 0)
		saved = save_write(fd, text, strlen(text));
	close(fd);
	if (saved == 0)
		return ERR_OK;
	(void)unlinkat(dir, beside, 0);
	return err_sys(e, saved, "cannot write tls/%s", beside);
}

static int take_place(int dir, const char *name, struct err *e)
{
	char beside[64];

	snprintf(beside, sizeof beside, "%s" SUFFIX, name);
	if (renameat(dir, beside, dir, name) != 0)
		return err_sys(e, errno, "cannot rename tls/%s", beside);
	return ERR_OK;
}

int trust_files_save(const struct config *c, const char *name, const char *text, struct err *e)
{
	int dir, rc = open_dir(c, &dir, e);

	if (rc != ERR_OK)
		return rc;
	rc = write_beside(dir, name, text, e);
	if (rc == ERR_OK)
		rc = take_place(dir, name, e);
	if (rc == ERR_OK && fsync(dir) != 0)
		rc = err_sys(e, errno, "cannot sync the directory tls");
	close(dir);
	return rc;
}

int trust_files_save_pair(const struct config *c, const struct trust_pair *p, struct err *e)
{
	struct buf chain = {0};
	int dir, rc = open_dir(c, &dir, e);

	if (rc != ERR_OK)
		return rc;
	buf_printf(&chain, "%s%s", p->cert, p->ca);
	rc = write_beside(dir, TRUST_KEY, p->key, e);
	if (rc == ERR_OK)
		rc = write_beside(dir, TRUST_CERT, chain.data, e);
	buf_done(&chain);
	/* The certificate last: while it is NAME.new, trust_files_repair can tell that it is the one for the key. */
	if (rc == ERR_OK)
		rc = take_place(dir, TRUST_KEY, e);
	if (rc == ERR_OK)
		rc = take_place(dir, TRUST_CERT, e);
	if (rc == ERR_OK && fsync(dir) != 0)
		rc = err_sys(e, errno, "cannot sync the directory tls");
	close(dir);
	return rc;
}

void trust_files_repair(const struct config *c)
{
	char *ca = NULL, *key = NULL, *cert = NULL;
	struct err e = ERR_INIT;
	int dir;

	if (open_dir(c, &dir, &e) != ERR_OK)
		return;
	if (trust_files_load(c, TRUST_CERT SUFFIX, &cert, &e) == ERR_OK && trust_files_load(c, TRUST_KEY, &key, &e) == ERR_OK &&
	    trust_files_load(c, TRUST_CA, &ca, &e) == ERR_OK && pki_check(ca, cert, key, &e) == ERR_OK &&
	    take_place(dir, TRUST_CERT, &e) == ERR_OK)
		log_info("tls", "the change of this node's certificate, interrupted by a crash, is complete");
	(void)unlinkat(dir, TRUST_CERT SUFFIX, 0);
	(void)unlinkat(dir, TRUST_KEY SUFFIX, 0);
	(void)unlinkat(dir, TRUST_CA SUFFIX, 0);
	if (key != NULL)
		explicit_bzero(key, strlen(key));
	free(key);
	free(cert);
	free(ca);
	close(dir);
}

/* --- reading --- */

static int read_open_file(int fd, char **ret)
{
	char *text = mem_alloc(FILE_MAX + 1);
	size_t len = 0;
	ssize_t n = 1;

	while (len < FILE_MAX && (n = read(fd, text + len, FILE_MAX - len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len += (size_t)n;
	}
	if (n != 0) { /* an error, or more than there may be */
		n = n < 0 ? errno : EFBIG;
		free(text);
		return (int)n;
	}
	*ret = text;
	return 0;
}

static int load_at(int dir, const char *name, char **ret, struct err *e)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), saved;

	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s does not exist", name)
		                       : err_sys(e, errno, "cannot read %s", name);
	saved = read_open_file(fd, ret);
	close(fd);
	return saved == 0 ? ERR_OK : err_sys(e, saved, "cannot read %s", name);
}

int trust_files_load(const struct config *c, const char *name, char **ret, struct err *e)
{
	int dir, rc = open_dir(c, &dir, e);

	if (rc != ERR_OK)
		return rc;
	rc = load_at(dir, name, ret, e);
	close(dir);
	return rc;
}

int trust_read_file(const char *path, char **ret, struct err *e)
{
	return load_at(AT_FDCWD, path, ret, e);
}

bool trust_files_has(const struct config *c, const char *name)
{
	bool is_there;
	int dir;

	if (open_dir(c, &dir, NULL) != ERR_OK)
		return false;
	is_there = faccessat(dir, name, F_OK, 0) == 0;
	close(dir);
	return is_there;
}

void trust_files_remove(const struct config *c, const char *name)
{
	int dir;

	if (open_dir(c, &dir, NULL) != ERR_OK)
		return;
	(void)unlinkat(dir, name, 0);
	(void)fsync(dir);
	close(dir);
}
