/* The store's schema and the builds of the nodes. The controller migrates the store when every member that it hears knows the
 * newer version; until then old and new builds work side by side on the old one. A build that knows less than the store has
 * ends with exit code 78: it could misread what the others decide. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EX_CONFIG  78
#define SHOW_MS    5000
#define MIGRATE_MS 60000
#define LOOK_MS    1000

static void refuse_newer(struct control *c, uint64_t store, const char *who)
{
	if (c->is_stopping)
		return;
	log_error("upgrade",
	          "the store's schema has version %" PRIu64 " (%s), this build knows %" PRIu64
	          " only -> this node stops: install the newer build here (a downgrade is not possible)",
	          store, who, c->schema.known);
	control_stop(c, EX_CONFIG);
}

static void known_came(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct control *c = arg;

	(void)sqlstate;
	(void)message;
	if (outcome == STORE_DONE && res != NULL && PQntuples(res) == 1)
		c->schema.known = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
}

void upgrade_connected(struct control *c)
{
	store_session_query(c->store, "SHOW mha.schema", SHOW_MS, known_came, c);
}

void upgrade_loaded(struct control *c, uint64_t version)
{
	c->schema.store = version;
	c->schema.is_busy = c->schema.is_wait_said = false;
	if (c->schema.known != 0 && version > c->schema.known)
		refuse_newer(c, version, "read by this node");
}

void upgrade_heard(struct control *c, int node)
{
	const struct hb_extra *x = &c->last[node].extra;

	if (c->schema.known == 0 || strcmp(x->cluster_uuid, c->member.uuid) != 0)
		return;
	if (x->schema_store > c->schema.known)
		refuse_newer(c, x->schema_store, c->config->nodes[node].name);
	else if (x->schema_store > c->schema.store)
		c->schema.store = x->schema_store;
}

/* The first member that is heard and whose build is too old; NODE_NONE. */
static int find_older(const struct control *c, int64_t now)
{
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++) {
		const struct last_heartbeat *l = &c->last[i];

		if ((int)i == c->self || l->json == NULL || c->config->nodes[i].is_removed || l->extra.cluster_uuid[0] == '\0')
			continue;
		if (now - l->at_ms <= c->member.profile->silence_ms && l->extra.schema < c->schema.known)
			return (int)i;
	}
	return NODE_NONE;
}

struct migrate_job {
	struct control *c;
	uint64_t generation, from, to;
};

static void migrated(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct migrate_job *j = arg;
	struct control *c = j->c;
	struct buf b = {0};

	(void)res;
	c->schema.is_busy = false;
	c->schema.looked_ms = clock_now_ms() + 9 * LOOK_MS; /* after a failure: not at once again */
	if (outcome != STORE_DONE) {
		log_error("upgrade", "the schema stays at version %" PRIu64 ": %s %s", j->from, sqlstate, message);
	} else if (c->leadership == LEADERSHIP_ACTIVE && c->generation == j->generation) {
		log_info("upgrade", "every node knows it -> the schema goes from version %" PRIu64 " to %" PRIu64, j->from,
		         j->to);
		c->schema.store = j->to;
		persist_guard(&b, c->generation);
		buf_printf(&b,
		           "INSERT INTO event (at, generation, severity, text) VALUES (%" PRId64 ", %" PRIu64
		           ", 'info', 'the schema of the store went from version %" PRIu64 " to %" PRIu64 "');SELECT 1",
		           clock_wall_ms(), c->generation, j->from, j->to);
		store_session_query(c->store, b.data, SHOW_MS, NULL, NULL);
		buf_done(&b);
		leadership_lost(c, "the store's schema is newer: everything is read again");
	}
	free(j);
}

void upgrade_tick(struct control *c)
{
	int64_t now = clock_now_ms();
	struct schema_state *s = &c->schema;
	struct migrate_job *j;
	int older;

	if (c->leadership != LEADERSHIP_ACTIVE || s->is_busy || s->store == 0 || s->known <= s->store ||
	    now - s->looked_ms < LOOK_MS)
		return;
	s->looked_ms = now;
	older = find_older(c, now);
	if (older != NODE_NONE) {
		if (!s->is_wait_said)
			log_info("upgrade",
			         "this build knows schema version %" PRIu64 ", the store has %" PRIu64
			         ": it stays until node %s runs the newer build too",
			         s->known, s->store, c->config->nodes[older].name);
		s->is_wait_said = true;
		return;
	}
	j = mem_alloc(sizeof *j);
	*j = (struct migrate_job){c, c->generation, s->store, s->known};
	s->is_busy = true;
	store_session_query(c->store, "CALL mha_migrate()", MIGRATE_MS, migrated, j);
}
