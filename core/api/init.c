/* `cluster init`: the explicit, one-time act that makes a cluster of one. What node.yaml says about groups and addresses is
 * registered with it. */
#include "core/api/api.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define INIT_MS 30000

struct init_job {
	struct control *c;
	struct http_request *http;
	char uuid[40];
};

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

static void registered(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct init_job *j = arg;

	(void)res;
	if (outcome != STORE_DONE) {
		char text[400];

		snprintf(text, sizeof text, "the cluster was made but its records were not written: %s %s", sqlstate, message);
		api_error(j->http, ERR_SQL, text, NULL);
	} else {
		log_info("cluster", "initialised: %s", j->uuid);
		api_json(j->http, 200, json_pack("{s:s,s:s}", "cluster", j->c->config->cluster, "uuid", j->uuid));
		if (j->c->leadership != LEADERSHIP_NONE)
			leadership_lost(j->c, "the cluster's records were written: everything is read again");
	}
	free(j);
}

static void add_group(struct buf *b, const struct config *c, const struct config_instance *inst)
{
	buf_printf(b,
	           "INSERT INTO db_group (name, engine, state, epoch, step, primary_node, durability, on_failure) VALUES "
	           "('%s', '%s', 'new', 0, 0, '%s', '%s', '%s');",
	           inst->group, inst->engine, c->node, inst->durability, inst->on_failure);
	buf_printf(b, "INSERT INTO db_instance (group_name, node) VALUES ('%s', '%s');", inst->group, c->node);
}

static void register_all(struct init_job *j)
{
	const struct config *c = j->c->config;
	int64_t now = clock_wall_ms();
	struct buf b = {0};
	unsigned i;

	buf_printf(&b, "INSERT INTO cluster (id, name, uuid, profile, created_at) VALUES (1, '%s', '%s', '%s', %" PRId64 ");",
	           c->cluster, j->uuid, c->profile, now);
	buf_printf(&b,
	           "INSERT INTO node (name, raft_id, address, raft_address, role, joined_at) VALUES ('%s', '%s', '%s', '%s', "
	           "'voter', %" PRId64 ");",
	           c->node, j->c->member.raft_id, c->address, j->c->member.raft_address, now);
	buf_printf(&b, "INSERT INTO voter_set (number, members, committed_at) VALUES (1, '%s', %" PRId64 ");", c->node, now);
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
	buf_done(&b);
}

static void bootstrapped(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct init_job *j = arg;
	struct err e = ERR_INIT;

	(void)res;
	if (outcome != STORE_DONE) {
		char text[400];

		snprintf(text, sizeof text, "the store was not initialised: %s %s", sqlstate, message);
		api_error(j->http, outcome == STORE_UNKNOWN ? ERR_TIMEOUT : ERR_REFUSED, text, NULL);
		free(j);
		return;
	}
	if (!control_load_member(j->c, &e)) {
		api_error(j->http, ERR_IO, e.text, NULL);
		free(j);
		return;
	}
	register_all(j);
}

void api_init(struct control *c, struct http_request *r)
{
	struct init_job *j;
	struct buf b = {0};

	if (c->member.is_member) {
		api_error(r, ERR_EXISTS, "this node is a member of a cluster already", "see `mha-shell cluster status`");
		return;
	}
	if (config_is_arbiter(c->config)) {
		api_error(r, ERR_REFUSED, "an arbiter cannot be the first node", "run `mha-shell cluster init` on a data node");
		return;
	}
	j = mem_alloc(sizeof *j);
	j->c = c;
	j->http = r;
	make_uuid(j->uuid, sizeof j->uuid);
	buf_puts(&b, "CALL mha_init(");
	persist_quote(&b, c->config->cluster);
	buf_printf(&b, ", '%s', '%s')", j->uuid, c->config->profile);
	store_session_query(c->store, b.data, INIT_MS, bootstrapped, j);
	buf_done(&b);
}
