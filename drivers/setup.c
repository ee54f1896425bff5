#include "drivers/setup.h"

#include "core/base/seqsock.h"
#include "drivers/driver.h"
#include "drivers/file.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is appended to them fits into DRIVER_PATH_SIZE. */
#define PATH_MAX_LEN 384

/* The user to become, NULL when that is us already. */
static int find_user(const struct config_instance *inst, struct passwd **ret, struct err *e)
{
	struct passwd *pw = inst->os_user != NULL ? getpwnam(inst->os_user) : NULL;

	if (inst->os_user != NULL && pw == NULL)
		return err_set(e, ERR_NOTFOUND, "os_user: the OS user \"%s\" does not exist: create it or name another one",
		               inst->os_user);
	if (pw != NULL && pw->pw_uid != geteuid() && geteuid() != 0)
		return err_set(e, ERR_REFUSED, "os_user: only root can become \"%s\": start mha-dbd as root or as that user",
		               inst->os_user);
	*ret = geteuid() == 0 ? pw : NULL;
	return ERR_OK;
}

static int make_dir_for(const char *path, unsigned mode, const struct passwd *pw, struct err *e)
{
	int rc = file_make_dirs(path, mode, e);

	if (rc == ERR_OK && pw != NULL && chown(path, pw->pw_uid, pw->pw_gid) != 0)
		return err_sys(e, errno, "give \"%s\" to \"%s\"", path, pw->pw_name);
	return rc;
}

static int make_all(const struct config *cfg, const struct config_instance *inst, const struct passwd *pw, struct err *e)
{
	char path[DRIVER_PATH_SIZE];
	int rc;

	if (strlen(cfg->state_dir) > PATH_MAX_LEN || strlen(cfg->run_dir) > PATH_MAX_LEN ||
	    strlen(inst->data_dir) > PATH_MAX_LEN || strlen(inst->bin_dir) > PATH_MAX_LEN)
		return err_set(e, ERR_INVAL, "state_dir, run_dir, data_dir and bin_dir may have %d bytes at most",
		               PATH_MAX_LEN);
	/* The parents stay root's; only the leaves belong to the server's user. */
	rc = file_make_dirs(cfg->run_dir, 0755, e);
	if (rc != ERR_OK)
		return rc;
	snprintf(path, sizeof path, "%s/dbd/%s", cfg->state_dir, inst->group);
	rc = make_dir_for(path, 0700, pw, e);
	if (rc != ERR_OK)
		return err_wrap(e, "state_dir");
	snprintf(path, sizeof path, "%s/%s", cfg->run_dir, inst->group);
	rc = make_dir_for(path, 0700, pw, e);
	if (rc != ERR_OK)
		return err_wrap(e, "run_dir");
	snprintf(path, sizeof path, "%s/dbd-%s.lease", cfg->run_dir, inst->group);
	if (pw != NULL && access(path, F_OK) != 0) {
		FILE *f = fopen(path, "we");

		if (f == NULL)
			return err_sys(e, errno, "create \"%s\"", path);
		fclose(f);
	}
	if (pw != NULL && chown(path, pw->pw_uid, pw->pw_gid) != 0)
		return err_sys(e, errno, "give \"%s\" to \"%s\"", path, pw->pw_name);
	return ERR_OK;
}

int setup_become(const struct config_instance *inst, struct err *e)
{
	struct passwd *pw;
	int rc = find_user(inst, &pw, e);

	if (rc != ERR_OK || pw == NULL)
		return rc;
	if (initgroups(pw->pw_name, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
		return err_sys(e, errno, "become the OS user \"%s\"", pw->pw_name);
	return ERR_OK;
}

/* The socket's mode is a first gate only; who may give orders is decided by the uid that the kernel reports for each
 * connection. So where the socket cannot be given to the control process' user, everybody may knock. */
int setup_listen(const struct config *cfg, const struct config_instance *inst, uid_t control_uid, int *ret_fd, struct err *e)
{
	char path[108];
	int fd, rc;

	config_path_dbd(cfg, inst->group, path);
	rc = seq_listen(path, &fd, e);
	if (rc != ERR_OK)
		return rc;
	if (control_uid != geteuid() && chown(path, control_uid, (gid_t)-1) != 0 && chmod(path, 0666) != 0) {
		rc = err_sys(e, errno, "open \"%s\" to uid %d", path, (int)control_uid);
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return ERR_OK;
}

int setup_dirs(const struct config *cfg, const struct config_instance *inst, struct err *e)
{
	struct passwd *pw;
	int rc = find_user(inst, &pw, e);

	if (rc == ERR_OK)
		rc = make_all(cfg, inst, pw, e);
	if (rc == ERR_OK && pw != NULL && !file_exists(inst->data_dir))
		rc = make_dir_for(inst->data_dir, 0700, pw, e);
	return rc;
}
