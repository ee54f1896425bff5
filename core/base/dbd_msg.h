/* What the control process and an mha-dbd guard say to each other: one struct dbd_msg per SOCK_SEQPACKET packet, nothing else.
 * control sends requests (seq > 0); the guard answers each exactly once with DBD_REPLY of the same seq, verbs when they have
 * ended. DBD_REPORT (seq 0) comes unasked: at once when the process, role or running verb changes, else every report interval.
 * Replies carry the report as well, as it is after the verb.
 * At most one verb is in progress; another one meanwhile is answered ERR_REFUSED "busy with ...". DBD_STOP interrupts any verb.
 */
#ifndef BASE_DBD_MSG_H
#define BASE_DBD_MSG_H

#include <stdbool.h>
#include <stdint.h>

#define DBD_MSG_VERSION  2
#define DBD_NAME_SIZE    40
#define DBD_HOST_SIZE    64
#define DBD_MAX_STANDBYS 8
#define DBD_MAX_PEERS    16
#define DBD_ADDRESS_SIZE 48

enum dbd_msg_type {
	/* answered by the guard at once */
	DBD_LEASE = 1,  /* the primary of `epoch` may run until deadline_ns; then the guard stops it `immediate`, then SIGKILL.
	                   grace_ms: wait so much longer before stopping (port fence is active and the group is synchronous).
	                   deadline_ns <= now: fence now. Refused when epoch is lower than the stored one. */
	DBD_REPORT_NOW, /* answered with a fresh probe's DBD_REPORT after at most 100 ms, then DBD_REPLY */
	/* verbs, answered when done */
	DBD_CREATE,  /* make the group's first primary: initdb or adopt an existing data directory; left stopped */
	DBD_START,   /* start fenced: as a standby (or stopped recovery), never writable; follows `peer_*` when set */
	DBD_STOP,    /* mode: enum dbd_stop_mode */
	DBD_PROMOTE, /* epoch is stored on disk first; sync_members is set in the same step; then the role becomes primary.
	                From stopped it also starts. Idempotent: a primary of this epoch already is success. */
	DBD_FOLLOW,  /* be a standby of peer_*: started if needed, re-pointed by reload if running; a running primary is refused
	              */
	DBD_DETACH,  /* stop receiving from anyone and report the final received position; keeps running */
	DBD_SYNC_SET, /* sync_members, sync_count: the standbys commits wait for; empty = asynchronous */
	DBD_CHECKPOINT,
	DBD_REWIND,  /* stopped old primary: pg_rewind from peer_*, left stopped and set up to follow it */
	DBD_REBUILD, /* fresh clone from peer_*; the old directory is kept aside until the clone is complete; left stopped */
	DBD_REPLY,
	DBD_REPORT,
	/* answered at once: peers, peer_count are the numeric addresses of the cluster's data nodes (IPv4 or IPv6, this host's
	   own included), which may replicate from the server here. The list replaces the one before. It is kept in the
	   instance's state directory, so a restarted guard knows it, and until the first one comes the nodes of node.yaml and
	   the roster count. The server's rules are written and reloaded as soon as no verb is in progress; that is tried again
	   until it works, whatever the reply said. generation and epoch are not looked at. Send it at every connect and
	   whenever the roster changes; the same list again does nothing. ERR_INVAL: more than DBD_MAX_PEERS, or no numeric
	   address (named). */
	DBD_PEERS
};

enum dbd_stop_mode { DBD_STOP_FAST = 1, DBD_STOP_IMMEDIATE };

enum dbd_process {
	DBD_PROC_ABSENT = 0 /* no data directory */,
	DBD_PROC_STOPPED,
	DBD_PROC_STARTING,
	DBD_PROC_RUNNING,
	DBD_PROC_STOPPING
};
enum dbd_role { DBD_ROLE_UNKNOWN = 0, DBD_ROLE_PRIMARY, DBD_ROLE_REPLICA };

/* A standby as its primary sees it. */
struct dbd_standby {
	char name[DBD_NAME_SIZE]; /* node name (application_name) */
	uint64_t flushed;         /* position it has on disk */
	uint8_t is_streaming;
	uint8_t is_sync; /* commits wait for it now */
	uint8_t pad[6];
};

struct dbd_report {
	uint8_t process;      /* enum dbd_process, from the pidfd */
	uint8_t role;         /* enum dbd_role, from the last probe that succeeded since the process started */
	uint8_t is_accepting; /* the last probe succeeded */
	uint8_t is_receiving; /* a standby that is connected to its upstream */
	uint8_t is_detached;  /* DETACH done and nothing received since */
	uint8_t is_clean;     /* stopped by a clean (fast) shutdown */
	uint8_t verb;         /* enum dbd_msg_type in progress, 0: none */
	uint8_t standby_count;
	int32_t probe_age_ms;    /* since the last successful probe; -1: none yet */
	int32_t received_age_ms; /* since the last message from the upstream; -1: none */
	uint32_t timeline;
	uint32_t verb_seconds;   /* how long the verb in progress has run */
	uint64_t position;       /* primary: written; replica: max(received, replayed); stopped: from the control file */
	uint64_t sync_since;     /* primary: position at which the present sync_members took effect in the server */
	uint64_t epoch;          /* highest epoch seen, from disk */
	uint64_t promoted_epoch; /* epoch of the last completed promotion here, from disk; 0: never, or undone by REWIND or
	                            REBUILD */
	char system_id[DBD_NAME_SIZE];
	char upstream[DBD_NAME_SIZE];                        /* node it is set to receive from; "": nobody */
	char sync_members[DBD_MAX_STANDBYS * DBD_NAME_SIZE]; /* comma separated, as in force in the server */
	struct dbd_standby standbys[DBD_MAX_STANDBYS];
	char position_text[64]; /* as operators write it: 0/3000148 */
	char last_error[192];   /* of the last verb or start that failed; "" after one that worked */
};

struct dbd_msg {
	uint16_t version;
	uint16_t type;
	uint32_t seq;
	int32_t rc; /* reply: enum err_code */
	int32_t grace_ms;
	uint64_t generation; /* of the controller that ordered it */
	uint64_t epoch;      /* lower than the stored one: ERR_REFUSED */
	int64_t deadline_ns; /* CLOCK_BOOTTIME */
	uint16_t mode;
	uint16_t peer_port;
	uint16_t sync_count;
	uint16_t peer_count; /* DBD_PEERS */
	char peer_node[DBD_NAME_SIZE];
	char peer_host[DBD_HOST_SIZE];
	char system_id[DBD_NAME_SIZE]; /* START, FOLLOW, PROMOTE: the group's; another one in the data directory: ERR_REFUSED */
	char sync_members[DBD_MAX_STANDBYS * DBD_NAME_SIZE]; /* comma separated node names */
	char peers[DBD_MAX_PEERS][DBD_ADDRESS_SIZE];         /* DBD_PEERS */
	char text[256];                                      /* reply: the reason, for people */
	struct dbd_report report;
};

/* Every text ends within its field, and the report's counts and choices are ones there are. The programs trust each other with
 * the database, not with their memory: whoever receives a message asks this first. */
bool dbd_msg_is_sound(const struct dbd_msg *m);

#endif
