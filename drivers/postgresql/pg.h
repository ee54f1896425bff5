/* Shared by the files of the PostgreSQL driver; nobody else includes it. */
#ifndef DRIVERS_POSTGRESQL_PG_H
#define DRIVERS_POSTGRESQL_PG_H

#include "core/base/str.h"
#include "drivers/driver.h"

#include <libpq-fe.h>
#include <sys/stat.h>

#define PG_CONF      "server.conf" /* config_file: includes the data directory's postgresql.conf, then overrides it */
#define PG_ROLE_CONF "role.conf"   /* included by it: whom to receive from, whom commits wait for */
#define PG_HBA       "hba.conf"
#define PG_NEEDED    "needed.conf" /* included too: what the WAL of the primary demands beyond the configured settings */
#define PG_LOG       "server.log"
#define PG_REWINDING "rewinding" /* marker: pg_rewind was writing; the directory is unusable until rebuilt */
#define PG_REBUILDING                                                                                                          \
	"rebuilding"           /* marker: old and new files were changing places; the directory is unusable until rebuilt      \
	                        */
#define PG_CREATING "creating" /* marker: initdb was running in an empty directory */
#define PG_POLL_MS  2

/* What pg_controldata says. */
struct pg_control {
	char system_id[DBD_NAME_SIZE];
	char state[64];
	uint64_t position; /* the later of the latest checkpoint and the minimum recovery point */
	uint32_t timeline; /* of that position */
	bool is_clean;
};

struct pg {
	PGconn *conn;
	pid_t conn_pid;            /* the server it belongs to */
	bool is_prepared;          /* the probe, on this connection */
	char user[64];             /* superuser: the OS user's name */
	struct pg_control control; /* cached while control_mtime and the server stay the same */
	struct timespec control_mtime;
	bool has_control;
	int64_t received_stamp; /* last message from upstream as the server counts it, and when it was seen to change */
	int64_t received_seen_ms;
};

/* What role.conf holds. */
struct pg_role {
	char upstream[DBD_NAME_SIZE]; /* "" nobody */
	char host[DBD_HOST_SIZE];
	uint16_t port;
	char sync_members[DBD_MAX_STANDBYS * DBD_NAME_SIZE]; /* comma separated */
	uint16_t sync_count;
};

static inline struct pg *pg_of(struct driver_ctx *ctx)
{
	return ctx->own;
}

/* connect.c. The connection is kept open and made anew when the server is another one; a statement that takes longer than
 * limit_ms loses it. ERR_UNREACHABLE, ERR_TIMEOUT, ERR_SQL. */
int pg_connect(struct driver_ctx *ctx, int limit_ms, struct err *e) MUST_USE;
void pg_disconnect(struct pg *pg);
/* One statement; *ret (may be NULL) is returned: PQclear. */
int pg_query(struct driver_ctx *ctx, const char *sql, int limit_ms, PGresult **ret, struct err *e) MUST_USE;
/* The first field of the first row, "" for none. */
int pg_query_text(struct driver_ctx *ctx, const char *sql, char *buf, size_t cap, struct err *e) MUST_USE;
int pg_query_true(struct driver_ctx *ctx, const char *sql, bool *ret, struct err *e) MUST_USE;
int pg_is_standby(struct driver_ctx *ctx, bool *ret, struct err *e) MUST_USE;
/* A connection to a peer as the replication user, to database postgres. *ret is returned: PQfinish. */
int pg_connect_peer(struct driver_ctx *ctx, const struct dbd_msg *order, PGconn **ret, struct err *e) MUST_USE;

/* control.c */
int pg_read_control(struct driver_ctx *ctx, const char *data_dir, struct pg_control *ret, struct err *e) MUST_USE;
/* Parse pg_controldata's output. */
int pg_parse_control(const char *text, struct pg_control *ret, struct err *e) MUST_USE;
/* ERR_REFUSED naming both when the data directory's system identifier is not the order's; an order without one accepts any. */
int pg_check_system_id(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e) MUST_USE;
/* ERR_NOTFOUND names a missing program and bin_dir. buf: DRIVER_PATH_SIZE, the path. */
int pg_find_program(const struct driver_ctx *ctx, const char *name, char *buf, struct err *e) MUST_USE;
/* The data directory's PG_VERSION and the programs' major version agree; *ret_major. */
int pg_check_version(struct driver_ctx *ctx, unsigned *ret_major, struct err *e) MUST_USE;

/* settings.c */
int pg_role_read(const struct driver_ctx *ctx, struct pg_role *ret, struct err *e) MUST_USE;
int pg_role_write(struct driver_ctx *ctx, const struct pg_role *role, bool *ret_changed, struct err *e) MUST_USE;
int pg_role_set_upstream(struct pg_role *role, const struct dbd_msg *order, struct err *e) MUST_USE;
int pg_role_set_sync(struct pg_role *role, const struct dbd_msg *order, struct err *e) MUST_USE;
/* As PostgreSQL wants them, unquoted; "" for none. */
void pg_role_conninfo(const struct driver_ctx *ctx, const struct pg_role *role, struct buf *out);
void pg_role_sync_names(const struct pg_role *role, struct buf *out);
/* server.conf and hba.conf from the configuration; postgresql.auto.conf must not override what is ours. */
int pg_settings_write(struct driver_ctx *ctx, struct err *e) MUST_USE;
/* The server refused to recover because a setting is lower than the primary's was: raise it for the next start. False when that
 * is not what text, the end of its log, says. */
bool pg_learn_needed(struct driver_ctx *ctx, const char *text);
/* Reload role.conf and wait until this session sees it in force. */
int pg_role_reload(struct driver_ctx *ctx, const struct pg_role *role, struct err *e) MUST_USE;
/* Lines of postgresql.auto.conf without those that set something of ours; false when nothing was left out. */
bool pg_strip_auto_conf(const char *text, struct buf *out);

/* sync.c: wait until every process of a primary acts on the sync members in force; *ret_position: from here commits wait for
 * them. */
int pg_sync_settle(struct driver_ctx *ctx, const struct pg_role *role, int settle_ms, uint64_t *ret_position,
                   struct err *e) MUST_USE;
/* The checkpointer, which switches waiting for standbys on and off for everybody, has nothing left to do. */
int pg_wait_checkpointer(struct driver_ctx *ctx, int limit_ms, struct err *e) MUST_USE;

/* start.c */
/* Start as a standby of order's peer, or of nobody, and wait until it answers. ERR_TIMEOUT: it runs but does not answer yet;
 * ERR_IO: it ended, with the reason from its log. */
int pg_start_fenced(struct driver_ctx *ctx, const struct dbd_msg *order, bool has_peer, int limit_ms, struct err *e) MUST_USE;
int pg_stop_and_wait(struct driver_ctx *ctx, int limit_ms, struct err *e) MUST_USE;
/* standby.signal, durably: from here no start of this directory is writable. */
int pg_mark_standby(const char *data_dir, struct err *e) MUST_USE;
/* ERR_REFUSED when the server runs. */
int pg_require_stopped(const struct driver_ctx *ctx, struct err *e) MUST_USE;
/* pg_start_fenced's and others' check that the directory is whole: ERR_REFUSED names the interrupted operation. */
int pg_check_whole(const struct driver_ctx *ctx, struct err *e) MUST_USE;
bool pg_has_cluster(const struct driver_ctx *ctx);
/* postgres --single: crash recovery first when needed, then these statements, one a line. No network, no other session. */
int pg_run_single(struct driver_ctx *ctx, const char *statements, int limit_ms, struct err *e) MUST_USE;

/* settings.c: hba.conf from ctx->peers, and a running server reads it again. */
int pg_peers(struct driver_ctx *ctx, struct err *e);
void pg_probe(struct driver_ctx *ctx, struct dbd_report *ret);
int pg_create(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_start(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_promote(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_follow(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_detach(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_sync_set(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_checkpoint(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_rewind(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);
int pg_rebuild(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e);

#endif
