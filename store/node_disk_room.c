/* Raft needs room for its next segments before it can start. */
#include "store/node_disk.h"

#include "core/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NEEDED_BYTES ((uint64_t)32 << 20)
#define LOOK_S       1

static bool has_room(const char *dir, uint64_t *ret_free)
{
	struct statvfs fs;

	if (statvfs(dir, &fs) != 0)
		return true; /* not there yet: the start says what is wrong */
	*ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	return *ret_free >= NEEDED_BYTES;
}

void node_disk_wait_for_room(const struct config *c)
{
	char dir[PATH_MAX];
	uint64_t bytes = 0;

	snprintf(dir, sizeof dir, "%s/store", c->state_dir);
	if (has_room(dir, &bytes))
		return;
	log_error("store",
	          "the disk is full under %s: %" PRIu64 " MB are free, the store needs %" PRIu64
	          " MB to start -> it waits; free some space, it then starts by itself",
	          dir, bytes >> 20, NEEDED_BYTES >> 20);
	while (!has_room(dir, &bytes))
		sleep(LOOK_S);
	log_info("store", "there is room again under %s: %" PRIu64 " MB -> the store starts", dir, bytes >> 20);
}
