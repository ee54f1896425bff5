/* The agent by hand: one instance, this node and two other voters. */
#include "core/agent/agent.h"
#include "core/base/clock.h"
#include "core/base/vip_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N1, N2, N3, NODES };

struct bench {
	struct agent *agent;
	struct agent_update u;
	int64_t now_ms;
	struct dbd_report report;
	/* what the last steps did */
	int dbd_verbs[DBD_REPORT + 1];
	struct dbd_msg last_dbd;
	int64_t vip_deadline_ms;
	bool is_vip_released, is_lease_released;
	uint32_t vip_seq;
	int heartbeats, kills;
};

static void step(struct bench *b, struct agent_event *e);

static void note(struct bench *b)
{
	size_t i;

	for (i = 0; i < b->u.count; i++) {
		const struct agent_action *x = &b->u.actions[i];

		if (x->type == AGENT_SEND_DBD) {
			b->dbd_verbs[x->u.dbd.type]++;
			if (x->u.dbd.type != DBD_LEASE)
				b->last_dbd = x->u.dbd;
		} else if (x->type == AGENT_SEND_VIP_LEASE) {
			b->vip_deadline_ms = x->deadline_ms;
			b->vip_seq = x->seq;
		} else if (x->type == AGENT_SEND_VIP_RELEASE) {
			b->is_vip_released = true;
			b->vip_seq = x->seq;
		} else if (x->type == AGENT_SEND_RELEASE) {
			b->is_lease_released = true;
		} else if (x->type == AGENT_SEND_HEARTBEAT) {
			b->heartbeats++;
		} else if (x->type == AGENT_KILL_DBD) {
			b->kills++;
		}
	}
}

static void step(struct bench *b, struct agent_event *e)
{
	e->now_ms = b->now_ms;
	agent_step(b->agent, e, &b->u);
	note(b);
}

static void tick(struct bench *b, int64_t ms)
{
	struct agent_event e = {.type = AGENT_TICK};

	b->now_ms += ms;
	step(b, &e);
}

static void grant(struct bench *b, int voter)
{
	const struct heartbeat *hb = agent_heartbeat(b->agent);
	struct lease_reply r = {.voter = voter, .number = hb->number, .answer = LEASE_GRANTED, .voters = {1, 7}};
	struct agent_event e = {.type = AGENT_LEASE_REPLY};
	size_t i;

	e.u.reply = &r;
	for (i = 0; i < hb->ask_count; i++) {
		memcpy(r.resource, hb->asks[i].resource, sizeof r.resource);
		r.value = hb->asks[i].value;
		step(b, &e);
	}
}

static void report(struct bench *b)
{
	struct dbd_msg m = {.version = DBD_MSG_VERSION, .type = DBD_REPORT};
	struct agent_event e = {.type = AGENT_DBD};

	m.report = b->report;
	e.u.dbd.msg = &m;
	step(b, &e);
}

static void reply(struct bench *b, int rc)
{
	struct dbd_msg m = {.version = DBD_MSG_VERSION, .type = DBD_REPLY, .seq = b->last_dbd.seq, .rc = rc, .text = "because"};
	struct agent_event e = {.type = AGENT_DBD};

	m.report = b->report;
	e.u.dbd.msg = &m;
	step(b, &e);
}

static void vip_reply(struct bench *b, uint32_t flags)
{
	struct agent_event e = {.type = AGENT_VIP_REPLY};

	e.u.vip.seq = b->vip_seq;
	e.u.vip.flags = flags;
	e.u.vip.owner = "group:main";
	step(b, &e);
}

static struct order order_of(struct bench *b, enum order_role role, uint64_t epoch, uint64_t step_no)
{
	struct order o = {.group = "main",
	                  .generation = 3,
	                  .epoch = epoch,
	                  .step = step_no,
	                  .role = role,
	                  .primary = N2,
	                  .is_sync = true};

	o.answers = agent_heartbeat(b->agent)->number;
	o.answers_incarnation = 42;
	return o;
}

static void give(struct bench *b, struct order *o)
{
	struct agent_event e = {.type = AGENT_ORDER};

	e.u.order = o;
	step(b, &e);
}

static int setup(void **state)
{
	static struct bench b;
	struct agent_node nodes[NODES] = {{"n1", "10.0.0.1", false}, {"n2", "10.0.0.2", false}, {"n3", "10.0.0.3", false}};
	struct agent_instance inst = {"main", 5432};
	struct agent_setup s = {.profile = profile_find("fast"),
	                        .self = N1,
	                        .node_count = NODES,
	                        .nodes = nodes,
	                        .instance_count = 1,
	                        .instances = &inst,
	                        .incarnation = 42,
	                        .has_vipd = true};
	struct voter_set v = {1, 7};
	struct agent_event e = {.type = AGENT_DBD_UP};

	memset(&b, 0, sizeof b);
	b.now_ms = 50000;
	b.agent = agent_new(&s, b.now_ms);
	agent_set_voters(b.agent, &v);
	step(&b, &e);
	e.type = AGENT_VIPD_UP;
	step(&b, &e);
	vip_reply(&b, VIP_F_FENCE_ACTIVE);
	b.report.process = DBD_PROC_STOPPED;
	report(&b);
	tick(&b, 200);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	agent_free(b->agent);
	agent_update_done(&b->u);
	return 0;
}

/* Ordered, promoted, leased, open. */
static void become_primary(struct bench *b)
{
	struct order o = order_of(b, ORDER_PRIMARY, 2, 7);

	o.is_bring_up = true;
	o.vip_count = 1;
	snprintf(o.vips[0], sizeof o.vips[0], "10.0.0.100");
	give(b, &o);
	tick(b, 200);
	grant(b, N2);
	grant(b, N3);
	b->report.process = DBD_PROC_RUNNING;
	b->report.role = DBD_ROLE_PRIMARY;
	b->report.is_accepting = 1;
	b->report.epoch = b->report.promoted_epoch = 2;
	reply(b, 0);
	vip_reply(b, VIP_F_FENCE_ACTIVE | VIP_F_HELD);
	b->now_ms += 1000; /* what an earlier process might have left open has lapsed */
	tick(b, 0);
	grant(b, N2);
	grant(b, N3);
}

static void a_primary_is_promoted_only_with_the_lease(void **state)
{
	struct bench *b = *state;
	struct order o = order_of(b, ORDER_PRIMARY, 2, 7);

	o.is_bring_up = true;
	give(b, &o);
	tick(b, 200);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 0);
	grant(b, N2);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 0); /* one of three is no majority */
	grant(b, N3);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 1);
	assert_int_equal(b->last_dbd.epoch, 2);
}

static void an_early_promotion_needs_an_active_fence(void **state)
{
	struct bench *b = *state;
	struct order o = order_of(b, ORDER_PRIMARY, 2, 7);

	o.is_bring_up = o.is_early = true;
	vip_reply(b, 0); /* the fence is not active */
	give(b, &o);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 0);
	vip_reply(b, VIP_F_FENCE_ACTIVE);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 1);
	assert_int_equal(b->vip_deadline_ms, 0); /* and nothing is opened by it */
}

static void the_door_opens_when_promoted_and_leased(void **state)
{
	struct bench *b = *state;

	become_primary(b);
	assert_true(b->vip_deadline_ms > b->now_ms);
	assert_true(b->vip_deadline_ms <= b->now_ms + 784); /* L less the margin, from the sending */
	assert_true(agent_lease_is_valid(b->agent, "group:main", b->now_ms));
}

static void grants_go_back_only_after_the_door_is_closed(void **state)
{
	struct bench *b = *state;

	become_primary(b);
	b->is_vip_released = b->is_lease_released = false;
	b->report.process = DBD_PROC_STOPPED;
	b->report.role = DBD_ROLE_UNKNOWN;
	{
		struct order o = order_of(b, ORDER_PRIMARY, 2, 8); /* steady: nobody brings it up again */

		give(b, &o);
	}
	report(b);
	assert_true(b->is_vip_released);
	assert_false(b->is_lease_released);
	vip_reply(b, VIP_F_FENCE_ACTIVE);
	assert_true(b->is_lease_released);
}

static void a_running_primary_never_gives_its_grants_back(void **state)
{
	struct bench *b = *state;
	struct order o;

	become_primary(b);
	b->is_lease_released = false;
	o = order_of(b, ORDER_STOP, 2, 9);
	give(b, &o);
	vip_reply(b, VIP_F_FENCE_ACTIVE);
	assert_int_equal(b->dbd_verbs[DBD_STOP], 1);
	assert_false(b->is_lease_released);
	b->report.process = DBD_PROC_STOPPED;
	report(b);
	tick(b, 10);
	assert_true(b->is_lease_released);
}

/* The server has ended and is being started for another promotion: no process yet, and one that is a primary at any moment. */
static void a_promotion_under_way_keeps_the_grants_and_is_interrupted_by_a_stop(void **state)
{
	struct bench *b = *state;
	struct order o = order_of(b, ORDER_PRIMARY, 2, 7);

	o.is_bring_up = true;
	give(b, &o);
	tick(b, 200);
	grant(b, N2);
	grant(b, N3);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 1);
	b->now_ms += 1000; /* what an earlier process might have left open has lapsed */
	tick(b, 0);
	o = order_of(b, ORDER_PRIMARY, 2, 8); /* steady: the record knows nothing of it */
	give(b, &o);
	tick(b, 10);
	assert_false(b->is_lease_released);
	o = order_of(b, ORDER_STOP, 2, 9);
	give(b, &o);
	assert_int_equal(b->dbd_verbs[DBD_STOP], 1);
	reply(b, 0);
	tick(b, 10);
	assert_true(b->is_lease_released);
}

static void a_promotion_under_a_lease_ends_with_the_lease(void **state)
{
	struct bench *b = *state;
	struct order o = order_of(b, ORDER_PRIMARY, 2, 7);

	vip_reply(b, 0); /* no fence: the guard's deadline is the only one */
	o.is_bring_up = true;
	give(b, &o);
	tick(b, 200);
	grant(b, N2);
	grant(b, N3);
	assert_int_equal(b->dbd_verbs[DBD_PROMOTE], 1);
	assert_true(b->last_dbd.deadline_ns > 0);
	assert_int_equal(b->last_dbd.grace_ms, 0);
}

static void a_server_left_half_brought_up_is_stopped(void **state)
{
	struct bench *b = *state;
	struct order o;

	become_primary(b);
	b->report.role = DBD_ROLE_REPLICA;
	report(b);
	o = order_of(b, ORDER_PRIMARY, 2, 8); /* steady: nobody brings it up again */
	give(b, &o);
	reply(b, 1); /* the promotion that was begun under the old order has failed */
	b->now_ms += 1000;
	tick(b, 0);
	assert_int_equal(b->dbd_verbs[DBD_STOP], 1);
}

/* The guard's reports wait in the socket while the agent itself is frozen; a guard that is silent while it runs is killed. */
static void only_a_guard_that_is_silent_while_the_agent_runs_is_killed(void **state)
{
	struct bench *b = *state;
	int ticks = 0;

	tick(b, 60000);
	assert_int_equal(b->kills, 0);
	while (b->kills == 0 && ++ticks < 100)
		tick(b, 200);
	assert_in_range(ticks, 10, 12);
}

static void orders_of_older_epochs_generations_and_heartbeats_are_dropped(void **state)
{
	struct bench *b = *state;
	struct order o;

	become_primary(b);
	memset(b->dbd_verbs, 0, sizeof b->dbd_verbs);
	o = order_of(b, ORDER_STOP, 1, 20);
	give(b, &o);
	o = order_of(b, ORDER_STOP, 2, 20);
	o.generation = 2;
	give(b, &o);
	o = order_of(b, ORDER_STOP, 2, 20);
	o.answers_incarnation = 41;
	give(b, &o);
	o = order_of(b, ORDER_STOP, 2, 20);
	b->now_ms += 801; /* the heartbeat it answers is older than L */
	give(b, &o);
	assert_int_equal(b->dbd_verbs[DBD_STOP], 0);
}

static void a_restarted_agent_resumes_the_lease_of_its_running_primary(void **state)
{
	struct bench *b = *state;

	b->report.process = DBD_PROC_RUNNING;
	b->report.role = DBD_ROLE_PRIMARY;
	b->report.is_accepting = 1;
	b->report.epoch = b->report.promoted_epoch = 5;
	report(b);
	tick(b, 200);
	assert_int_equal(agent_heartbeat(b->agent)->ask_count, 1);
	assert_int_equal(agent_heartbeat(b->agent)->asks[0].value, 5);
	grant(b, N2);
	grant(b, N3);
	assert_true(b->dbd_verbs[DBD_LEASE] > 0);
}

static void an_old_primary_comes_back_by_rewind_then_by_clone(void **state)
{
	struct bench *b = *state;
	struct order o;

	b->report.epoch = b->report.promoted_epoch = 1;
	report(b);
	o = order_of(b, ORDER_REPLICA, 2, 9);
	give(b, &o);
	assert_int_equal(b->dbd_verbs[DBD_REWIND] + b->dbd_verbs[DBD_FOLLOW], 0); /* the new primary is not up */
	o.is_rejoin = true;
	give(b, &o);
	assert_int_equal(b->dbd_verbs[DBD_REWIND], 1);
	reply(b, ERR_SQL);
	tick(b, 500);
	o = order_of(b, ORDER_REPLICA, 2, 9);
	o.is_rejoin = true;
	give(b, &o);
	tick(b, 600);
	assert_int_equal(b->dbd_verbs[DBD_REBUILD], 1);
}

static void data_of_another_system_is_neither_followed_nor_replaced(void **state)
{
	struct bench *b = *state;
	struct order o = order_of(b, ORDER_REPLICA, 2, 9);
	int i;

	snprintf(b->report.system_id, sizeof b->report.system_id, "111");
	snprintf(o.system_id, sizeof o.system_id, "222");
	o.is_rejoin = true;
	report(b);
	give(b, &o);
	for (i = 0; i < 100; i++)
		tick(b, 200);
	assert_int_equal(b->dbd_verbs[DBD_FOLLOW] + b->dbd_verbs[DBD_REWIND] + b->dbd_verbs[DBD_REBUILD], 0);
	assert_non_null(strstr(agent_heartbeat(b->agent)->reports[0].error, "111"));
}

static void a_primary_that_was_replaced_is_stopped_at_once(void **state)
{
	struct bench *b = *state;
	struct order o;

	become_primary(b);
	o = order_of(b, ORDER_REPLICA, 3, 12);
	give(b, &o);
	assert_int_equal(b->last_dbd.type, DBD_STOP);
	assert_int_equal(b->last_dbd.mode, DBD_STOP_IMMEDIATE);
}

#define AGENT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        AGENT_TEST(a_primary_is_promoted_only_with_the_lease),
	        AGENT_TEST(an_early_promotion_needs_an_active_fence),
	        AGENT_TEST(the_door_opens_when_promoted_and_leased),
	        AGENT_TEST(grants_go_back_only_after_the_door_is_closed),
	        AGENT_TEST(a_running_primary_never_gives_its_grants_back),
	        AGENT_TEST(a_promotion_under_way_keeps_the_grants_and_is_interrupted_by_a_stop),
	        AGENT_TEST(a_promotion_under_a_lease_ends_with_the_lease),
	        AGENT_TEST(a_server_left_half_brought_up_is_stopped),
	        AGENT_TEST(only_a_guard_that_is_silent_while_the_agent_runs_is_killed),
	        AGENT_TEST(orders_of_older_epochs_generations_and_heartbeats_are_dropped),
	        AGENT_TEST(a_restarted_agent_resumes_the_lease_of_its_running_primary),
	        AGENT_TEST(an_old_primary_comes_back_by_rewind_then_by_clone),
	        AGENT_TEST(data_of_another_system_is_neither_followed_nor_replaced),
	        AGENT_TEST(a_primary_that_was_replaced_is_stopped_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
