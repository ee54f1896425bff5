#include "store/node_disk.h"
#include "core/base/roster.h"
#include "core/base/str.h"
#include "store/net.h"
#include "store/node_dqlite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_MODE  0700
#define LOCK_MODE 0600

/* --- files --- */

/* is_writable: it is ours to write in; state_dir itself belongs to the supervisor. */
static int make_dir(const char *path, bool is_writable, struct err *e)
{
	struct stat st;

	if (mkdir(path, DIR_MODE) != 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot create %s (see state_dir in node.yaml)", path);
	if (stat(path, &st) != 0)
		return err_sys(e, errno, "cannot look at %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_IO, "%s is not a directory: move it away (see state_dir in node.yaml)", path);
	if (access(path, is_writable ? R_OK | W_OK | X_OK : X_OK) != 0)
		return err_sys(e, errno, "%s cannot be used by user id %u: give it to that user", path, (unsigned)geteuid());
	return 0;
}

static int lock_dir(struct node_disk *d, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/lock", d->dir);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
	if (d->lock_fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_REFUSED, "%s is in use by another mha-stored: stop that one first", d->dir);
	return 0;
}

/* Anything that raft wrote; its lock file alone is no data. */
static bool has_data(const char *dir)
{
	DIR *handle = opendir(dir);
	struct dirent *entry;
	bool found = false;

	if (handle == NULL)
		return false;
	while (!found && (entry = readdir(handle)) != NULL)
		found = entry->d_name[0] != '.' && strcmp(entry->d_name, "dqlite-lock") != 0;
	closedir(handle);
	return found;
}

int node_disk_save(struct node_disk *d, struct err *e)
{
	return identity_save(d->identity_path, &d->identity, e);
}

/* --- who am I --- */

static int check_names(const struct node_disk *d, struct err *e)
{
	const struct identity *id = &d->identity;

	if (strcmp(id->name, d->config->node) != 0)
		return err_set(e, ERR_REFUSED,
		               "%s belongs to node \"%s\", node.yaml says \"%s\": correct node or state_dir in node.yaml",
		               d->identity_path, id->name, d->config->node);
	if (id->state != IDENTITY_FRESH && strcmp(id->cluster, d->config->cluster) != 0)
		return err_set(e, ERR_REFUSED,
		               "%s belongs to cluster \"%s\", node.yaml says \"%s\": correct cluster or state_dir in node.yaml",
		               d->identity_path, id->cluster, d->config->cluster);
	return 0;
}

/* The cluster has been told of the new address: this very member is listed with it. */
static bool is_moved(const struct node_disk *d, const char *address)
{
	struct roster *r = mem_alloc(sizeof *r);
	bool is_found = false;
	char id[24], listed[NET_ADDRESS_CAP];
	unsigned i;

	snprintf(id, sizeof id, "%llu", (unsigned long long)d->identity.id);
	if (roster_load(d->config, r, NULL) == ERR_OK && strcmp(r->uuid, d->identity.cluster_uuid) == 0)
		for (i = 0; i < r->count; i++)
			is_found |= strcmp(r->nodes[i].name, d->identity.name) == 0 && strcmp(r->nodes[i].raft_id, id) == 0 &&
			            strcmp(net_format(r->nodes[i].address, r->nodes[i].raft_port, listed), address) == 0;
	free(r);
	return is_found;
}

static int check_address(struct node_disk *d, const char *address, struct err *e)
{
	struct identity *id = &d->identity;

	if (strcmp(id->address, address) == 0)
		return 0;
	if (id->state == IDENTITY_FRESH || is_moved(d, address)) {
		str_copy(id->address, sizeof id->address, address);
		return node_disk_save(d, e);
	}
	return err_set(e, ERR_REFUSED,
	               "the cluster knows node \"%s\" at %s, node.yaml says %s: tell the cluster "
	               "(mha-shell node move %s ADDRESS) or restore address and ports.raft",
	               id->name, id->address, address, id->name);
}

/* What the data on disk says about the recorded state. The one thing that must not pass is an old member without its data: it
 * would vote again in a term in which it has voted, and help elect a leader that lacks acknowledged writes. */
static int check_data(struct node_disk *d, struct err *e)
{
	struct identity *id = &d->identity;
	bool is_data_there = has_data(d->data_dir);

	switch (id->state) {
	case IDENTITY_MEMBER:
		if (!is_data_there)
			return err_set(e, ERR_REFUSED,
			               "node \"%s\" was a member of cluster \"%s\", but its data in %s is gone: bring the data "
			               "back, "
			               "or remove the node from the cluster, delete %s and add the node anew",
			               id->name, id->cluster, d->data_dir, d->identity_path);
		return 0;
	case IDENTITY_FRESH:
		if (is_data_there)
			return err_set(e, ERR_REFUSED,
			               "%s holds data that does not belong to %s: move it away, or restore the file that "
			               "belongs to it",
			               d->data_dir, d->identity_path);
		return 0;
	case IDENTITY_INITIALISING:
		/* The data appears whole (renamed) or not at all, and nothing was acknowledged before it did. */
		id->state = is_data_there ? IDENTITY_MEMBER : IDENTITY_FRESH;
		return node_disk_save(d, e);
	case IDENTITY_JOINING:
		if (!is_data_there)
			return 0;
		id->state = IDENTITY_MEMBER;
		return node_disk_save(d, e);
	}
	return 0;
}

static int create_identity(struct node_disk *d, const char *address, struct err *e)
{
	int rc;

	if (has_data(d->data_dir))
		return err_set(e, ERR_REFUSED,
		               "%s holds a store, but %s is missing: restore that file, or move the data away to start as a "
		               "new node",
		               d->data_dir, d->identity_path);
	rc = identity_create(d->config->node, address, &d->identity, e);
	if (rc == 0)
		rc = node_disk_save(d, e);
	return rc;
}

static int read_identity(struct node_disk *d, struct err *e)
{
	char address[NET_ADDRESS_CAP];
	int rc = node_disk_settle_swap(d, e);

	if (rc == 0)
		rc = identity_load(d->identity_path, &d->identity, e);
	net_format(d->config->address, d->config->ports.raft, address);
	if (rc == ERR_NOTFOUND)
		return create_identity(d, address, e);
	if (rc == 0)
		rc = check_names(d, e);
	if (rc == 0)
		rc = check_address(d, address, e);
	if (rc == 0)
		rc = check_data(d, e);
	return rc;
}

bool node_disk_has_data(const struct node_disk *d)
{
	return has_data(d->data_dir);
}

/* --- opening --- */

int node_disk_open(struct node_disk *d, const struct config *c, struct err *e)
{
	int rc;

	d->config = c;
	d->lock_fd = -1;
	if (snprintf(d->dir, sizeof d->dir, "%s/store", c->state_dir) >= (int)sizeof d->dir)
		return err_set(e, ERR_INVAL, "state_dir %s is too long", c->state_dir);
	snprintf(d->data_dir, sizeof d->data_dir, "%s/raft", d->dir);
	snprintf(d->identity_path, sizeof d->identity_path, "%s/node.json", d->dir);
	rc = make_dir(c->state_dir, false, e);
	if (rc == 0)
		rc = make_dir(d->dir, true, e);
	if (rc == 0)
		rc = lock_dir(d, e);
	if (rc == 0)
		rc = read_identity(d, e);
	if (rc == 0)
		rc = make_dir(d->data_dir, true, e);
	return rc;
}

void node_disk_close(struct node_disk *d)
{
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	d->lock_fd = -1;
}

/* --- a new cluster --- */

/* What a crashed attempt left behind. Only flat files can be in it. */
static int remove_dir(const char *path, struct err *e)
{
	char file[PATH_MAX];
	DIR *handle = opendir(path);
	struct dirent *entry;

	if (handle == NULL)
		return errno == ENOENT ? 0 : err_sys(e, errno, "cannot read %s", path);
	while ((entry = readdir(handle)) != NULL)
		if (entry->d_name[0] != '.' && snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < (int)sizeof file)
			(void)unlink(file);
	closedir(handle);
	if (rmdir(path) != 0)
		return err_sys(e, errno, "cannot remove %s", path);
	return 0;
}

static int sync_dir(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || fsync(fd) != 0)
		rc = err_sys(e, errno, "cannot sync %s", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void path_beside(const struct node_disk *d, char *buf)
{
	snprintf(buf, PATH_MAX, "%s/raft.new", d->dir);
}

int node_disk_bootstrap_beside(struct node_disk *d, char *ret_dir, struct err *e)
{
	struct node_dqlite_params p = {.id = d->identity.id, .address = d->identity.address, .dir = ret_dir};
	int rc;

	path_beside(d, ret_dir);
	rc = remove_dir(ret_dir, e);
	if (rc == 0)
		rc = make_dir(ret_dir, true, e);
	return rc == 0 ? node_dqlite_bootstrap(&p, e) : rc;
}

int node_disk_adopt(struct node_disk *d, struct err *e)
{
	char beside[PATH_MAX];
	int rc;

	path_beside(d, beside);
	rc = sync_dir(beside, e);
	if (rc == 0)
		rc = remove_dir(d->data_dir, e); /* it holds a lock file at most: the state was fresh */
	if (rc == 0 && rename(beside, d->data_dir) != 0)
		rc = err_sys(e, errno, "cannot rename %s", beside);
	if (rc == 0)
		rc = sync_dir(d->dir, e);
	return rc;
}
