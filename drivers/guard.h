/* The guard: keeps the database server's lease and is its parent. One epoll loop; nothing in it waits for a disk, a database or
 * another process while a server runs, because it must be able to stop a primary at the deadline whatever hangs. All that may
 * hang is done by two worker processes, which it kills and replaces. Internal header of guard*.c. */
#ifndef DRIVERS_GUARD_H
#define DRIVERS_GUARD_H

#include "core/base/spawn.h"
#include "drivers/driver.h"
#include "drivers/epoch.h"
#include "drivers/lease.h"
#include "drivers/work_msg.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define GUARD_NEVER INT64_MAX

/* A worker process: the prober, or the one that runs verbs. */
struct helper {
	const char *task; /* "probe" or "verb", as on its command line */
	struct spawned proc;
	int sock;     /* -1: not running */
	uint32_t seq; /* of the question it has not answered, 0: idle */
	uint32_t last_seq;
	int64_t until_ns;      /* when it is killed for not answering */
	int64_t restart_at_ns; /* not before, after it died */
	unsigned failures;     /* deaths since its last answer: it is restarted more and more slowly */
};

struct server {
	pid_t pid; /* 0: stopped, then phase says STOPPED */
	int pidfd;
	uint8_t phase;           /* enum dbd_process */
	bool is_fenced;          /* a fence is under way */
	int64_t immediate_at_ns; /* the present stop becomes immediate, then SIGKILL */
	int64_t kill_at_ns;
	int64_t leftovers_at_ns; /* children of a dead server are being killed: look again then */
	char ended[96];          /* how the last one ended */
};

/* The verb in progress. */
struct pending {
	uint16_t type; /* 0: none */
	uint32_t seq;
	int64_t since_ns;
	int64_t until_ns;      /* stop only; a worker's verbs are limited by its until_ns */
	bool is_waiting_probe; /* stop only: the server has ended, its files are being read */
	bool was_writable;     /* promote only: may_write before it */
};

struct guard {
	const struct config *cfg;
	const struct config_instance *inst;
	const struct driver *driver;
	const char *config_path;
	char self[PATH_MAX];     /* this program */
	char real_dir[PATH_MAX]; /* data directory, for finding its processes */
	char obj[64];            /* "group main", for logs */
	char socket_path[108];
	char log_path[DRIVER_PATH_SIZE];
	uid_t control_uid; /* of the configured user */
	int epoll_fd, listen_fd, control_fd, signal_fd, lease_timer_fd, tick_fd;
	struct lease_file lease;
	struct server server;
	struct helper prober, worker;
	struct pending verb;
	struct dbd_report report; /* as sent: worker's facts and the guard's own */
	int64_t probed_at_ns;     /* of the last probe that succeeded, 0: none since the server started */
	int64_t received_at_ns;   /* when its received_age was measured */
	int32_t received_age_ms;
	int64_t next_probe_ns, next_report_ns;
	uint32_t report_now_seq; /* an unanswered REPORT_NOW, 0: none */
	int64_t report_now_until_ns;
	struct peer_list peers; /* as named last by the control process */
	bool has_peers;         /* it has named some since this guard started */
	bool has_peers_due;     /* the worker has to be told */
	int64_t peers_at_ns;    /* not before */
	char peers_error[192];  /* why not, as logged last */
	struct work_msg run;    /* a start that waits for leftovers to go; run.type 0: none */
	int64_t run_until_ns;
	bool is_exiting;
	bool is_done;
};

/* guard.c */
int guard_run(const struct config *cfg, const char *config_path, const char *group) MUST_USE;
int guard_watch(struct guard *g, int fd, unsigned kind, struct err *e) MUST_USE;
enum guard_kind {
	GUARD_LISTEN,
	GUARD_CONTROL,
	GUARD_SIGNAL,
	GUARD_LEASE,
	GUARD_TICK,
	GUARD_SERVER,
	GUARD_PROBER,
	GUARD_WORKER
};

/* guard_server.c: the database server's process */
void server_adopt(struct guard *g);
void server_run(struct guard *g, const struct work_msg *ask);
void server_stop(struct guard *g, int signal, int64_t immediate_at_ns, int64_t kill_at_ns);
bool server_is_primary(const struct guard *g);
/* Stop a primary whose lease has lapsed; else arm the timer for when it will. Call after every change of lease, role or
 * process. */
void server_check_lease(struct guard *g);
void server_on_pidfd(struct guard *g);
void server_tick(struct guard *g, int64_t now_ns);
int64_t server_due_ns(const struct guard *g);

/* guard_helper.c: the workers */
void helper_init(struct helper *h, const char *task);
bool helper_is_up(const struct helper *h);
void helper_start(struct guard *g, struct helper *h);
void helper_kill(struct guard *g, struct helper *h, const char *why);
/* Send a question; false when the worker is gone or does not read (it is killed then). limit_ms 0: no answer is expected. */
bool helper_ask(struct guard *g, struct helper *h, struct work_msg *m, int limit_ms);
void helper_on_readable(struct guard *g, struct helper *h);
void helper_on_child(struct guard *g, pid_t pid, bool is_stopped);
void helper_tick(struct guard *g, int64_t now_ns);
int64_t helper_due_ns(const struct guard *g);

/* guard_control.c: the control process */
void control_accept(struct guard *g);
void control_on_readable(struct guard *g);
void control_report(struct guard *g);
void control_verb_done(struct guard *g, int rc, const char *text);
void control_tick(struct guard *g, int64_t now_ns);
int64_t control_due_ns(const struct guard *g);

#endif
