/* The controller signs: read the CA, sign, and record certificate, event and whatever hangs on it in one guarded transaction. A
 * certificate is handed out only after that. */
#include "core/base/clock.h"
#include "core/run/control.h"
#include "core/run/trust.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_MS      3000
#define COMMIT_MS    5000
#define KEEP_DAYS    30 /* rows of certificates that have expired */
#define GUARD_FAILED "23514"

struct issue_job {
	struct control *c;
	struct trust_issue issue; /* its strings are this job's */
	trust_issued_cb cb;
	void *arg;
	char *cert, *ca;
	char uuid[40];
	struct pki_info info;
};

static char *copy(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

static void end_job(struct issue_job *j, const struct err *e, const char *result)
{
	struct trust_issued r = {.cert = j->cert != NULL ? j->cert : "",
	                         .ca = j->ca != NULL ? j->ca : "",
	                         .uuid = j->uuid,
	                         .result = result,
	                         .info = j->info};

	j->cb(j->arg, e, e->code == ERR_OK ? &r : NULL);
	free((char *)(uintptr_t)j->issue.request);
	free((char *)(uintptr_t)j->issue.guard);
	free((char *)(uintptr_t)j->issue.sql);
	free((char *)(uintptr_t)j->issue.event);
	free((char *)(uintptr_t)j->issue.select);
	free(j->cert);
	free(j->ca);
	free(j);
}

static void recorded(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct issue_job *j = arg;
	struct err e = ERR_INIT;

	if (outcome == STORE_UNKNOWN)
		(void)err_set(&e, ERR_AMBIGUOUS, "the store's answer did not come: it may have been recorded");
	else if (outcome != STORE_DONE && strcmp(sqlstate, GUARD_FAILED) == 0)
		(void)err_set(&e, ERR_REFUSED, "the cluster has changed meanwhile: try again");
	else if (outcome != STORE_DONE)
		(void)err_set(&e, ERR_SQL, "it was not recorded: %s %s", sqlstate, message);
	end_job(j, &e, res != NULL && PQntuples(res) == 1 ? PQgetvalue(res, 0, 0) : "");
}

void trust_certificate_row(struct buf *b, const struct pki_info *info)
{
	buf_printf(b,
	           "INSERT INTO certificate (serial, kind, name, issued_at, not_after) VALUES ('%s', '%s', '%s', %" PRId64
	           ", %" PRId64 ");",
	           info->serial, info->subject.kind == PKI_ADMIN ? "admin" : "node", info->subject.name, clock_wall_ms(),
	           info->not_after_s * 1000);
}

void trust_event_row(struct control *c, struct buf *b, const char *severity, const char *text)
{
	buf_printf(b, "INSERT INTO event (at, generation, severity, text) VALUES (%" PRId64 ", %" PRIu64 ", '%s', ",
	           clock_wall_ms(), c->generation, severity);
	persist_quote(b, text);
	buf_puts(b, ");");
}

static void record(struct issue_job *j)
{
	const struct trust_issue *i = &j->issue;
	struct buf b = {0}, event = {0};

	persist_guard(&b, j->c->generation);
	if (i->guard != NULL)
		buf_printf(&b, "INSERT OR REPLACE INTO decision_guard (id, ok) SELECT 1, (%s);", i->guard);
	if (j->cert != NULL) {
		buf_printf(&b, "DELETE FROM certificate WHERE not_after < %" PRId64 ";",
		           clock_wall_ms() - (int64_t)KEEP_DAYS * 86400000);
		trust_certificate_row(&b, &j->info);
	}
	if (i->sql != NULL)
		buf_puts(&b, i->sql);
	buf_puts(&event, i->event);
	if (j->cert != NULL)
		buf_printf(&event, " (certificate %s)", j->info.serial);
	trust_event_row(j->c, &b, "info", event.data);
	buf_puts(&b, i->select != NULL ? i->select : "SELECT ''");
	store_session_query(j->c->store, b.data, COMMIT_MS, recorded, j);
	buf_done(&event);
	buf_done(&b);
}

/* The policy's text, as far as it makes sense. */
static int64_t lifetime_of(const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "lifetime"));
	uint64_t n;

	if (text == NULL ||
	    str_to_u64(text, TRUST_LIFETIME_POLICY, TRUST_LIFETIME_MIN_S, TRUST_LIFETIME_MAX_S, &n, NULL) != ERR_OK)
		return TRUST_LIFETIME_DEFAULT_S;
	return (int64_t)n;
}

static int sign(struct issue_job *j, const json_t *o, struct err *e)
{
	const char *ca = json_string_value(json_object_get(o, "ca")), *key = json_string_value(json_object_get(o, "key"));
	int64_t seconds = j->issue.seconds > 0 ? j->issue.seconds : lifetime_of(o);
	int rc;

	if (ca == NULL || key == NULL || key[0] == '\0')
		return err_set(e, ERR_REFUSED,
		               "this cluster issues no certificates: they are the operator's own (tls: {mode: files}) or "
		               "switched off");
	str_copy(j->issue.subject.uuid, sizeof j->issue.subject.uuid, j->uuid);
	rc = pki_sign(ca, key, j->issue.request, &j->issue.subject, clock_wall_ms() / 1000, seconds, &j->cert, e);
	if (rc == ERR_OK)
		rc = pki_describe(j->cert, &j->info, e);
	if (rc == ERR_OK)
		j->ca = mem_strdup(ca);
	return rc;
}

static void ca_read(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct issue_job *j = arg;
	struct err e = ERR_INIT;
	const char *uuid;
	json_t *o;

	if (outcome != STORE_DONE || res == NULL || PQntuples(res) != 1) {
		(void)err_set(&e, ERR_NOQUORUM, "the CA could not be read: %s %s", sqlstate, message);
		end_job(j, &e, "");
		return;
	}
	o = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	uuid = json_string_value(json_object_get(o, "uuid"));
	str_copy(j->uuid, sizeof j->uuid, uuid != NULL ? uuid : "");
	if (j->c->leadership != LEADERSHIP_ACTIVE)
		(void)err_set(&e, ERR_NOQUORUM, "this node stopped being the controller: ask again");
	else if (j->issue.request != NULL)
		(void)!sign(j, o, &e);
	json_decref(o);
	if (e.code != ERR_OK)
		end_job(j, &e, "");
	else
		record(j);
}

void trust_issue(struct control *c, const struct trust_issue *i, trust_issued_cb cb, void *arg)
{
	struct issue_job *j = mem_alloc(sizeof *j);

	j->c = c;
	j->issue = *i;
	j->issue.request = copy(i->request);
	j->issue.guard = copy(i->guard);
	j->issue.sql = copy(i->sql);
	j->issue.event = copy(i->event);
	j->issue.select = copy(i->select);
	j->cb = cb;
	j->arg = arg;
	store_session_query(c->store,
	                    "SELECT json_object('ca', (SELECT cert FROM secret_ca), 'key', (SELECT key FROM secret_ca), "
	                    "'uuid', (SELECT uuid FROM cluster), "
	                    "'lifetime', (SELECT value FROM policy WHERE name = '" TRUST_LIFETIME_POLICY "'))",
	                    READ_MS, ca_read, j);
}
