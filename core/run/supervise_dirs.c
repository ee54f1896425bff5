#include "core/run/supervise.h"

#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int find_ids(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *e)
{
	struct passwd *pw;

	*ret_uid = geteuid();
	*ret_gid = getegid();
	if (user == NULL || geteuid() != 0)
		return ERR_OK;
	pw = getpwnam(user);
	if (pw == NULL)
		return err_set(e, ERR_NOTFOUND, "the OS user \"%s\" does not exist: create it or name another one", user);
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return ERR_OK;
}

/* Parents are made too, mode 0755. */
static int make_parents(const char *path, struct err *e)
{
	char *copy = mem_strdup(path), *slash;
	int rc = ERR_OK;

	for (slash = strchr(copy + 1, '/'); rc == ERR_OK && slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			rc = err_sys(e, errno, "create directory \"%s\"", copy);
		*slash = '/';
	}
	free(copy);
	return rc;
}

/* The directory itself is opened before its owner is changed: a link put in its place must not redirect us. */
static int make_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *e)
{
	struct stat st;
	int fd, rc = make_parents(path, e);

	if (rc != ERR_OK)
		return rc;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return err_sys(e, errno, "create directory \"%s\"", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "directory \"%s\"", path);
	if (fstat(fd, &st) != 0 || (geteuid() == 0 && (st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) != 0) ||
	    ((geteuid() == 0 || st.st_uid == geteuid()) && (st.st_mode & 07777) != mode && fchmod(fd, mode) != 0))
		rc = err_sys(e, errno, "owner and mode of directory \"%s\"", path);
	close(fd);
	return rc;
}

/* run_dir: an instance's guard makes its socket there. If it runs as another user than ours, its group may write, with the
 * sticky bit; if there are several such groups, everybody may. */
static int make_run_dir(const struct config *c, uid_t uid, gid_t gid, struct err *e)
{
	mode_t mode = 0755;
	unsigned i;

	for (i = 0; i < c->instances_count; i++) {
		uid_t other_uid;
		gid_t other_gid;
		int rc = find_ids(c->instances[i].os_user, &other_uid, &other_gid, e);

		if (rc != ERR_OK)
			return err_wrap(e, "instances: group \"%s\"", c->instances[i].group);
		if (other_uid == uid || other_uid == 0)
			continue;
		mode = mode == 0755 || other_gid == gid ? 01775 : 01777;
		gid = other_gid;
	}
	return make_dir(c->run_dir, uid, gid, mode, e);
}

/* Of state_dir, all of the node's user. The roster holds no secrets, and mha-dbd reads it as another user. */
static const struct {
	const char *name;
	mode_t mode;
} state_dirs[] = {
        {"store", 0700},
        {"tls", 0700},
        {"backup", 0700},
        {"roster", 0755},
};

int supervise_make_dirs(const struct config *c, struct err *e)
{
	uid_t uid, dbd_uid;
	gid_t gid, dbd_gid;
	char path[512];
	unsigned i;
	int rc;

	rc = find_ids(c->user, &uid, &gid, e);
	if (rc != ERR_OK)
		return err_wrap(e, "user");
	rc = make_run_dir(c, uid, gid, e);
	if (rc == ERR_OK)
		rc = make_dir(c->state_dir, geteuid(), getegid(), 0755, e);
	for (i = 0; rc == ERR_OK && i < sizeof state_dirs / sizeof state_dirs[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", c->state_dir, state_dirs[i].name);
		rc = make_dir(path, uid, gid, state_dirs[i].mode, e);
	}
	for (i = 0; rc == ERR_OK && i < c->instances_count; i++) {
		rc = find_ids(c->instances[i].os_user, &dbd_uid, &dbd_gid, e);
		snprintf(path, sizeof path, "%s/dbd/%s", c->state_dir, c->instances[i].group);
		if (rc == ERR_OK)
			rc = make_dir(path, dbd_uid, dbd_gid, 0700, e);
	}
	return rc;
}

int supervise_lock(const struct config *c, int *ret_fd, struct err *e)
{
	char path[512], pid[24] = "";
	ssize_t n;
	int fd, saved;

	snprintf(path, sizeof path, "%s/mhad.lock", c->run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "lock file \"%s\"", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		saved = errno;
		n = read(fd, pid, sizeof pid - 1);
		close(fd);
		if (saved != EWOULDBLOCK)
			return err_sys(e, saved, "lock \"%s\"", path);
		pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
		return err_set(e, ERR_EXISTS,
		               "another mhad (pid %s) serves run_dir \"%s\": stop it, or give this node a run_dir of its own",
		               pid[0] != '\0' ? pid : "unknown", c->run_dir);
	}
	n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0 || write(fd, pid, (size_t)n) != n) {
		saved = errno;
		close(fd);
		return err_sys(e, saved, "write \"%s\"", path);
	}
	*ret_fd = fd;
	return ERR_OK;
}
