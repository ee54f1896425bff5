/* When backups of the store are made, and what came of them: the leader's node makes them, by schedule or because somebody
 * asked. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/api/api.h"
#include "core/run/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_MS  5000
#define POLL_MS  300
#define RETRY_MS 600000 /* after a failure */
#define KEPT     "100"

struct backups {
	struct control *c;
	struct http_request *http; /* who waits for the end, NULL */
	bool is_running;           /* mha_backup was asked for, its end was not seen */
	bool is_asking;
	int64_t poll_ms, retry_ms; /* CLOCK_BOOTTIME */
	uint64_t generation;       /* under which last_wall_ms was read */
	int64_t last_wall_ms;      /* begin of the newest good one, of any node */
};

struct backups *backups_new(struct control *c)
{
	struct backups *b = mem_alloc(sizeof *b);

	b->c = c;
	return b;
}

void backups_free(struct backups *b)
{
	free(b);
}

static void answer_error(struct backups *b, enum err_code code, const char *text)
{
	if (b->http != NULL)
		api_error(b->http, code, text, "see the log of this node and `mha-shell store status`");
	b->http = NULL;
}

/* --- what came of it --- */

static void record(struct backups *b, const PGresult *res, bool is_ok)
{
	struct control *c = b->c;
	struct buf q = {0};
	char text[1200];

	snprintf(text, sizeof text,
	         is_ok ? "backup of the store written on %s: %s" : "the backup of the store on %s failed: %s", c->config->node,
	         PQgetvalue(res, 0, is_ok ? 1 : 7));
	persist_guard(&q, c->generation);
	buf_printf(&q, "INSERT INTO backup (at, node, path, bytes, revision, result, reason) VALUES (%s, '%s', ",
	           PQgetvalue(res, 0, 4), c->config->node);
	persist_quote(&q, PQgetvalue(res, 0, 1));
	buf_printf(&q, ", %s, %s, '%s', ", PQgetvalue(res, 0, 2), PQgetvalue(res, 0, 3), is_ok ? "ok" : "failed");
	persist_quote(&q, PQgetvalue(res, 0, 7));
	buf_puts(&q, ");DELETE FROM backup WHERE id <= (SELECT max(id) FROM backup) - " KEPT
	             ";INSERT INTO event (at, generation, severity, text) VALUES (");
	buf_printf(&q, "%" PRId64 ", %" PRIu64 ", '%s', ", clock_wall_ms(), c->generation, is_ok ? "info" : "warning");
	persist_quote(&q, text);
	buf_puts(&q, ");SELECT 1");
	if (c->leadership == LEADERSHIP_ACTIVE)
		store_session_query(c->store, q.data, CALL_MS, NULL, NULL);
	buf_done(&q);
}

static void ended(struct backups *b, const PGresult *res)
{
	bool is_ok = strcmp(PQgetvalue(res, 0, 0), "ok") == 0;

	b->is_running = false;
	if (is_ok)
		b->last_wall_ms = strtoll(PQgetvalue(res, 0, 4), NULL, 10);
	else
		b->retry_ms = clock_now_ms() + RETRY_MS;
	record(b, res, is_ok);
	if (!is_ok) {
		answer_error(b, ERR_IO, PQgetvalue(res, 0, 7));
		return;
	}
	if (b->http != NULL)
		api_json(b->http, 200,
		         json_pack("{s:s,s:s,s:I,s:I,s:I}", "node", b->c->config->node, "path", PQgetvalue(res, 0, 1), "bytes",
		                   (json_int_t)strtoll(PQgetvalue(res, 0, 2), NULL, 10), "dump_ms",
		                   (json_int_t)strtoll(PQgetvalue(res, 0, 5), NULL, 10), "took_ms",
		                   (json_int_t)strtoll(PQgetvalue(res, 0, 6), NULL, 10)));
	b->http = NULL;
}

static void polled(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct backups *b = arg;

	(void)sqlstate;
	b->is_asking = false;
	b->poll_ms = clock_now_ms() + POLL_MS;
	if (outcome != STORE_DONE || res == NULL || PQntuples(res) != 1 || PQnfields(res) < 8) {
		b->is_running = false;
		answer_error(b, ERR_IO, message);
	} else if (strcmp(PQgetvalue(res, 0, 0), "none") == 0) {
		b->is_running = false; /* mha-stored was restarted */
		answer_error(b, ERR_IO, "the store was restarted during the backup");
	} else if (strcmp(PQgetvalue(res, 0, 0), "running") != 0) {
		ended(b, res);
	}
}

/* --- begin --- */

static void begun(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct backups *b = arg;

	(void)res;
	(void)sqlstate;
	b->is_asking = false;
	if (outcome == STORE_DONE)
		return;
	b->is_running = false;
	b->retry_ms = clock_now_ms() + RETRY_MS;
	if (b->http == NULL)
		log_warn("backup", "not begun: %s", message);
	answer_error(b, ERR_REFUSED, message);
}

void backups_begin(struct backups *b, const char *to, struct http_request *r)
{
	struct buf q = {0};

	if (b->is_running || b->is_asking) {
		if (r != NULL)
			api_error(r, ERR_REFUSED, "a backup is being made already", "see `mha-shell store status`");
		return;
	}
	b->http = r;
	b->is_running = b->is_asking = true;
	buf_puts(&q, "CALL mha_backup(");
	persist_quote(&q, to);
	buf_puts(&q, ")");
	store_session_query(b->c->store, q.data, CALL_MS, begun, b);
	buf_done(&q);
}

/* --- schedule --- */

static void last_came(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct backups *b = arg;

	(void)sqlstate;
	(void)message;
	b->is_asking = false;
	if (outcome != STORE_DONE || res == NULL || PQntuples(res) != 1) {
		b->poll_ms = clock_now_ms() + CALL_MS; /* the table is missing, say: the schema is still the old one */
		return;
	}
	b->last_wall_ms = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	b->generation = b->c->generation;
}

static void keep_schedule(struct backups *b, int64_t now)
{
	const struct config_backup *k = &b->c->config->backup;

	if (k->every_s == 0 || b->c->leadership != LEADERSHIP_ACTIVE)
		return;
	if (b->generation != b->c->generation) {
		b->is_asking = true;
		store_session_query(b->c->store, "SELECT coalesce(max(at), 0) FROM backup WHERE result = 'ok'", CALL_MS,
		                    last_came, b);
		return;
	}
	/* The wall clock may jump; the worst that comes of it is a backup too early. */
	if (now >= b->retry_ms &&
	    (clock_wall_ms() - b->last_wall_ms >= (int64_t)k->every_s * 1000 || clock_wall_ms() < b->last_wall_ms))
		backups_begin(b, "", NULL);
}

void backups_tick(struct backups *b)
{
	int64_t now = clock_now_ms();

	if (b->is_asking || now < b->poll_ms || !store_session_is_connected(b->c->store))
		return;
	b->poll_ms = now + POLL_MS;
	if (!b->is_running) {
		keep_schedule(b, now);
		return;
	}
	b->is_asking = true;
	store_session_query(b->c->store, "SHOW mha.backup", CALL_MS, polled, b);
}
