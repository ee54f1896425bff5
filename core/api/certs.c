/* Certificates: what was issued, new ones for administrators and nodes, rotation, revocation. */
#include "core/api/trust.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/trust.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_MS  3000
#define MAX_DAYS 3650

struct certs_job {
	struct control *c;
	struct http_request *http;
	char name[96];
};

static struct certs_job *new_job(struct control *c, struct http_request *r, const char *name)
{
	struct certs_job *j = mem_alloc(sizeof *j);

	j->c = c;
	j->http = r;
	str_copy(j->name, sizeof j->name, name);
	return j;
}

/* --- listing --- */

static json_t *info_json(const struct pki_info *info)
{
	static const char *const kinds[] = {"other", "ca", "node", "admin"};
	char when[32];

	return json_pack("{s:s,s:s,s:s,s:s}", "name", info->subject.name, "kind", kinds[info->subject.kind], "serial",
	                 info->serial, "not_after", clock_format_wall(info->not_after_s * 1000, when));
}

static json_t *row_json(const PGresult *res, int row)
{
	int64_t revoked_ms = strtoll(PQgetvalue(res, row, 4), NULL, 10);
	char until[32], when[32];

	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", PQgetvalue(res, row, 0), "kind", PQgetvalue(res, row, 1), "serial",
	                 PQgetvalue(res, row, 2), "not_after",
	                 clock_format_wall(strtoll(PQgetvalue(res, row, 3), NULL, 10), until), "revoked",
	                 revoked_ms > 0 ? clock_format_wall(revoked_ms, when) : "");
}

static void listed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct certs_job *j = arg;
	const struct pki_info *own = trust_own(j->c);
	struct pki_info ca;
	json_t *list, *o;
	int i;

	(void)sqlstate;
	if (outcome != STORE_DONE) {
		api_error(j->http, ERR_NOQUORUM, message, NULL);
		free(j);
		return;
	}
	list = json_array();
	for (i = 0; i < PQntuples(res); i++)
		json_array_append_new(list, row_json(res, i));
	o = json_pack("{s:s,s:s,s:o}", "mode", j->c->config->tls.mode, "node", j->c->config->node, "certificates", list);
	if (own != NULL)
		json_object_set_new(o, "own", info_json(own));
	if (trust_ca(j->c, &ca))
		json_object_set_new(o, "ca", info_json(&ca));
	api_json(j->http, 200, o);
	free(j);
}

void api_certs(struct control *c, struct http_request *r)
{
	store_session_query(c->store,
	                    "SELECT name, kind, serial, not_after, revoked_at FROM certificate ORDER BY kind DESC, name, "
	                    "not_after",
	                    READ_MS, listed, new_job(c, r, ""));
}

/* --- issuing --- */

static void issued_one(void *arg, const struct err *e, const struct trust_issued *issued)
{
	struct certs_job *j = arg;
	json_t *o;

	if (issued == NULL) {
		api_error(j->http, e->code, e->text, NULL);
	} else {
		o = info_json(&issued->info);
		json_object_set_new(o, "cert", json_string(issued->cert));
		json_object_set_new(o, "ca", json_string(issued->ca));
		api_json(j->http, 200, o);
	}
	free(j);
}

static void issue(struct control *c, struct http_request *r, const struct pki_subject *subject, const json_t *body)
{
	struct trust_issue i = {.subject = *subject, .request = api_member(body, "request")};
	const json_t *days = json_object_get(body, "days");
	const char *who;
	char event[160];

	if (i.request[0] == '\0' || strlen(i.request) > PKI_PEM_MAX) {
		api_error(r, ERR_INVAL, "request: give a certificate request (PEM)", NULL);
		return;
	}
	if (days != NULL && (!json_is_integer(days) || json_integer_value(days) < 1 || json_integer_value(days) > MAX_DAYS)) {
		api_error(r, ERR_INVAL, "days: give 1 to 3650", NULL);
		return;
	}
	i.seconds = json_integer_value(days) * 86400;
	(void)http_who(r, &who);
	if (subject->kind == PKI_ADMIN)
		snprintf(event, sizeof event, "a certificate was issued for administrator %s, asked by %.40s", subject->name,
		         who);
	else
		snprintf(event, sizeof event, "node %s has renewed its certificate", subject->name);
	i.event = event;
	trust_issue(c, &i, issued_one, new_job(c, r, subject->name));
}

void api_certs_issue(struct control *c, struct http_request *r)
{
	struct pki_subject s = {.kind = PKI_ADMIN};
	json_t *body = api_body(r);

	if (body == NULL)
		return;
	str_copy(s.name, sizeof s.name, api_member(body, "name"));
	if (str_is_name(api_member(body, "name")))
		issue(c, r, &s, body);
	else
		api_error(r, ERR_INVAL, "name: use 1 to 32 of a-z, 0-9, - and _, starting with a letter or digit", NULL);
	json_decref(body);
}

void api_certs_renew(struct control *c, struct http_request *r)
{
	struct pki_subject s = {.kind = PKI_NODE};
	const struct config_node *n;
	const char *name;
	json_t *body;

	if (http_who(r, &name) != HTTP_NODE || (n = config_find_node(c->config, name)) == NULL || n->is_removed) {
		api_json(r, 403,
		         json_pack("{s:s,s:s}", "error", "refused", "message",
		                   "only a node may renew, and only its own certificate"));
		return;
	}
	body = api_body(r);
	if (body == NULL)
		return;
	str_copy(s.name, sizeof s.name, n->name);
	str_copy(s.address, sizeof s.address, n->address);
	issue(c, r, &s, body);
	json_decref(body);
}

/* --- rotating --- */

void api_certs_rotate(struct control *c, struct http_request *r)
{
	json_t *body = api_body(r), *asked = json_array(), *missed = json_array();
	const char *only;
	char text[128];
	unsigned i;

	only = api_member(body, "node");
	if (body != NULL && !trust_is_managed(c)) {
		api_error(r, ERR_REFUSED, "this cluster issues no certificates",
		          "replace the files named under `tls` in node.yaml: they are taken within a second, without a "
		          "restart");
	} else if (body != NULL && only[0] != '\0' && config_find_node(c->config, only) == NULL) {
		snprintf(text, sizeof text, "there is no node \"%.40s\"", only);
		api_error(r, ERR_NOTFOUND, text, "see `mha-shell node list`");
	} else if (body != NULL) {
		for (i = 0; i < c->config->nodes_count; i++) {
			const struct config_node *n = &c->config->nodes[i];

			if (n->is_removed || (only[0] != '\0' && strcmp(only, n->name) != 0))
				continue;
			json_array_append_new(trust_ask_to_rotate(c, (int)i) ? asked : missed, json_string(n->name));
		}
		api_json(r, 200, json_pack("{s:O,s:O}", "asked", asked, "unreachable", missed));
	}
	json_decref(asked);
	json_decref(missed);
	json_decref(body);
}

/* --- revoking --- */

static void revoked(void *arg, const struct err *e, const struct trust_issued *issued)
{
	struct certs_job *j = arg;

	if (issued == NULL && e->code == ERR_REFUSED) {
		api_error(j->http, ERR_NOTFOUND, "there is no such certificate, or it is revoked already",
		          "see `mha-shell cert show`");
	} else if (issued == NULL) {
		api_error(j->http, e->code, e->text, NULL);
	} else {
		log_warn("tls", "certificate %s of %s is revoked", j->name, issued->result);
		api_json(j->http, 200, json_pack("{s:s,s:s}", "serial", j->name, "name", issued->result));
		roster_refresh(j->c);
	}
	free(j);
}

/* Certificates of the operator's own CA have no row yet: one is made. */
static void record_revocation(struct control *c, struct http_request *r, const char *serial)
{
	struct trust_issue i = {.request = NULL};
	struct buf guard = {0}, sql = {0}, select = {0};
	int64_t now = clock_wall_ms();
	const char *who;
	char event[160];

	if (trust_is_managed(c))
		buf_printf(&guard, "EXISTS (SELECT 1 FROM certificate WHERE serial = '%s' AND revoked_at = 0)", serial);
	else
		buf_printf(&sql,
		           "INSERT OR IGNORE INTO certificate (serial, kind, name, issued_at, not_after) VALUES ('%s', 'node', "
		           "'', %" PRId64 ", %" PRId64 ");",
		           serial, now, now + (int64_t)MAX_DAYS * 86400000);
	buf_printf(&sql, "UPDATE certificate SET revoked_at = %" PRId64 " WHERE serial = '%s';", now, serial);
	buf_printf(&select, "SELECT name FROM certificate WHERE serial = '%s'", serial);
	(void)http_who(r, &who);
	snprintf(event, sizeof event, "certificate %s is revoked, asked by %.40s", serial, who);
	i.guard = guard.len > 0 ? guard.data : NULL;
	i.sql = sql.data;
	i.event = event;
	i.select = select.data;
	trust_issue(c, &i, revoked, new_job(c, r, serial));
	buf_done(&guard);
	buf_done(&sql);
	buf_done(&select);
}

void api_certs_revoke(struct control *c, struct http_request *r)
{
	const struct pki_info *own = trust_own(c);
	json_t *body = api_body(r);
	const char *serial;
	size_t len;

	if (body == NULL)
		return;
	serial = api_member(body, "serial");
	len = strlen(serial);
	if (len == 0 || len > 40 || strspn(serial, "0123456789abcdef") != len)
		api_error(r, ERR_INVAL, "serial: give a certificate's serial number in lower-case hexadecimal",
		          "see `mha-shell cert show`");
	else if (own != NULL && strcmp(own->serial, serial) == 0)
		api_error(r, ERR_REFUSED, "this is the certificate that the controller itself uses now",
		          "renew it first (`mha-shell cert rotate NODE`), then revoke the old one");
	else
		record_revocation(c, r, serial);
	json_decref(body);
}
