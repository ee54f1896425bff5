#include "store/backup_job.h"

#include "core/base/str.h"
#include "store/backup_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX    ".mhabackup"
#define NAMES_MAX 20000

int backup_job_place(struct backup_job *j, const char *to, struct err *e)
{
	const char *dir = j->config->backup.dir;
	char name[NAME_MAX], when[24];
	time_t at = (time_t)(j->info.at_ms / 1000);
	struct tm tm;
	bool is_absolute = to != NULL && to[0] == '/';

	strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", gmtime_r(&at, &tm));
	if (to == NULL || to[0] == '\0')
		snprintf(name, sizeof name, "%s-%s" SUFFIX, j->config->cluster, when);
	else if (!str_copy(name, sizeof name, to))
		return err_set(e, ERR_INVAL, "the name \"%.40s...\" is too long", to);
	if (!is_absolute && strchr(name, '/') != NULL)
		return err_set(e, ERR_INVAL, "\"%s\": give an absolute path, or a plain name in %s", name, dir);
	if ((size_t)snprintf(j->path, sizeof j->path, "%s%s%s", is_absolute ? "" : dir, is_absolute ? "" : "/", name) >=
	    sizeof j->path - 8)
		return err_set(e, ERR_INVAL, "the path of the backup is too long");
	j->is_in_dir = !is_absolute;
	if (j->is_in_dir && mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot create %s: create it and give it to the node's user (see backup in node.yaml)",
		               dir);
	if (access(j->path, F_OK) == 0)
		return err_set(e, ERR_EXISTS, "%s exists already: give another name, or move it away", j->path);
	return 0;
}

/* What counts is what can be read again. */
static int check_written(const char *path, struct err *e)
{
	struct backup_info info;
	int rc = backup_file_read(path, &info, e);

	for (unsigned i = 0; rc == 0 && i < BACKUP_PARTS; i++) {
		struct backup_db d;
		void *data;

		rc = backup_file_read_part(path, &info, i, &data, e);
		if (rc == 0)
			rc = backup_db_open(data, info.parts[i].bytes, &d, e);
		if (rc != 0)
			break;
		rc = backup_db_check(&d, e);
		backup_db_close(&d);
		if (rc != 0)
			err_wrap(e, "database %s", info.parts[i].name);
	}
	return rc;
}

static int sync_parent(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc = 0;

	str_copy(dir, sizeof dir, path);
	slash = strrchr(dir, '/');
	slash[slash == dir ? 1 : 0] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		rc = err_sys(e, errno, "cannot sync %s", dir);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

/* Names hold the time of day, so their order is that of age. Files of other names are nobody's business. */
static void remove_old(struct backup_job *j)
{
	const struct config_backup *b = &j->config->backup;
	char prefix[48], path[PATH_MAX];
	char **names = mem_alloc(NAMES_MAX * sizeof *names);
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir = opendir(b->dir);

	snprintf(prefix, sizeof prefix, "%s-20", j->config->cluster);
	while (dir != NULL && count < NAMES_MAX && (entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && len > sizeof SUFFIX &&
		    strcmp(entry->d_name + len - sizeof SUFFIX + 1, SUFFIX) == 0)
			names[count++] = mem_strdup(entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	qsort(names, count, sizeof *names, newest_first);
	for (unsigned i = 0; i < count; i++) {
		if (i >= b->keep && snprintf(path, sizeof path, "%s/%s", b->dir, names[i]) < (int)sizeof path &&
		    unlink(path) == 0)
			j->removed++;
		free(names[i]);
	}
	free(names);
}

static int finish(struct backup_job *j, const char *beside, struct err *e)
{
	struct stat st;
	int rc = check_written(beside, e);

	if (rc == 0 && rename(beside, j->path) != 0)
		rc = err_sys(e, errno, "cannot rename %s", beside);
	if (rc != 0) {
		(void)unlink(beside);
		return rc;
	}
	if (stat(j->path, &st) == 0)
		j->bytes = (uint64_t)st.st_size;
	rc = sync_parent(j->path, e);
	if (rc == 0 && j->is_in_dir)
		remove_old(j);
	return rc;
}

/* The newest version of the schema that the dumped store has. */
static int64_t schema_of(const struct backup_job *j)
{
	size_t size = j->info.parts[1].bytes;
	void *copy = malloc(size + 1);
	struct backup_db d;
	int64_t version = 0;

	if (copy == NULL)
		return 0;
	memcpy(copy, j->data[1], size);
	if (backup_db_open(copy, size, &d, NULL) == 0) {
		version = backup_db_number(&d, "SELECT max(version) FROM schema_version", 0);
		backup_db_close(&d);
	}
	return version;
}

void backup_job_run(struct backup_job *j)
{
	const void *const data[BACKUP_PARTS] = {j->data[0], j->data[1]};
	char beside[PATH_MAX + 8];
	int rc;

	snprintf(beside, sizeof beside, "%s.part", j->path);
	(void)unlink(beside); /* of an attempt that was cut off */
	j->info.schema_version = schema_of(j);
	rc = backup_file_write(beside, &j->info, data, &j->e);
	for (unsigned i = 0; i < BACKUP_PARTS; i++) {
		free(j->data[i]);
		j->data[i] = NULL;
	}
	if (rc == 0)
		rc = finish(j, beside, &j->e);
	if (rc == 0)
		j->e.code = ERR_OK;
}
