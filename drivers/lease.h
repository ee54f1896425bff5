/* What must survive the death of the guard while the server lives on: <run_dir>/dbd-<group>.lease, mapped into memory, so that
 * storing is a plain store (no system call that a sick disk could hold up; run_dir belongs on a tmpfs). Valid for one boot
 * only. */
#ifndef DRIVERS_LEASE_H
#define DRIVERS_LEASE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define LEASE_MAX_AHEAD_MS 60000

struct lease {
	uint64_t magic;
	char boot_id[40];
	uint64_t seen_epoch;
	uint64_t promoted_epoch;
	int64_t expires_ns; /* CLOCK_BOOTTIME, grace included; 0: none was ever given */
	uint64_t sync_since;
	int32_t server_pid;
	uint32_t may_write; /* this server was told to become primary; stays until its process has ended */
};

struct lease_file {
	struct lease *map;
	int fd;
	bool is_continued; /* a guard of this boot left it behind */
};

/* Open or create, and lock: ERR_EXISTS when another guard of this group runs. lease_close() when done. */
int lease_open(const char *path, struct lease_file *ret, struct err *e) MUST_USE;
void lease_close(struct lease_file *f);

/* The instant at which a primary must be stopped, or now_ns when the order means 'at once' (a deadline that has passed gets no
 * grace). ERR_INVAL for a deadline further ahead than LEASE_MAX_AHEAD_MS: nobody may be primary for minutes on one message. */
int lease_expiry(int64_t deadline_ns, int32_t grace_ms, int64_t now_ns, int64_t *ret_ns, struct err *e) MUST_USE;

#endif
