/* POST /v1/join: the one route that needs no certificate. Whoever knows the secret of an invitation is let in, once; everybody
 * else hears the same sentence, whatever was wrong. A lost answer is not repeated: the invitation is used up, make a new one.
 */
#include "core/api/trust.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/trust.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_MS         3000
#define ATTEMPTS_PER_S  5
#define FAILURES_ALARM  5
#define FAILURE_SPAN_MS 60000
#define REFUSAL         "the token is not valid: it was used, has expired, or was withdrawn"
#define REFUSAL_HINT    "make a new one on a member: `mha-shell node add NAME`"

struct join_job {
	struct control *c;
	struct http_request *http;
	char id[33], hash[65];
	char node[33];
	char address[48], role[12], failure_domain[33];
	uint16_t peer_port, raft_port, sql_port;
	char *request; /* NULL: the certificate is the operator's own, or there is none */
};

/* Of this process: how often it was tried and refused lately. */
static struct {
	int64_t second_ms, span_ms;
	unsigned attempts, failures, unlogged;
} tries;

static void free_job(struct join_job *j)
{
	free(j->request);
	explicit_bzero(j, sizeof *j);
	free(j);
}

/* --- refusing --- */

static bool is_flooded(int64_t now)
{
	if (now - tries.second_ms >= 1000) {
		tries.second_ms = now;
		tries.attempts = 0;
	}
	return ++tries.attempts > ATTEMPTS_PER_S;
}

static void record_failures(struct control *c)
{
	struct buf b = {0};
	char text[160];

	snprintf(text, sizeof text, "%u attempts to join with a wrong, used or expired token within a minute", tries.failures);
	persist_guard(&b, c->generation);
	trust_event_row(c, &b, "warning", text);
	buf_puts(&b, "SELECT 1");
	store_session_query(c->store, b.data, READ_MS, NULL, NULL);
	buf_done(&b);
}

/* The reason goes to the log, the first of each minute at once; the event table hears of repeated failures. */
static void count_failure(struct control *c, const char *reason)
{
	int64_t now = clock_now_ms();

	if (tries.span_ms == 0 || now - tries.span_ms > FAILURE_SPAN_MS) {
		if (tries.unlogged > 0)
			log_warn("join", "%u more attempts were refused", tries.unlogged);
		tries.span_ms = now;
		tries.failures = tries.unlogged = 0;
	}
	if (++tries.failures == 1)
		log_warn("join", "refused: %s", reason);
	else
		tries.unlogged++;
	if (tries.failures == FAILURES_ALARM)
		record_failures(c);
}

static void refuse(struct control *c, struct http_request *r, const char *reason)
{
	count_failure(c, reason);
	api_json(r, 403, json_pack("{s:s,s:s,s:s}", "error", "refused", "message", REFUSAL, "hint", REFUSAL_HINT));
}

/* --- letting in --- */

static void let_in(void *arg, const struct err *e, const struct trust_issued *issued)
{
	struct join_job *j = arg;
	json_t *all = issued != NULL ? json_loads(issued->result, 0, NULL) : NULL;

	if (issued == NULL && e->code == ERR_REFUSED)
		refuse(j->c, j->http, "the invitation was used by another request, or the name has become a member's");
	else if (issued == NULL)
		api_error(j->http, e->code, e->text, e->code == ERR_AMBIGUOUS ? REFUSAL_HINT : NULL);
	else {
		log_info("join", "node %s at %s is let in", j->node, j->address);
		api_json(j->http, 200,
		         json_pack("{s:s,s:s,s:s,s:s,s:o}", "cert", issued->cert, "ca", issued->ca, "uuid", issued->uuid,
		                   "profile", j->c->member.profile->name, "roster",
		                   json_incref(json_object_get(all, "roster"))));
		roster_refresh(j->c);
	}
	json_decref(all);
	free_job(j);
}

static void record(struct join_job *j)
{
	struct trust_issue i = {.subject.kind = PKI_NODE, .request = j->request};
	struct buf guard = {0}, sql = {0};
	char event[160];

	buf_printf(&guard,
	           "EXISTS (SELECT 1 FROM secret_join WHERE id = '%s' AND used_at = 0 AND expires_at > %" PRId64
	           ") AND NOT EXISTS (SELECT 1 FROM roster WHERE name = '%s' AND removed_at = 0)",
	           j->id, clock_wall_ms(), j->node);
	buf_printf(&sql, "UPDATE secret_join SET used_at = %" PRId64 " WHERE id = '%s';", clock_wall_ms(), j->id);
	buf_printf(&sql,
	           "INSERT OR REPLACE INTO roster (name, address, peer_port, raft_port, sql_port, role, failure_domain) VALUES "
	           "('%s', '%s', %u, %u, %u, '%s', '%s');",
	           j->node, j->address, j->peer_port, j->raft_port, j->sql_port, j->role, j->failure_domain);
	buf_puts(&sql, "UPDATE roster_number SET number = number + 1;");
	snprintf(event, sizeof event, "node %s (%s) at %s was let in by its token", j->node, j->role, j->address);
	str_copy(i.subject.name, sizeof i.subject.name, j->node);
	str_copy(i.subject.address, sizeof i.subject.address, j->address);
	i.guard = guard.data;
	i.sql = sql.data;
	i.event = event;
	i.select = "SELECT json_object(" NODES_SQL ")";
	trust_issue(j->c, &i, let_in, j);
	buf_done(&guard);
	buf_done(&sql);
}

/* --- checking --- */

/* NULL: this is the invitation's guest. */
static const char *find_fault(const struct join_job *j, const json_t *row)
{
	const char *hash = json_string_value(json_object_get(row, "hash"));
	const char *stranger = "0000000000000000000000000000000000000000000000000000000000000000";
	bool is_right = CRYPTO_memcmp(hash != NULL && strlen(hash) == 64 ? hash : stranger, j->hash, 64) == 0;
	const char *name = NULL;

	if (hash == NULL)
		return "there is no such invitation";
	if (!is_right)
		return "the secret of the invitation is another one";
	if (json_integer_value(json_object_get(row, "used_at")) != 0)
		return "the invitation has been used already";
	if (json_integer_value(json_object_get(row, "expires_at")) <= clock_wall_ms())
		return "the invitation has expired";
	if (http_who(j->http, &name) == HTTP_NODE && strcmp(name, api_member(row, "node")) != 0)
		return "the certificate shown is of another node than the invitation";
	return NULL;
}

/* The guest is known; what he says about himself must fit the cluster. */
static int check_guest(const struct join_job *j, const json_t *row, struct err *e)
{
	const char *role = api_member(row, "role");
	const struct config *c = j->c->config;
	unsigned i;

	if (strcmp(role, j->role) != 0)
		return err_set(e, ERR_REFUSED, "node \"%s\" was invited as %s, but its node.yaml says role: %s", j->node, role,
		               j->role);
	if (trust_is_managed(j->c) != (j->request != NULL))
		return err_set(e, ERR_REFUSED, "the cluster's tls mode is \"%s\": say the same in the node.yaml of \"%s\"",
		               c->tls.mode, j->node);
	for (i = 0; i < c->nodes_count; i++) {
		const struct config_node *n = &c->nodes[i];

		if (!n->is_removed && strcmp(n->name, j->node) != 0 && strcmp(n->address, j->address) == 0 &&
		    (n->peer_port == j->peer_port || n->raft_port == j->raft_port))
			return err_set(e, ERR_REFUSED,
			               "address %s with these ports is node \"%s\"'s: give \"%s\" one of its own", j->address,
			               n->name, j->node);
	}
	if (config_find_node(c, j->node) == NULL && c->nodes_count == CONFIG_NODES_MAX)
		return err_set(e, ERR_REFUSED,
		               "the cluster has had %d nodes, more names are not possible: take the name of a removed one",
		               CONFIG_NODES_MAX);
	return ERR_OK;
}

static void invitation_read(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate,
                            const char *message)
{
	struct join_job *j = arg;
	struct err e = ERR_INIT;
	const char *fault = NULL;
	json_t *row;

	(void)sqlstate;
	if (outcome != STORE_DONE || j->c->leadership != LEADERSHIP_ACTIVE) {
		api_error(j->http, ERR_NOQUORUM,
		          message[0] != '\0' ? message : "this node stopped being the controller: ask again", NULL);
		free_job(j);
		return;
	}
	row = PQntuples(res) == 1 ? json_loads(PQgetvalue(res, 0, 0), 0, NULL) : NULL;
	fault = find_fault(j, row);
	str_copy(j->node, sizeof j->node, api_member(row, "node"));
	if (fault != NULL)
		refuse(j->c, j->http, fault);
	else if (check_guest(j, row, &e) != ERR_OK)
		api_error(j->http, e.code, e.text, "nothing has changed: correct it and use the same token again");
	else
		record(j);
	json_decref(row);
	if (fault != NULL || e.code != ERR_OK)
		free_job(j);
}

static bool take_port(const json_t *body, const char *key, uint16_t *ret)
{
	json_int_t n = json_integer_value(json_object_get(body, key));

	*ret = (uint16_t)n;
	return n >= 1 && n <= UINT16_MAX;
}

static int read_body(struct join_job *j, const json_t *body, struct err *e)
{
	const char *secret = api_member(body, "secret"), *request = api_member(body, "request");
	const char *address = api_member(body, "address"), *domain = api_member(body, "failure_domain");
	unsigned char ip[16];

	if (!str_copy(j->id, sizeof j->id, api_member(body, "id")) || j->id[strspn(j->id, "0123456789abcdef")] != '\0' ||
	    strlen(secret) != 64)
		return err_set(e, ERR_INVAL, "id and secret are those of no token");
	if (inet_pton(AF_INET, address, ip) != 1 && inet_pton(AF_INET6, address, ip) != 1)
		return err_set(e, ERR_INVAL, "address is no numeric address");
	if (domain[0] != '\0' && !str_is_name(domain))
		return err_set(e, ERR_INVAL, "failure_domain is no name");
	if (!take_port(body, "peer_port", &j->peer_port) || !take_port(body, "raft_port", &j->raft_port) ||
	    !take_port(body, "sql_port", &j->sql_port))
		return err_set(e, ERR_INVAL, "peer_port, raft_port and sql_port are three ports");
	if (strlen(request) > PKI_PEM_MAX)
		return err_set(e, ERR_INVAL, "the request is too long");
	api_hash(secret, j->hash);
	str_copy(j->address, sizeof j->address, address);
	str_copy(j->role, sizeof j->role, api_member(body, "role"));
	str_copy(j->failure_domain, sizeof j->failure_domain, domain);
	j->request = request[0] != '\0' ? mem_strdup(request) : NULL;
	return ERR_OK;
}

void api_join(struct control *c, struct http_request *r)
{
	struct err e = ERR_INIT;
	struct buf sql = {0};
	struct join_job *j;
	json_t *body;

	if (is_flooded(clock_now_ms())) {
		api_json(r, 429, json_pack("{s:s,s:s}", "error", "refused", "message", "too many attempts: wait a second"));
		return;
	}
	body = api_body(r);
	if (body == NULL)
		return;
	j = mem_alloc(sizeof *j);
	j->c = c;
	j->http = r;
	if (read_body(j, body, &e) != ERR_OK) {
		api_error(r, e.code, e.text, NULL);
		free_job(j);
	} else {
		buf_printf(&sql,
		           "SELECT json_object('node', node, 'role', role, 'hash', secret_hash, 'expires_at', expires_at, "
		           "'used_at', "
		           "used_at) FROM secret_join WHERE id = '%s'",
		           j->id);
		store_session_query(c->store, sql.data, READ_MS, invitation_read, j);
		buf_done(&sql);
	}
	json_decref(body);
}
