/* From Raft leadership (a hint) to a generation (a fact), and back. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIN_MS           3000
#define WIN_RETRY_MS     50
#define TRANSFER_MS      3000
#define ARBITER_RETRY_MS 100
#define SIGN_MS          150

static void feed_last_heartbeats(struct control *c, struct ctl *ctl)
{
	unsigned i;

	/* What this node heard before it became controller counts from when it was heard. */
	for (i = 0; i < c->config->nodes_count; i++) {
		struct last_heartbeat *l = &c->last[i];

		if (l->json == NULL || l->extra.cluster_uuid[0] == '\0')
			continue;
		if (codec_decode(c->config, c->config->nodes[i].name, l->json, strlen(l->json), &c->frame, NULL) == ERR_OK)
			ctl_heard(ctl, &c->frame.heartbeat, l->at_ms);
	}
}

static void become_controller(struct control *c, const char *json, uint64_t generation)
{
	struct agent_event ae = {.type = AGENT_GENERATION, .now_ms = clock_now_ms()};
	struct event tick = {.type = EVENT_TICK, .now_ms = ae.now_ms};
	struct ctl *ctl = ctl_new(c->member.profile, c->self, generation, ae.now_ms);
	struct err e = ERR_INIT;

	if (persist_load(c, json, ctl, &e) != ERR_OK) {
		log_error("controller", "cannot start: %s", e.text);
		ctl_free(ctl);
		c->leadership = LEADERSHIP_NONE;
		c->retry_ms = ae.now_ms + 1000;
		return;
	}
	upgrade_loaded(c, persist_schema(json));
	feed_last_heartbeats(c, ctl);
	c->ctl = ctl;
	c->generation = generation;
	c->leadership = LEADERSHIP_ACTIVE;
	c->quorum_ms = ae.now_ms;
	log_info("controller", "generation %" PRIu64 " is committed -> this node decides", generation);
	ae.u.generation = generation;
	effects_agent(c, &ae);
	tick.now_ms = clock_now_ms();
	effects_controller(c, &tick);
}

/* One attempt. A later one supersedes it: its generation is then out of date before its answer comes. */
struct win_job {
	struct control *c;
};

static void won(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct win_job *job = arg;
	struct control *c = job->c;
	bool is_current = c->winning == job && c->leadership == LEADERSHIP_WINNING;
	json_t *o;

	free(job);
	if (!is_current)
		return;
	c->winning = NULL;
	c->leadership = LEADERSHIP_NONE;
	if (outcome != STORE_DONE || res == NULL || PQntuples(res) != 1) {
		/* Unknown is harmless here: the next attempt takes the next generation. */
		log_debug("controller", "the generation was not committed: %s %s", sqlstate, message);
		c->retry_ms = clock_now_ms() + WIN_RETRY_MS;
		control_arm(c);
		return;
	}
	if (!c->is_leader)
		return;
	o = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	become_controller(c, PQgetvalue(res, 0, 0), (uint64_t)json_integer_value(json_object_get(o, "generation")));
	json_decref(o);
}

/* The generation and everything a controller starts from come from one transaction: nothing can have changed in between. */
static void try_to_win(struct control *c)
{
	struct win_job *job = mem_alloc(sizeof *job);
	struct buf b = {0};

	job->c = c;
	c->winning = job;
	c->leadership = LEADERSHIP_WINNING;
	buf_puts(&b, "UPDATE controller SET generation = generation + 1, node = ");
	persist_quote(&b, c->config->node);
	buf_printf(&b, ", since = %" PRId64 ";", clock_wall_ms());
	buf_puts(&b, persist_load_sql());
	store_session_query(c->store, b.data, WIN_MS, won, job);
	buf_done(&b);
}

struct release_job {
	struct control *c;
	uint64_t generation;
	int transfer_to; /* NODE_NONE: nobody */
};

static void transferred(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	(void)arg;
	(void)res;
	if (outcome != STORE_DONE)
		log_warn("controller", "leadership was not handed over: %s %s", sqlstate, message);
}

/* The store no longer serves reads under the lease: now the grants may go back, and a successor need not wait. */
static void lease_revoked(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct release_job *job = arg;
	struct control *c = job->c;
	char sql[96];
	unsigned i;

	(void)res;
	(void)sqlstate;
	(void)message;
	for (i = 0; outcome == STORE_DONE && c->leader_vip_count == 0 && i < c->config->nodes_count; i++)
		effects_send(c, (int)i, codec_release("controller", job->generation));
	if (job->transfer_to != NODE_NONE) {
		snprintf(sql, sizeof sql, "CALL mha_transfer('%s')", c->last[job->transfer_to].extra.raft_id);
		store_session_query(c->store, sql, TRANSFER_MS, transferred, c);
	}
	free(job);
}

static void revoke_lease(struct control *c, uint64_t generation, int transfer_to)
{
	struct release_job *job = mem_alloc(sizeof *job);
	char sql[64];

	job->c = c;
	job->generation = generation;
	job->transfer_to = transfer_to;
	effects_leader_vips(c, generation, 0);
	snprintf(sql, sizeof sql, "SET mha.lease = '%" PRIu64 " 0'", generation);
	store_session_query(c->store, sql, TRANSFER_MS, lease_revoked, job);
}

static void stop_deciding(struct control *c, const char *why)
{
	struct agent_event e = {.type = AGENT_GENERATION, .now_ms = clock_now_ms()};

	if (c->leadership == LEADERSHIP_ACTIVE)
		log_info("controller", "generation %" PRIu64 " ends: %s", c->generation, why);
	c->leadership = LEADERSHIP_NONE;
	ctl_free(c->ctl);
	c->ctl = NULL;
	membership_end(c->membership);
	api_fail_waiting(c, why);
	effects_agent(c, &e);
}

void leadership_lost(struct control *c, const char *why)
{
	bool was_active = c->leadership == LEADERSHIP_ACTIVE;
	uint64_t generation = c->generation;

	stop_deciding(c, why);
	if (was_active)
		revoke_lease(c, generation, NODE_NONE);
	c->retry_ms = 0;
	leadership_tick(c); /* it may still lead: then it reads everything again and goes on */
	control_arm(c);
}

void leadership_transfer(struct control *c, int node, const char *why)
{
	uint64_t generation = c->generation;

	if (c->last[node].extra.raft_id[0] == '\0')
		return;
	log_info("controller", "leadership goes to %s: %s", c->config->nodes[node].name, why);
	stop_deciding(c, "leadership is handed over");
	/* Long enough for the other node to take over; if it does not, this one decides again. */
	c->retry_ms = clock_now_ms() + 1000;
	revoke_lease(c, generation, node);
}

void leadership_notified(struct control *c, const char *payload)
{
	json_t *o = json_loads(payload, 0, NULL);
	bool is_self = json_is_true(json_object_get(o, "self"));
	uint64_t change = (uint64_t)json_integer_value(json_object_get(o, "change"));
	const char *id = json_string_value(json_object_get(o, "id"));
	const char *address = json_string_value(json_object_get(o, "address"));
	bool is_news = change != c->leader_change;

	str_copy(c->leader_id, sizeof c->leader_id, id != NULL ? id : "");
	str_copy(c->leader_address, sizeof c->leader_address, address != NULL ? address : "");
	c->leader_change = change;
	c->is_leader = is_self;
	json_decref(o);
	if (c->leadership != LEADERSHIP_NONE && (!is_self || is_news))
		leadership_lost(c, is_self ? "leadership left and came back" : "another node leads");
	if (is_self)
		c->retry_ms = 0;
	leadership_tick(c);
}

/* An arbiter decides nothing: it hands leadership to a data node that it hears. */
static void arbiter_hands_over(struct control *c)
{
	int64_t now = clock_now_ms();
	unsigned i;
	int best = NODE_NONE;
	char sql[96];

	c->retry_ms = now + ARBITER_RETRY_MS;
	for (i = 0; i < c->config->nodes_count; i++) {
		const struct last_heartbeat *l = &c->last[i];

		if ((int)i == c->self || strcmp(c->config->nodes[i].role, "arbiter") == 0 || l->extra.cluster_uuid[0] == '\0' ||
		    now - l->at_ms > c->member.profile->silence_ms)
			continue;
		if (best == NODE_NONE || l->at_ms > c->last[best].at_ms)
			best = (int)i;
	}
	if (best == NODE_NONE)
		return;
	log_info("controller", "an arbiter does not decide: leadership goes to %s", c->config->nodes[best].name);
	snprintf(sql, sizeof sql, "CALL mha_transfer('%s')", c->last[best].extra.raft_id);
	store_session_query(c->store, sql, TRANSFER_MS, transferred, c);
	c->retry_ms = now + 500;
}

/* A leading store gives the leadership away when its control process is silent. Generation 0 extends nothing. */
static void give_sign(struct control *c)
{
	int64_t now = clock_now_ms();

	if (!c->is_leader || now - c->sign_ms < SIGN_MS)
		return;
	c->sign_ms = now;
	store_session_query(c->store, "SET mha.lease = '0 0'", TRANSFER_MS, NULL, NULL);
}

void leadership_tick(struct control *c)
{
	give_sign(c);
	if (!c->is_leader || !c->member.is_member || c->is_stopping || c->leadership != LEADERSHIP_NONE ||
	    clock_now_ms() < c->retry_ms || !store_session_is_connected(c->store))
		return;
	if (config_is_arbiter(c->config))
		arbiter_hands_over(c);
	else
		try_to_win(c);
}
