#include "core/base/save.h"

#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int save_write(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) == 0 ? 0 : errno;
}

int save_sync_parent(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc = ERR_OK;

	if (!str_copy(dir, sizeof dir, path))
		return err_set(e, ERR_INVAL, "path \"%.200s...\" is too long", path);
	slash = strrchr(dir, '/');
	if (slash != NULL)
		slash[slash == dir ? 1 : 0] = '\0';
	fd = open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open directory \"%s\"", dir);
	if (fsync(fd) != 0)
		rc = err_sys(e, errno, "sync directory \"%s\"", dir);
	close(fd);
	return rc;
}

int save_file(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	char beside[PATH_MAX];
	int fd, saved;

	if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
		return err_set(e, ERR_INVAL, "path \"%.200s...\" is too long", path);
	(void)unlink(beside); /* what a crash left; a new file cannot be somebody's link */
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_sys(e, errno, "cannot write \"%s\"", beside);
	saved = fchmod(fd, mode) == 0 ? save_write(fd, data, len) : errno;
	close(fd);
	if (saved == 0 && rename(beside, path) != 0)
		saved = errno;
	if (saved == 0)
		return save_sync_parent(path, e);
	(void)unlink(beside);
	return err_sys(e, saved, "cannot write \"%s\"", path);
}
