/* `cluster init`: the explicit, one-time act that makes a cluster of one. What node.yaml says about groups and addresses is
 * registered with it.
 *
 * Managed certificates come first, since the store opens its credentials when it starts: CA, key and certificate are written,
 * and the CA's key beside them until the store has it. So an init that stops anywhere can be repeated: before the store was
 * made, everything is made anew; after that, the records are written with the CA that is there. */
#include "core/api/trust.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/tls.h"
#include "core/run/trust.h"
#include "core/run/trust_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define INIT_MS    30000
#define RESTORE_MS 3600000
#define CA_DAYS    3650

struct init_job {
	struct control *c;
	struct http_request *http;
	char uuid[40];
	char *restore;            /* the backup to begin with, NULL */
	char *ca, *ca_key, *cert; /* PEM; NULL unless managed */
};

static void free_job(struct init_job *j)
{
	if (j->ca_key != NULL)
		explicit_bzero(j->ca_key, strlen(j->ca_key));
	free(j->ca);
	free(j->ca_key);
	free(j->cert);
	free(j->restore);
	free(j);
}

/* A version 4 UUID. */
static void make_uuid(char *buf, size_t size)
{
	unsigned char b[16];

	while (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(buf, size, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
	         b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* --- certificates --- */

static int write_files(struct init_job *j, const char *key, struct err *e)
{
	const struct trust_pair pair = {j->cert, key, j->ca};
	const struct config *c = j->c->config;
	int rc = trust_files_make_dirs(c, e);

	if (rc == ERR_OK)
		rc = trust_files_save(c, TRUST_INIT, j->ca_key, e);
	if (rc == ERR_OK)
		rc = trust_files_save(c, TRUST_CA, j->ca, e);
	if (rc == ERR_OK)
		rc = trust_files_save_pair(c, &pair, e);
	return rc;
}

static int make_certificates(struct init_job *j, struct err *e)
{
	const struct config *c = j->c->config;
	struct pki_subject self = {.kind = PKI_NODE};
	int64_t now_s = clock_wall_ms() / 1000;
	char *request = NULL, *key = NULL;
	int rc;

	str_copy(self.name, sizeof self.name, c->node);
	str_copy(self.uuid, sizeof self.uuid, j->uuid);
	str_copy(self.address, sizeof self.address, c->address);
	rc = pki_ca_new(c->cluster, j->uuid, now_s, CA_DAYS, &j->ca, &j->ca_key, e);
	if (rc == ERR_OK)
		rc = pki_request_new(c->node, &request, &key, e);
	if (rc == ERR_OK)
		rc = pki_sign(j->ca, j->ca_key, request, &self, now_s, TRUST_LIFETIME_DEFAULT_S, &j->cert, e);
	if (rc == ERR_OK)
		rc = write_files(j, key, e);
	if (key != NULL)
		explicit_bzero(key, strlen(key));
	free(key);
	free(request);
	return rc;
}

/* What an init has left that got as far as the store. */
static int reload_certificates(struct init_job *j, struct err *e)
{
	const struct config *c = j->c->config;
	int rc = trust_files_load(c, TRUST_CA, &j->ca, e);

	if (rc == ERR_OK)
		rc = trust_files_load(c, TRUST_INIT, &j->ca_key, e);
	if (rc == ERR_OK)
		rc = trust_files_load(c, TRUST_CERT, &j->cert, e);
	return rc;
}

/* The operator's own: they must be there and fit before anything is made. */
static int check_own_files(const struct config *c, struct err *e)
{
	struct tls *t;
	int rc = tls_open(c, &t, e);

	if (rc == ERR_OK)
		tls_free(t);
	return rc;
}

static void remove_files(const struct config *c)
{
	static const char *const names[] = {TRUST_CERT, TRUST_KEY, TRUST_CA, TRUST_INIT};
	size_t i;

	for (i = 0; i < sizeof names / sizeof *names; i++)
		trust_files_remove(c, names[i]);
}

/* --- records --- */

static void registered(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct init_job *j = arg;
	struct control *c = j->c;

	(void)res;
	if (outcome != STORE_DONE) {
		char text[400];

		snprintf(text, sizeof text, "the cluster was made but its records were not written: %s %s", sqlstate, message);
		api_error(j->http, ERR_SQL, text, "run `mha-shell cluster init` again: it goes on from here");
	} else {
		trust_files_remove(c->config, TRUST_INIT);
		log_info("cluster", "initialised: %s", j->uuid);
		api_json(j->http, 200, json_pack("{s:s,s:s}", "cluster", c->config->cluster, "uuid", j->uuid));
		if (c->leadership != LEADERSHIP_NONE)
			leadership_lost(c, "the cluster's records were written: everything is read again");
		roster_refresh(c);
	}
	free_job(j);
}

static void add_group(struct buf *b, const struct config *c, const struct config_instance *inst)
{
	buf_printf(b,
	           "INSERT INTO db_group (name, engine, state, epoch, step, primary_node, durability, on_failure) VALUES "
	           "('%s', '%s', 'new', coalesce((SELECT number FROM number_floor WHERE name = 'epoch:%s'), 0), 0, '%s', '%s', "
	           "'%s');",
	           inst->group, inst->engine, inst->group, c->node, inst->durability, inst->on_failure);
	buf_printf(b, "INSERT INTO db_instance (group_name, node) VALUES ('%s', '%s');", inst->group, c->node);
}

static void add_trust(struct init_job *j, struct buf *b)
{
	const struct config *c = j->c->config;
	struct pki_info info;

	buf_printf(b,
	           "INSERT INTO roster (name, address, peer_port, raft_port, sql_port, role, failure_domain) VALUES ('%s', "
	           "'%s', "
	           "%u, %u, %u, '%s', '%s');",
	           c->node, c->address, c->ports.peer, c->ports.raft, c->ports.sql, c->role, c->failure_domain);
	buf_puts(b, "UPDATE roster_number SET number = number + 1;");
	if (tls_is_off(c))
		return;
	buf_puts(b, "INSERT INTO secret_ca (id, cert, key, created_at) VALUES (1, ");
	persist_quote(b, j->ca != NULL ? j->ca : "");
	buf_puts(b, ", ");
	persist_quote(b, j->ca_key != NULL ? j->ca_key : "");
	buf_printf(b, ", %" PRId64 ");", clock_wall_ms());
	if (j->cert != NULL && pki_describe(j->cert, &info, NULL) == ERR_OK)
		trust_certificate_row(b, &info);
}

static void add_cluster(struct init_job *j, struct buf *b, int64_t now)
{
	const struct config *c = j->c->config;

	buf_printf(b, "INSERT INTO cluster (id, name, uuid, profile, created_at) VALUES (1, '%s', '%s', '%s', %" PRId64 ");",
	           c->cluster, j->uuid, c->profile, now);
	buf_printf(b,
	           "INSERT INTO node (name, raft_id, address, raft_address, role, joined_at) VALUES ('%s', '%s', '%s', '%s', "
	           "'voter', %" PRId64 ");",
	           c->node, j->c->member.raft_id, c->address, j->c->member.raft_address, now);
	buf_printf(b,
	           "INSERT INTO voter_set (number, members, committed_at) VALUES (coalesce((SELECT number FROM number_floor "
	           "WHERE "
	           "name = 'voter_set'), 0) + 1, '%s', %" PRId64 ");",
	           c->node, now);
}

static void register_all(struct init_job *j)
{
	const struct config *c = j->c->config;
	int64_t now = clock_wall_ms();
	struct buf b = {0};
	unsigned i;

	add_cluster(j, &b, now);
	add_trust(j, &b);
	for (i = 0; i < c->instances_count; i++)
		add_group(&b, c, &c->instances[i]);
	for (i = 0; i < c->vips_count; i++)
		buf_printf(&b, "INSERT INTO vip (address, owner) VALUES ('%s', '%s');", c->vips[i].address, c->vips[i].owner);
	buf_printf(&b,
	           "INSERT INTO event (at, generation, severity, text) VALUES (%" PRId64
	           ", 0, 'info', 'cluster %s was initialised on %s');",
	           now, c->cluster, c->node);
	buf_puts(&b, "SELECT 1");
	store_session_query(j->c->store, b.data, INIT_MS, registered, j);
	explicit_bzero(b.data, b.len);
	buf_done(&b);
}

/* --- a fresh node --- */

static void bootstrapped(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct init_job *j = arg;
	struct err e = ERR_INIT;

	(void)res;
	if (outcome != STORE_DONE) {
		char text[400];

		snprintf(text, sizeof text, "the store was not initialised: %s %s", sqlstate, message);
		api_error(j->http, outcome == STORE_UNKNOWN ? ERR_TIMEOUT : ERR_REFUSED, text,
		          outcome == STORE_UNKNOWN
		                  ? "run `mha-shell cluster init` again: it goes on from where this one came to"
		                  : NULL);
		/* After a refusal this node is as fresh as before. Otherwise the store may live: its certificates stay. */
		if (outcome == STORE_FAILED && j->ca != NULL && !control_load_member(j->c, &e))
			remove_files(j->c->config);
		free_job(j);
		return;
	}
	if (!control_load_member(j->c, &e)) {
		api_error(j->http, ERR_IO, e.text, NULL);
		free_job(j);
		return;
	}
	register_all(j);
}

static void bootstrap(struct init_job *j)
{
	const struct config *c = j->c->config;
	struct buf b = {0};

	buf_puts(&b, "CALL mha_init(");
	persist_quote(&b, c->cluster);
	buf_printf(&b, ", '%s', '%s'", j->uuid, c->profile);
	if (j->restore != NULL) {
		buf_puts(&b, ", ");
		persist_quote(&b, j->restore);
	}
	buf_puts(&b, ")");
	store_session_query(j->c->store, b.data, j->restore != NULL ? RESTORE_MS : INIT_MS, bootstrapped, j);
	buf_done(&b);
}

static void init_fresh(struct init_job *j)
{
	const struct config *c = j->c->config;
	struct err e = ERR_INIT;
	int rc = ERR_OK;

	make_uuid(j->uuid, sizeof j->uuid);
	if (trust_is_managed(j->c))
		rc = make_certificates(j, &e);
	else if (!tls_is_off(c))
		rc = check_own_files(c, &e);
	if (rc == ERR_OK) {
		bootstrap(j);
		return;
	}
	if (trust_is_managed(j->c))
		remove_files(c);
	api_error(j->http, rc, e.text, NULL);
	free_job(j);
}

/* --- a member: perhaps its init did not come to its end --- */

static void counted(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct init_job *j = arg;
	struct err e = ERR_INIT;
	int rc = ERR_OK;

	(void)sqlstate;
	if (outcome != STORE_DONE)
		rc = err_set(&e, ERR_NOQUORUM, "this node is a member of a cluster already, and its store does not answer: %s",
		             message);
	else if (strcmp(PQgetvalue(res, 0, 0), "0") != 0)
		rc = err_set(&e, ERR_EXISTS, "this node is a member of a cluster already");
	else if (trust_is_managed(j->c))
		rc = reload_certificates(j, &e);
	if (rc == ERR_OK) {
		register_all(j);
		return;
	}
	api_error(j->http, rc, e.text, "see `mha-shell cluster status`");
	free_job(j);
}

/* {"restore": FILE}; NULL otherwise. Returned: free(). */
static char *restore_of(const struct http_request *r)
{
	json_t *body = json_loads(http_body(r), 0, NULL);
	const char *path = json_string_value(json_object_get(body, "restore"));
	char *copy = path != NULL ? mem_strdup(path) : NULL;

	json_decref(body);
	return copy;
}

void api_init(struct control *c, struct http_request *r)
{
	const struct config *config = c->config;
	struct init_job *j;

	if (config_is_arbiter(config)) {
		api_error(r, ERR_REFUSED, "an arbiter cannot be the first node", "run `mha-shell cluster init` on a data node");
		return;
	}
	if (!c->member.is_member && trust_is_managed(c) && trust_files_has(config, TRUST_CERT) &&
	    !trust_files_has(config, TRUST_INIT)) {
		api_error(r, ERR_EXISTS, "this host has joined a cluster by its token and waits to be taken in",
		          "to make a cluster of its own instead: stop mhad, empty its state directory, start it again");
		return;
	}
	j = mem_alloc(sizeof *j);
	j->c = c;
	j->http = r;
	j->restore = restore_of(r);
	if (!c->member.is_member) {
		init_fresh(j);
		return;
	}
	str_copy(j->uuid, sizeof j->uuid, c->member.uuid);
	store_session_query(c->store, "SELECT count(*) FROM cluster", INIT_MS, counted, j);
}
