#include "drivers/file.h"

#include "core/base/save.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 1024
#define OPEN_DIRS 16

int file_sync_parent(const char *path, struct err *e)
{
	return save_sync_parent(path, e);
}

int file_write(const char *path, const void *data, size_t len, struct err *e)
{
	return save_file(path, data, len, 0600, e);
}

int file_read_tail(const char *path, size_t max, struct buf *out, struct err *e)
{
	char chunk[4096];
	struct stat st;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOTFOUND, "\"%s\" does not exist", path);
	if (fd < 0)
		return err_sys(e, errno, "open \"%s\"", path);
	if (fstat(fd, &st) == 0 && (size_t)st.st_size > max)
		lseek(fd, -(off_t)max, SEEK_END);
	while (max > 0 && (n = read(fd, chunk, max < sizeof chunk ? max : sizeof chunk)) > 0) {
		buf_add(out, chunk, (size_t)n);
		max -= (size_t)n;
	}
	close(fd);
	return ERR_OK;
}

int file_update(const char *path, const char *text, bool *ret_changed, struct err *e)
{
	struct buf old = {0};
	size_t len = strlen(text);
	bool is_same;

	is_same = file_read_tail(path, len + 1, &old, NULL) == ERR_OK && old.len == len &&
	          memcmp(old.data != NULL ? old.data : "", text, len) == 0;
	buf_done(&old);
	if (ret_changed != NULL)
		*ret_changed = !is_same;
	return is_same ? ERR_OK : file_write(path, text, len, e);
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int file_remove(const char *path, struct err *e)
{
	if (unlink(path) != 0) {
		if (errno == ENOENT)
			return ERR_OK;
		return err_sys(e, errno, "remove \"%s\"", path);
	}
	return file_sync_parent(path, e);
}

int file_make_dirs(const char *path, unsigned mode, struct err *e)
{
	char dir[PATH_SIZE];
	char *p;

	if (!str_copy(dir, sizeof dir, path))
		return err_set(e, ERR_INVAL, "path \"%s\" is longer than %d bytes", path, PATH_SIZE - 1);
	for (p = dir + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(dir, 0755) != 0 && errno != EEXIST)
			return err_sys(e, errno, "create directory \"%s\"", dir);
		*p = '/';
	}
	if (mkdir(dir, (mode_t)mode) != 0 && errno != EEXIST)
		return err_sys(e, errno, "create directory \"%s\"", dir);
	return ERR_OK;
}

bool file_is_empty_dir(const char *path)
{
	struct dirent *d;
	bool is_empty = true;
	DIR *dir = opendir(path);

	if (dir == NULL)
		return errno == ENOENT;
	while (is_empty && (d = readdir(dir)) != NULL)
		is_empty = strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || strcmp(d->d_name, "lost+found") == 0;
	closedir(dir);
	return is_empty;
}

static int remove_below(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level == 0 ? 0 : remove(path);
}

int file_remove_tree(const char *path, bool with_itself, struct err *e)
{
	if (!file_exists(path))
		return ERR_OK;
	if (nftw(path, remove_below, OPEN_DIRS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		return err_sys(e, errno, "remove the files below \"%s\"", path);
	if (with_itself && rmdir(path) != 0)
		return err_sys(e, errno, "remove \"%s\"", path);
	return ERR_OK;
}
