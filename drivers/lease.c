#include "drivers/lease.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEASE_MAGIC UINT64_C(0x31657361656c646d)

static int read_boot_id(char *buf, size_t cap, struct err *e)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return err_sys(e, errno, "open /proc/sys/kernel/random/boot_id");
	memset(buf, 0, cap);
	n = read(fd, buf, cap - 1);
	close(fd);
	if (n <= 0)
		return err_set(e, ERR_IO, "/proc/sys/kernel/random/boot_id is empty");
	return ERR_OK;
}

static int map_file(int fd, const char *path, struct lease **ret, struct err *e)
{
	void *p;

	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_EXISTS, "\"%s\" is locked: another mha-dbd serves this group", path);
	if (ftruncate(fd, sizeof(struct lease)) != 0)
		return err_sys(e, errno, "resize \"%s\"", path);
	p = mmap(NULL, sizeof(struct lease), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "map \"%s\"", path);
	*ret = p;
	return ERR_OK;
}

int lease_open(const char *path, struct lease_file *ret, struct err *e)
{
	char boot_id[sizeof ret->map->boot_id];
	struct lease *map = NULL;
	int fd, rc;

	rc = read_boot_id(boot_id, sizeof boot_id, e);
	if (rc != ERR_OK)
		return rc;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "open \"%s\"", path);
	rc = map_file(fd, path, &map, e);
	if (rc != ERR_OK) {
		close(fd);
		return rc;
	}
	ret->is_continued = map->magic == LEASE_MAGIC && memcmp(map->boot_id, boot_id, sizeof boot_id) == 0;
	if (!ret->is_continued) {
		memset(map, 0, sizeof *map);
		memcpy(map->boot_id, boot_id, sizeof boot_id);
		map->magic = LEASE_MAGIC;
	}
	ret->map = map;
	ret->fd = fd;
	return ERR_OK;
}

void lease_close(struct lease_file *f)
{
	if (f->map != NULL) {
		munmap(f->map, sizeof *f->map);
		close(f->fd);
	}
	f->map = NULL;
}

int lease_expiry(int64_t deadline_ns, int32_t grace_ms, int64_t now_ns, int64_t *ret_ns, struct err *e)
{
	int64_t limit = now_ns + LEASE_MAX_AHEAD_MS * CLOCK_NS_PER_MS;

	if (grace_ms < 0)
		return err_set(e, ERR_INVAL, "grace of %d ms: it cannot be negative", grace_ms);
	if (deadline_ns <= now_ns) {
		*ret_ns = now_ns;
		return ERR_OK;
	}
	if (deadline_ns > limit || deadline_ns + grace_ms * CLOCK_NS_PER_MS > limit)
		return err_set(e, ERR_INVAL, "a lease that ends in %lld ms plus %d ms of grace: at most %d ms may be given",
		               (long long)((deadline_ns - now_ns) / CLOCK_NS_PER_MS), grace_ms, LEASE_MAX_AHEAD_MS);
	*ret_ns = deadline_ns + grace_ms * CLOCK_NS_PER_MS;
	return ERR_OK;
}
