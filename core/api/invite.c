/* POST /v1/nodes: an invitation. The answer holds the only copy of the secret: the store keeps its hash. */
#include "core/api/trust.h"
#include "core/base/clock.h"
#include "core/base/token.h"
#include "core/run/trust.h"
#include "core/run/trust_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TTL_DEFAULT_S 3600
#define TTL_MAX_S     (7 * 86400)
#define RENAME_HINT                                                                                                            \
	"a host that is gone for good is removed first (`mha-shell node remove NAME`); a node is never renamed: remove the "   \
	"old "                                                                                                                 \
	"name and add the new one"

struct invite_job {
	struct control *c;
	struct http_request *http;
	struct token token;
	int64_t expires_ms;
};

static void free_job(struct invite_job *j)
{
	explicit_bzero(j, sizeof *j);
	free(j);
}

static void invited(void *arg, const struct err *e, const struct trust_issued *issued)
{
	struct invite_job *j = arg;
	char when[32], message[160];
	char *text;

	if (issued == NULL && e->code == ERR_REFUSED) {
		snprintf(message, sizeof message, "node \"%s\" is a member of the cluster already", j->token.node);
		api_error(j->http, ERR_EXISTS, message, RENAME_HINT);
	} else if (issued == NULL) {
		api_error(j->http, e->code, e->text, NULL);
	} else {
		text = token_format(&j->token);
		api_json(j->http, 200,
		         json_pack("{s:s,s:s,s:s,s:s}", "node", j->token.node, "role", j->token.role, "token", text,
		                   "expires_at", clock_format_wall(j->expires_ms, when)));
		explicit_bzero(text, strlen(text));
		free(text);
	}
	free_job(j);
}

/* The peer ports of everybody who is online, this node first: it is the controller. */
static void list_addresses(struct control *c, struct token *t)
{
	int64_t now = clock_now_ms();
	unsigned i;

	for (i = 0; i < c->config->nodes_count && t->address_count < TOKEN_ADDRESSES_MAX; i++) {
		unsigned node = i == 0 ? (unsigned)c->self : i <= (unsigned)c->self ? i - 1 : i;
		const struct config_node *n = &c->config->nodes[node];
		bool is_v6 = strchr(n->address, ':') != NULL;

		if (n->is_removed || ((int)node != c->self && !ctl_is_online(c->ctl, (int)node, now)))
			continue;
		snprintf(t->addresses[t->address_count++], sizeof t->addresses[0], "%s%s%s:%u", is_v6 ? "[" : "", n->address,
		         is_v6 ? "]" : "", n->peer_port);
	}
}

static int fill_token(struct control *c, struct token *t, struct err *e)
{
	struct pki_info ca;
	char *pem = NULL;
	int rc = ERR_OK;

	str_copy(t->cluster, sizeof t->cluster, c->config->cluster);
	str_copy(t->uuid, sizeof t->uuid, c->member.uuid);
	str_copy(t->mode, sizeof t->mode, c->config->tls.mode);
	list_addresses(c, t);
	api_random_hex(8, t->id);
	api_random_hex(32, t->secret);
	if (!trust_is_managed(c))
		return ERR_OK;
	rc = trust_files_load(c->config, TRUST_CA, &pem, e);
	if (rc == ERR_OK)
		rc = pki_describe(pem, &ca, e);
	if (rc == ERR_OK)
		str_copy(t->ca, sizeof t->ca, ca.fingerprint);
	free(pem);
	return rc;
}

/* Earlier invitations of the same name end with this one. */
static void record(struct invite_job *j)
{
	struct trust_issue i = {.event = NULL};
	char guard[256], hash[65], event[160], when[32];
	struct buf sql = {0};

	api_hash(j->token.secret, hash);
	snprintf(guard, sizeof guard,
	         "NOT EXISTS (SELECT 1 FROM roster WHERE name = '%s' AND removed_at = 0) AND NOT EXISTS (SELECT 1 FROM node "
	         "WHERE name = '%s')",
	         j->token.node, j->token.node);
	buf_printf(&sql, "DELETE FROM secret_join WHERE node = '%s' OR expires_at < %" PRId64 ";", j->token.node,
	           clock_wall_ms());
	buf_printf(&sql,
	           "INSERT INTO secret_join (id, node, role, secret_hash, expires_at) VALUES ('%s', '%s', '%s', '%s', %" PRId64
	           ");",
	           j->token.id, j->token.node, j->token.role, hash, j->expires_ms);
	snprintf(event, sizeof event, "node %s (%s) is invited to join until %s", j->token.node, j->token.role,
	         clock_format_wall(j->expires_ms, when));
	i.guard = guard;
	i.sql = sql.data;
	i.event = event;
	trust_issue(j->c, &i, invited, j);
	buf_done(&sql);
}

static int read_body(struct invite_job *j, const json_t *body, struct err *e)
{
	const json_t *ttl = json_object_get(body, "ttl_s");
	int64_t ttl_s = json_is_integer(ttl) ? json_integer_value(ttl) : TTL_DEFAULT_S;
	const char *name = api_member(body, "name"), *role = api_member(body, "role");

	if (role[0] == '\0')
		role = "data";
	if (!str_is_name(name))
		return err_set(e, ERR_INVAL,
		               "name: \"%.40s\" is not a name: use 1 to 32 of a-z, 0-9, - and _, starting with a letter or "
		               "digit",
		               name);
	if (strcmp(role, "data") != 0 && strcmp(role, "arbiter") != 0)
		return err_set(e, ERR_INVAL, "role: \"%.20s\" is neither data nor arbiter", role);
	if ((ttl != NULL && !json_is_integer(ttl)) || ttl_s < 1 || ttl_s > TTL_MAX_S)
		return err_set(e, ERR_INVAL, "ttl_s: give 1 to %d seconds", TTL_MAX_S);
	str_copy(j->token.node, sizeof j->token.node, name);
	str_copy(j->token.role, sizeof j->token.role, role);
	j->expires_ms = clock_wall_ms() + ttl_s * 1000;
	return ERR_OK;
}

void api_invite(struct control *c, struct http_request *r)
{
	struct invite_job *j;
	struct err e = ERR_INIT;
	json_t *body = api_body(r);
	const struct config_node *n;
	int rc;

	if (body == NULL)
		return;
	j = mem_alloc(sizeof *j);
	j->c = c;
	j->http = r;
	rc = read_body(j, body, &e);
	json_decref(body);
	n = rc == ERR_OK ? config_find_node(c->config, j->token.node) : NULL;
	if (n != NULL && !n->is_removed)
		rc = err_set(&e, ERR_EXISTS, "node \"%s\" is a member of the cluster already, at %s", n->name, n->address);
	if (rc == ERR_OK)
		rc = fill_token(c, &j->token, &e);
	if (rc == ERR_OK) {
		record(j);
		return;
	}
	api_error(r, rc, e.text, rc == ERR_EXISTS ? RENAME_HINT : NULL);
	free_job(j);
}
