/* The controller by hand: one group on three nodes, events in, commits and orders out. */
#include "core/control/control.h"
#include "core/control/rules.h"
#include "core/control/sync_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N1, N2, N3, NODES };

struct bench {
	struct ctl *ctl;
	int64_t now_ms;
	uint64_t number[NODES];
	struct instance_report reports[NODES];
	bool is_cut[NODES];  /* sends no heartbeats */
	bool is_deaf[NODES]; /* takes no orders */
	struct update u;
	uint64_t last_op;
	int commits;
	enum err_code reply_code;
	char reply[256];
	struct order orders[NODES]; /* newest of each */
};

static void take_update(struct bench *b);

static void feed(struct bench *b, struct event *e)
{
	e->now_ms = b->now_ms;
	ctl_step(b->ctl, e, &b->u);
	take_update(b);
}

static void take_update(struct bench *b)
{
	struct update u = b->u;
	size_t i;

	for (i = 0; i < u.action_count; i++) {
		if (u.actions[i].type == ACTION_ORDER)
			b->orders[u.actions[i].node] = u.actions[i].order;
		if (u.actions[i].type == ACTION_REPLY) {
			b->reply_code = u.actions[i].code;
			memcpy(b->reply, u.actions[i].text, sizeof b->reply);
		}
	}
	for (i = 0; i < u.commit_count; i++) {
		struct event e = {.type = EVENT_COMMITTED};

		b->commits++;
		e.u.committed.commit_id = u.commits[i].id;
		e.u.committed.outcome = COMMIT_DONE;
		if (u.commits[i].is_op_begin)
			b->last_op++;
		e.u.committed.op_id = b->last_op;
		feed(b, &e);
	}
}

static const struct group_record *record(const struct bench *b)
{
	return ctl_group(b->ctl, 0);
}

static void beat(struct bench *b, int node)
{
	struct heartbeat hb = {.node = node, .number = ++b->number[node], .incarnation = 1};
	struct event e = {.type = EVENT_HEARTBEAT};

	if (b->orders[node].group[0] != '\0' && !b->is_deaf[node]) {
		b->reports[node].generation = b->orders[node].generation;
		b->reports[node].answers = b->orders[node].answers;
	}
	hb.reports = &b->reports[node];
	hb.report_count = 1;
	e.u.heartbeat = &hb;
	feed(b, &e);
}

/* Everybody who can says what it has, for ms of time. */
static void run(struct bench *b, int64_t ms)
{
	int64_t until = b->now_ms + ms;
	int node;

	while (b->now_ms < until) {
		struct event tick = {.type = EVENT_TICK};

		b->now_ms += 20;
		feed(b, &tick);
		if (b->now_ms % 200 != 0)
			continue;
		for (node = 0; node < NODES; node++)
			if (!b->is_cut[node])
				beat(b, node);
	}
}

static void be_replica(struct bench *b, int node, int upstream)
{
	struct instance_report *r = &b->reports[node];

	r->process = PROC_RUNNING;
	r->role = ROLE_REPLICA;
	r->is_receiving = true;
	r->upstream = upstream;
	r->received_age_ms = 10;
	r->timeline = 1;
	r->position = 1000;
}

static int setup(void **state)
{
	static struct bench b;
	struct group_record g = {.name = "main",
	                         .engine = "postgresql",
	                         .state = STATE_STEADY,
	                         .epoch = 1,
	                         .step = 5,
	                         .primary = N1,
	                         .target = NODE_NONE,
	                         .sync_set = 6,
	                         .is_sync = true,
	                         .instances = 7,
	                         .rule = 370};
	int node;

	memset(&b, 0, sizeof b);
	b.now_ms = 100000;
	b.ctl = ctl_new(profile_find("fast"), N1, 9, b.now_ms);
	for (node = 0; node < NODES; node++) {
		struct ctl_node n = {{0}, false, false};

		snprintf(n.name, sizeof n.name, "n%d", node + 1);
		ctl_add_node(b.ctl, &n);
		snprintf(b.reports[node].group, NAME_SIZE, "main");
		b.reports[node].step = 5;
		b.reports[node].upstream = NODE_NONE;
		b.reports[node].probe_age_ms = 10;
	}
	ctl_add_group(b.ctl, &g);
	b.reports[N1].process = PROC_RUNNING;
	b.reports[N1].role = ROLE_PRIMARY;
	b.reports[N1].promoted_epoch = b.reports[N1].lease_epoch = 1;
	b.reports[N1].is_leased = true;
	b.reports[N1].timeline = 1;
	b.reports[N1].position = 1000;
	b.reports[N1].sync_members = 6;
	b.reports[N1].sync_since = 500;
	b.reports[N1].standby_count = 2;
	b.reports[N1].standbys[0] = (struct standby_report){N2, true, 1000};
	b.reports[N1].standbys[1] = (struct standby_report){N3, true, 1000};
	be_replica(&b, N2, N1);
	be_replica(&b, N3, N1);
	*state = &b;
	run(&b, 2000);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	ctl_free(b->ctl);
	return 0;
}

static void detach(struct bench *b, int node, uint64_t position)
{
	struct instance_report *r = &b->reports[node];

	r->step = record(b)->step;
	r->is_detached = true;
	r->is_receiving = false;
	r->detach_epoch = record(b)->epoch;
	r->position = position;
}

static void a_healthy_group_is_left_alone(void **state)
{
	struct bench *b = *state;
	int before = b->commits;

	run(b, 20000);
	assert_int_equal(b->commits, before);
	assert_int_equal(record(b)->state, STATE_STEADY);
	assert_string_equal(record(b)->reason, "");
}

static void dead_primary_is_fenced_before_promotion(void **state)
{
	struct bench *b = *state;

	b->reports[N1].process = PROC_STOPPED;
	b->reports[N1].is_leased = false;
	beat(b, N1);
	assert_int_equal(record(b)->state, STATE_FENCING);
	assert_int_equal(record(b)->epoch, 1);
	run(b, 200);
	assert_int_equal(b->orders[N1].role, ORDER_STOP);
	assert_int_equal(b->orders[N2].role, ORDER_DETACH);
	assert_int_equal(b->orders[N3].role, ORDER_DETACH);
}

/* The primary's host is gone: no heartbeats, and its replicas hear nothing any more. */
static void lose_primary(struct bench *b)
{
	b->is_cut[N1] = true;
	b->reports[N2].received_age_ms = b->reports[N3].received_age_ms = 900;
}

static void every_member_of_the_set_must_have_detached(void **state)
{
	struct bench *b = *state;

	lose_primary(b);
	run(b, 1500);
	assert_int_equal(record(b)->state, STATE_FENCING);
	detach(b, N2, 1500);
	run(b, 2000);
	assert_int_equal(record(b)->state, STATE_FENCING);
	assert_non_null(strstr(record(b)->reason, "n3"));
	detach(b, N3, 1400);
	run(b, 200);
	assert_int_equal(record(b)->state, STATE_PROMOTING);
	assert_int_equal(record(b)->primary, N2);
	assert_int_equal(record(b)->epoch, 2);
	assert_true(b->orders[N2].is_early);
}

static void the_most_advanced_member_wins(void **state)
{
	struct bench *b = *state;

	lose_primary(b);
	run(b, 1500);
	detach(b, N2, 1500);
	detach(b, N3, 1501);
	run(b, 200);
	assert_int_equal(record(b)->primary, N3);
}

static void a_silent_primary_that_replicas_still_hear_is_waited_for(void **state)
{
	struct bench *b = *state;

	/* Heartbeats say that the newest message from the primary is 10 ms old, for as long as they come. */
	b->is_cut[N1] = true;
	run(b, 5000);
	assert_int_equal(record(b)->state, STATE_STEADY);
	assert_non_null(strstr(record(b)->reason, "still hears"));
	b->reports[N2].received_age_ms = b->reports[N3].received_age_ms = 700;
	run(b, 400);
	assert_int_equal(record(b)->state, STATE_FENCING);
}

static void a_stale_member_is_never_promoted(void **state)
{
	struct bench *b = *state;
	struct group_record r = *record(b);

	ctl_free(b->ctl);
	b->ctl = ctl_new(profile_find("fast"), N2, 10, b->now_ms);
	ctl_add_node(b->ctl, &(struct ctl_node){.name = "n1"});
	ctl_add_node(b->ctl, &(struct ctl_node){.name = "n2"});
	ctl_add_node(b->ctl, &(struct ctl_node){.name = "n3"});
	r.sync_set = 0; /* nobody is known to hold everything */
	ctl_add_group(b->ctl, &r);
	b->is_cut[N1] = true;
	b->reports[N2].is_receiving = b->reports[N3].is_receiving = false;
	run(b, 20000);
	assert_int_equal(record(b)->epoch, 1);
	assert_non_null(strstr(record(b)->reason, "nobody is known to hold every acknowledged commit"));
}

/* The server waits for n2 alone, as told; but until its node has taken an order that left after the last change, an older one
 * may undo that. */
static void sync_set_shrinks_only_when_no_older_order_can_come(void **state)
{
	struct bench *b = *state;

	b->reports[N1].standby_count = 1;
	run(b, 2000);
	assert_int_equal(b->orders[N1].sync_members, 2);
	assert_int_equal(record(b)->sync_set, 6);
	b->is_deaf[N1] = true;
	b->reports[N1].answers = 0;
	b->reports[N1].sync_members = 2;
	run(b, 20000);
	assert_int_equal(record(b)->sync_set, 6);
	b->is_deaf[N1] = false;
	run(b, 3000);
	assert_int_equal(record(b)->sync_set, 2);
}

static void switchover_goes_step_by_step_and_answers(void **state)
{
	struct bench *b = *state;
	struct event e = {.type = EVENT_COMMAND};

	e.u.command.request_id = 77;
	e.u.command.kind = COMMAND_SWITCHOVER;
	e.u.command.target = N3;
	snprintf(e.u.command.group, NAME_SIZE, "main");
	feed(b, &e);
	assert_int_equal(record(b)->state, STATE_CHECKPOINT);
	b->reports[N1].step = record(b)->step;
	b->reports[N1].is_checkpointed = true;
	beat(b, N1);
	assert_int_equal(record(b)->state, STATE_STOPPING);
	b->reports[N1].step = record(b)->step;
	b->reports[N1].process = PROC_STOPPED;
	b->reports[N1].is_clean = true;
	b->reports[N1].is_leased = false;
	b->reports[N1].position = 2000;
	beat(b, N1);
	assert_int_equal(record(b)->state, STATE_STOPPING); /* the target lacks the end */
	b->reports[N3].position = 2000;
	beat(b, N3);
	assert_int_equal(record(b)->state, STATE_PROMOTING);
	assert_int_equal(record(b)->primary, N3);
	b->reports[N3].role = ROLE_PRIMARY;
	b->reports[N3].promoted_epoch = b->reports[N3].lease_epoch = 2;
	b->reports[N3].is_leased = true;
	beat(b, N3);
	assert_int_equal(record(b)->state, STATE_STEADY);
	assert_int_equal(b->reply_code, ERR_OK);
}

static void switchover_to_an_unfit_node_is_refused_with_the_reason(void **state)
{
	struct bench *b = *state;
	struct event e = {.type = EVENT_COMMAND};

	b->reports[N3].process = PROC_STOPPED;
	run(b, 400);
	e.u.command.request_id = 78;
	e.u.command.kind = COMMAND_SWITCHOVER;
	e.u.command.target = N3;
	snprintf(e.u.command.group, NAME_SIZE, "main");
	feed(b, &e);
	assert_int_equal(b->reply_code, ERR_REFUSED);
	assert_non_null(strstr(b->reply, "n3"));
	assert_int_equal(record(b)->state, STATE_STEADY);
}

static void pause_stops_decisions_until_resume(void **state)
{
	struct bench *b = *state;
	struct event e = {.type = EVENT_COMMAND};

	e.u.command.request_id = 79;
	e.u.command.kind = COMMAND_PAUSE;
	e.u.command.target = NODE_NONE;
	snprintf(e.u.command.group, NAME_SIZE, "main");
	feed(b, &e);
	assert_int_equal(b->reply_code, ERR_OK);
	lose_primary(b);
	run(b, 5000);
	assert_int_equal(record(b)->state, STATE_STEADY);
	e.u.command.request_id = 80;
	e.u.command.kind = COMMAND_RESUME;
	feed(b, &e);
	run(b, 1000);
	assert_int_equal(record(b)->state, STATE_FENCING);
}

static void lost_commit_silences_the_controller(void **state)
{
	struct bench *b = *state;
	struct heartbeat hb = {.node = N1, .number = 9999, .incarnation = 1, .report_count = 1, .reports = &b->reports[N1]};
	struct event e = {.type = EVENT_HEARTBEAT, .now_ms = b->now_ms};

	b->reports[N1].process = PROC_STOPPED;
	b->reports[N1].is_leased = false;
	e.u.heartbeat = &hb;
	ctl_step(b->ctl, &e, &b->u);
	assert_int_equal(b->u.commit_count, 1);
	e.type = EVENT_COMMITTED;
	e.u.committed.commit_id = b->u.commits[0].id;
	e.u.committed.outcome = COMMIT_LOST;
	ctl_step(b->ctl, &e, &b->u);
	assert_int_equal(b->u.action_count + b->u.commit_count, 0);
	e.type = EVENT_TICK;
	e.now_ms += 10000;
	ctl_step(b->ctl, &e, &b->u);
	assert_int_equal(b->u.action_count + b->u.commit_count, 0);
}

static void the_rule_table_is_well_formed(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (rules_check(&e) != ERR_OK)
		fail_msg("%s", e.text);
}

static void growing_commits_before_it_tells(void **state)
{
	struct sync_input in = {.committed = 2, .told = 2, .desired = 6, .is_settled = true, .is_caught_up = true};
	struct sync_step s = sync_plan(&in);

	(void)state;
	assert_true(s.is_commit);
	assert_int_equal(s.set, 6);
	assert_int_equal(s.tell, 2);
}

static void shrinking_tells_before_it_commits(void **state)
{
	struct sync_input in = {.committed = 6, .told = 6, .desired = 2, .is_settled = true, .is_caught_up = true};
	struct sync_step s = sync_plan(&in);

	(void)state;
	assert_false(s.is_commit);
	assert_int_equal(s.tell, 2);
	in.told = 2;
	in.is_settled = false;
	assert_false(sync_plan(&in).is_commit);
	in.is_settled = true;
	s = sync_plan(&in);
	assert_true(s.is_commit);
	assert_int_equal(s.set, 2);
}

static void degrading_commits_before_the_server_stops_waiting(void **state)
{
	struct sync_input in = {.committed = 2, .told = 2, .desired = 0};
	struct sync_step s = sync_plan(&in);

	(void)state;
	assert_true(s.is_commit);
	assert_int_equal(s.set, 0);
	assert_int_equal(s.tell, 2);
	in.committed = 0;
	assert_int_equal(sync_plan(&in).tell, 0);
}

static void a_new_standby_counts_only_when_it_has_everything(void **state)
{
	struct sync_input in = {.committed = 0, .told = 2, .desired = 2, .is_settled = true, .is_caught_up = false};

	(void)state;
	assert_false(sync_plan(&in).is_commit);
	in.is_caught_up = true;
	assert_true(sync_plan(&in).is_commit);
}

#define CTL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        CTL_TEST(a_healthy_group_is_left_alone),
	        CTL_TEST(dead_primary_is_fenced_before_promotion),
	        CTL_TEST(every_member_of_the_set_must_have_detached),
	        CTL_TEST(the_most_advanced_member_wins),
	        CTL_TEST(a_silent_primary_that_replicas_still_hear_is_waited_for),
	        CTL_TEST(a_stale_member_is_never_promoted),
	        CTL_TEST(sync_set_shrinks_only_when_no_older_order_can_come),
	        CTL_TEST(switchover_goes_step_by_step_and_answers),
	        CTL_TEST(switchover_to_an_unfit_node_is_refused_with_the_reason),
	        CTL_TEST(pause_stops_decisions_until_resume),
	        CTL_TEST(lost_commit_silences_the_controller),
	        cmocka_unit_test(the_rule_table_is_well_formed),
	        cmocka_unit_test(growing_commits_before_it_tells),
	        cmocka_unit_test(shrinking_tells_before_it_commits),
	        cmocka_unit_test(degrading_commits_before_the_server_stops_waiting),
	        cmocka_unit_test(a_new_standby_counts_only_when_it_has_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
