/* Policies of the whole cluster: what may be set, and to what. A missing row means the default. */
#include "core/api/trust.h"
#include "core/run/trust.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_MS 3000

struct policy {
	const char *name, *standard, *help;
	int64_t min, max; /* a number */
};

static const struct policy policies[] = {
        {TRUST_LIFETIME_POLICY, "31536000", "how long certificates issued from now on are valid, in seconds",
         TRUST_LIFETIME_MIN_S, TRUST_LIFETIME_MAX_S},
        {MEMBERSHIP_GONE_POLICY, "600", "after so many seconds of silence a standby votes in a voter's place; 0: never", 0,
         INT32_MAX},
        {DISK_PERCENT_POLICY, "15", "a node warns when less of its store's disk is free, in per cent", 1, 90},
        {DISK_MB_POLICY, "200", "a node warns when less of its store's disk is free, in MB", 1, 1 << 20},
        {DISK_LEADER_POLICY, "64", "below so many free MB a node leads only if no other node has room", 1, 1 << 20},
};
#define POLICY_COUNT (sizeof policies / sizeof policies[0])

struct policy_job {
	struct control *c;
	struct http_request *http;
	char name[64], value[32];
};

static struct policy_job *new_job(struct control *c, struct http_request *r)
{
	struct policy_job *j = mem_alloc(sizeof *j);

	j->c = c;
	j->http = r;
	return j;
}

static const char *value_of(const PGresult *res, const char *name)
{
	int row;

	for (row = 0; row < PQntuples(res); row++)
		if (strcmp(PQgetvalue(res, row, 0), name) == 0)
			return PQgetvalue(res, row, 1);
	return NULL;
}

static void listed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct policy_job *j = arg;
	json_t *list;
	size_t i;

	(void)sqlstate;
	if (outcome != STORE_DONE) {
		api_error(j->http, ERR_NOQUORUM, message, NULL);
		free(j);
		return;
	}
	list = json_array();
	for (i = 0; i < POLICY_COUNT; i++) {
		const char *value = value_of(res, policies[i].name);

		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "name", policies[i].name, "value",
		                                      value != NULL ? value : policies[i].standard, "default",
		                                      policies[i].standard, "help", policies[i].help));
	}
	api_json(j->http, 200, json_pack("{s:o}", "policies", list));
	free(j);
}

void api_policy(struct control *c, struct http_request *r)
{
	store_session_query(c->store, "SELECT name, value FROM policy", READ_MS, listed, new_job(c, r));
}

static const struct policy *find(const char *name)
{
	size_t i;

	for (i = 0; i < POLICY_COUNT; i++)
		if (strcmp(policies[i].name, name) == 0)
			return &policies[i];
	return NULL;
}

static void set_done(void *arg, const struct err *e, const struct trust_issued *issued)
{
	struct policy_job *j = arg;

	if (issued == NULL)
		api_error(j->http, e->code, e->text, NULL);
	else
		api_json(j->http, 200, json_pack("{s:s,s:s}", "name", j->name, "value", j->value));
	if (issued != NULL) {
		membership_policy(j->c->membership, j->name, j->value);
		disk_policy(j->c, j->name, j->value);
	}
	free(j);
}

static int read_value(const json_t *body, const struct policy **ret, char *value, size_t size, struct err *e)
{
	const struct policy *p = find(api_member(body, "name"));
	const json_t *v = json_object_get(body, "value");
	uint64_t n;
	int rc;

	if (p == NULL)
		return err_set(e, ERR_NOTFOUND, "there is no policy \"%.40s\"", api_member(body, "name"));
	if (json_is_integer(v))
		snprintf(value, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else
		snprintf(value, size, "%.20s", api_member(body, "value"));
	rc = str_to_u64(value, p->name, (uint64_t)p->min, (uint64_t)p->max, &n, e);
	if (rc != ERR_OK)
		return rc;
	snprintf(value, size, "%" PRIu64, n);
	*ret = p;
	return ERR_OK;
}

void api_policy_set(struct control *c, struct http_request *r)
{
	struct trust_issue i = {.request = NULL};
	const struct policy *p = NULL;
	struct err e = ERR_INIT;
	struct policy_job *j;
	char sql[200], event[200], value[32];
	const char *who;
	json_t *body = api_body(r);

	if (body == NULL)
		return;
	if (read_value(body, &p, value, sizeof value, &e) != ERR_OK) {
		api_error(r, e.code, e.text, "`mha-shell cluster policy` lists what can be set");
		json_decref(body);
		return;
	}
	json_decref(body);
	j = new_job(c, r);
	str_copy(j->name, sizeof j->name, p->name);
	str_copy(j->value, sizeof j->value, value);
	(void)http_who(r, &who);
	snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO policy (name, value) VALUES ('%s', '%s');", p->name, value);
	snprintf(event, sizeof event, "policy %s is set to %s, asked by %.40s", p->name, value, who);
	i.sql = sql;
	i.event = event;
	trust_issue(c, &i, set_done, j);
}
