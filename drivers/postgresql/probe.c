#include "core/base/clock.h"
#include "drivers/file.h"
#include "drivers/postgresql/pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_LIMIT_MS   300
#define SESSION_LIMIT_MS 200 /* to connect, and to prepare */

/* clang-format off */
/* Prepared once per session, because planning it costs far more than running it. One row. The CASEs keep functions from being called in
 * the role in which they are errors. A standby has everything it can get when its receiver is gone and it knows what that one received,
 * or recovery has come to wait for more. */
static const char prepare_sql[] =
	"PREPARE mha_probe AS SELECT pg_is_in_recovery(),"
	" CASE WHEN pg_is_in_recovery()"
	"  THEN greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'), coalesce(pg_last_wal_replay_lsn(), '0/0'))"
	"  ELSE pg_current_wal_lsn() END,"
	" CASE WHEN pg_is_in_recovery()"
	"  THEN greatest(r.received_tli, (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"
	"   (SELECT timeline_id FROM pg_control_checkpoint()))"
	"  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,"
	" (SELECT system_identifier FROM pg_control_system()),"
	" r.status, r.sender_host, r.sender_port, (extract(epoch FROM r.last_msg_receipt_time) * 1000)::int8,"
	" (extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time) * 1000)::int8,"
	" current_setting('primary_conninfo') = '' AND r.pid IS NULL AND (pg_last_wal_receive_lsn() IS NOT NULL OR EXISTS ("
	"  SELECT FROM pg_stat_get_activity(NULL) WHERE backend_type = 'startup'"
	"   AND wait_event IN ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream'))),"
	" current_setting('synchronous_standby_names'),"
	" (SELECT string_agg(format('%s %s %s %s', application_name, coalesce(flush_lsn, '0/0') - '0/0', (state = 'streaming')::int,"
	"   (sync_state IN ('sync', 'quorum'))::int), ',')"
	"  FROM (SELECT DISTINCT ON (application_name) a.application_name, s.* FROM pg_stat_get_wal_senders() s"
	"   JOIN pg_stat_get_activity(NULL) a USING (pid) WHERE s.state IN ('streaming', 'catchup')"
	"   ORDER BY a.application_name, s.state = 'streaming' DESC, s.flush_lsn DESC) senders)"
	" FROM (SELECT 1) one LEFT JOIN pg_stat_get_wal_receiver() r ON r.pid IS NOT NULL";
/* clang-format on */

enum column {
	C_RECOVERY,
	C_POSITION,
	C_TIMELINE,
	C_SYSTEM_ID,
	C_STATUS,
	C_HOST,
	C_PORT,
	C_STAMP,
	C_AGE,
	C_DETACHED,
	C_SYNC,
	C_STANDBYS
};

static uint64_t parse_lsn(const char *text)
{
	unsigned high, low;

	return sscanf(text, "%X/%X", &high, &low) == 2 ? (uint64_t)high << 32 | low : 0;
}

static void parse_standbys(const char *text, struct dbd_report *ret)
{
	ret->standby_count = 0;
	while (*text != '\0' && ret->standby_count < DBD_MAX_STANDBYS) {
		struct dbd_standby *s = &ret->standbys[ret->standby_count];
		unsigned streaming, sync;

		if (sscanf(text, "%39s %" SCNu64 " %u %u", s->name, &s->flushed, &streaming, &sync) == 4) {
			s->is_streaming = streaming != 0;
			s->is_sync = sync != 0;
			ret->standby_count++;
		}
		text += strcspn(text, ",");
		text += *text == ',';
	}
}

/* The names between double quotes, with commas between them. */
static void parse_sync_names(const char *text, char *ret, size_t cap)
{
	size_t len = 0;

	ret[0] = '\0';
	while ((text = strchr(text, '"')) != NULL && len + DBD_NAME_SIZE < cap) {
		size_t n = strcspn(++text, "\"");

		len += (size_t)snprintf(ret + len, cap - len, "%s%.*s", len > 0 ? "," : "", n < DBD_NAME_SIZE ? (int)n : 0,
		                        text);
		text += n + (text[n] == '"');
	}
}

/* The server stamps messages with the wall clock, which may jump: what counts is when the stamp was seen to change. Only the
 * first one of a connection is taken at its word. */
static int32_t measure_age(struct pg *pg, int64_t stamp, int64_t said_age_ms)
{
	int64_t now_ms = clock_now_ms();

	if (stamp != pg->received_stamp) {
		bool is_first = pg->received_stamp == 0;

		pg->received_stamp = stamp;
		pg->received_seen_ms = is_first && said_age_ms > 0 && said_age_ms < 60000 ? now_ms - said_age_ms : now_ms;
	}
	return (int32_t)(now_ms - pg->received_seen_ms);
}

static void take_receiver(struct driver_ctx *ctx, PGresult *r, const struct pg_role *role, struct dbd_report *ret)
{
	struct pg *pg = pg_of(ctx);

	if (PQgetisnull(r, 0, C_STATUS) || PQgetisnull(r, 0, C_STAMP)) {
		pg->received_stamp = 0;
		return;
	}
	ret->is_receiving = strcmp(PQgetvalue(r, 0, C_STATUS), "streaming") == 0 &&
	                    strcmp(PQgetvalue(r, 0, C_HOST), role->host) == 0 &&
	                    strtoul(PQgetvalue(r, 0, C_PORT), NULL, 10) == role->port && role->upstream[0] != '\0';
	ret->received_age_ms =
	        measure_age(pg, strtoll(PQgetvalue(r, 0, C_STAMP), NULL, 10), strtoll(PQgetvalue(r, 0, C_AGE), NULL, 10));
}

static void take_row(struct driver_ctx *ctx, PGresult *r, const struct pg_role *role, struct dbd_report *ret)
{
	ret->is_accepting = 1;
	ret->role = PQgetvalue(r, 0, C_RECOVERY)[0] == 't' ? DBD_ROLE_REPLICA : DBD_ROLE_PRIMARY;
	ret->position = parse_lsn(PQgetvalue(r, 0, C_POSITION));
	str_copy(ret->position_text, sizeof ret->position_text, PQgetvalue(r, 0, C_POSITION));
	ret->timeline = (uint32_t)strtoul(PQgetvalue(r, 0, C_TIMELINE), NULL, 10);
	str_copy(ret->system_id, sizeof ret->system_id, PQgetvalue(r, 0, C_SYSTEM_ID));
	if (ret->role == DBD_ROLE_REPLICA) {
		ret->is_detached = PQgetvalue(r, 0, C_DETACHED)[0] == 't';
		str_copy(ret->upstream, sizeof ret->upstream, role->upstream);
		take_receiver(ctx, r, role, ret);
	} else {
		parse_sync_names(PQgetvalue(r, 0, C_SYNC), ret->sync_members, sizeof ret->sync_members);
		parse_standbys(PQgetvalue(r, 0, C_STANDBYS), ret);
	}
}

/* A stopped server's control file is read again only when it has changed. */
static void probe_files(struct driver_ctx *ctx, const struct pg_role *role, struct dbd_report *ret)
{
	struct pg *pg = pg_of(ctx);
	char path[DRIVER_PATH_SIZE];
	struct stat st;

	snprintf(path, sizeof path, "%s/global/pg_control", ctx->inst->data_dir);
	ret->process = DBD_PROC_STOPPED;
	if (stat(path, &st) != 0) {
		ret->process = DBD_PROC_ABSENT;
		pg->has_control = false;
		return;
	}
	if (!pg->has_control || st.st_mtim.tv_sec != pg->control_mtime.tv_sec ||
	    st.st_mtim.tv_nsec != pg->control_mtime.tv_nsec) {
		pg->control_mtime = st.st_mtim;
		pg->has_control = pg_read_control(ctx, ctx->inst->data_dir, &pg->control, NULL) == ERR_OK;
	}
	str_copy(ret->upstream, sizeof ret->upstream, role->upstream);
	if (!pg->has_control)
		return;
	ret->position = pg->control.position;
	ret->timeline = pg->control.timeline;
	ret->is_clean = pg->control.is_clean;
	str_copy(ret->system_id, sizeof ret->system_id, pg->control.system_id);
	snprintf(ret->position_text, sizeof ret->position_text, "%X/%X", (unsigned)(ret->position >> 32),
	         (unsigned)ret->position);
}

static int prepare(struct driver_ctx *ctx)
{
	struct pg *pg = pg_of(ctx);
	int rc = pg_connect(ctx, SESSION_LIMIT_MS, NULL);

	if (rc == ERR_OK && !pg->is_prepared) {
		rc = pg_query(ctx, prepare_sql, SESSION_LIMIT_MS, NULL, NULL);
		pg->is_prepared = rc == ERR_OK;
	}
	return rc;
}

void pg_probe(struct driver_ctx *ctx, struct dbd_report *ret)
{
	struct pg_role role = {0};
	PGresult *r;

	if (pg_role_read(ctx, &role, NULL) != ERR_OK)
		role.upstream[0] = '\0';
	if (ctx->server_pid == 0) {
		pg_disconnect(pg_of(ctx));
		probe_files(ctx, &role, ret);
		return;
	}
	pg_of(ctx)->has_control = false;
	if (prepare(ctx) != ERR_OK || pg_query(ctx, "EXECUTE mha_probe", PROBE_LIMIT_MS, &r, NULL) != ERR_OK)
		return;
	if (PQntuples(r) == 1)
		take_row(ctx, r, &role, ret);
	PQclear(r);
}
