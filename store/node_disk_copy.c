/* Data that is changed in a copy and then takes the place of the old one. */
#include "store/node_disk.h"

#include "core/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER ".identity" /* in the data directory: who it belongs to, from the swap until node.json says so */

static int copy_file(const char *from, const char *to, struct err *e)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;
	ssize_t n = 1;

	if (in < 0 || out < 0)
		rc = err_sys(e, errno, "cannot copy %s to %s", from, to);
	while (rc == 0 && n > 0) {
		n = sendfile(out, in, NULL, (size_t)1 << 24);
		if (n < 0)
			rc = err_sys(e, errno, "cannot copy %s", from);
	}
	if (rc == 0 && fsync(out) != 0)
		rc = err_sys(e, errno, "cannot sync %s", to);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return rc;
}

/* Flat files only. */
static int empty_dir(const char *path, struct err *e)
{
	char file[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot create %s", path);
	dir = opendir(path);
	if (dir == NULL)
		return err_sys(e, errno, "cannot read %s", path);
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < (int)sizeof file)
			(void)unlink(file);
	closedir(dir);
	return 0;
}

int node_disk_copy_data(struct node_disk *d, char *ret_dir, struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int rc;

	snprintf(ret_dir, PATH_MAX, "%s/raft.copy", d->dir);
	rc = empty_dir(ret_dir, e);
	if (rc != 0)
		return rc;
	dir = opendir(d->data_dir);
	if (dir == NULL)
		return err_sys(e, errno, "cannot read %s", d->data_dir);
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "dqlite-lock") == 0)
			continue;
		if (snprintf(from, sizeof from, "%s/%s", d->data_dir, entry->d_name) < (int)sizeof from &&
		    snprintf(to, sizeof to, "%s/%s", ret_dir, entry->d_name) < (int)sizeof to)
			rc = copy_file(from, to, e);
	}
	closedir(dir);
	return rc;
}

int node_disk_settle_swap(struct node_disk *d, struct err *e)
{
	char marker[PATH_MAX + 16];
	struct identity id;
	int rc;

	snprintf(marker, sizeof marker, "%s/" MARKER, d->data_dir);
	if (access(marker, F_OK) != 0)
		return 0;
	rc = identity_load(marker, &id, e);
	if (rc == 0)
		rc = identity_save(d->identity_path, &id, e);
	if (rc == 0 && unlink(marker) != 0)
		rc = err_sys(e, errno, "cannot remove %s", marker);
	return rc;
}

/* The identity travels in the directory that is exchanged: there is no instant at which the two do not belong together. */
int node_disk_swap(struct node_disk *d, const char *copy, const struct identity *id, struct err *e)
{
	char marker[PATH_MAX + 16];
	int rc;

	snprintf(marker, sizeof marker, "%s/" MARKER, copy);
	rc = identity_save(marker, id, e); /* syncs the directory too */
	if (rc != 0)
		return rc;
	if (renameat2(AT_FDCWD, copy, AT_FDCWD, d->data_dir, RENAME_EXCHANGE) != 0)
		return err_sys(e, errno, "cannot exchange %s and %s; nothing was changed", copy, d->data_dir);
	rc = node_disk_settle_swap(d, e);
	if (rc == 0)
		d->identity = *id;
	return rc;
}
