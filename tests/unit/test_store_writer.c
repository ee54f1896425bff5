/* The writer's order, against a dqlite that answers as each test says. */
#include "store/writer.h"

#include "core/base/str.h"
#include "store/interrupt.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- what SQLite would tell --- */

#define IDS_MAX 64

static struct {
	uint64_t last_id;
	bool is_counted[IDS_MAX], was_stopped[IDS_MAX];
	int missing; /* this many statements of a joined request do not end */
} ear;

uint64_t interrupt_next_id(void)
{
	assert_true(ear.last_id + 1 < IDS_MAX);
	return ++ear.last_id;
}

void interrupt_put_mark(struct buf *sql, uint64_t id)
{
	buf_printf(sql, "/*%u*/", (unsigned)id);
}

void interrupt_request(uint64_t id)
{
	ear.was_stopped[id] = true;
}

void interrupt_forget(uint64_t id)
{
	ear.was_stopped[id] = false;
}

void interrupt_count(uint64_t id)
{
	ear.is_counted[id] = true;
}

/* A statement changes as many rows as its number says. */
bool interrupt_take_count(uint64_t id, uint64_t *ret)
{
	assert_true(ear.is_counted[id]);
	ear.is_counted[id] = false;
	*ret = id;
	return ear.missing-- <= 0;
}

/* --- a dq that writes down what it is asked, and answers when told --- */

struct dq {
	struct buf log; /* texts without marks, joined by ';' */
	dq_cb cb;       /* of the request in flight */
	void *arg;
};

static struct dq fake;

struct dq *dq_new(uv_loop_t *loop, const char *address, const char *database)
{
	(void)loop;
	(void)address;
	(void)database;
	return &fake;
}

static void take(const char *sql, dq_cb cb, void *arg)
{
	assert_null(fake.cb); /* one at a time */
	if (fake.log.len > 0)
		buf_puts(&fake.log, ";");
	for (; *sql != '\0'; sql++) {
		const char *behind = strncmp(sql, "/*", 2) == 0 ? strstr(sql, "*/") : NULL;

		if (behind != NULL)
			sql = behind + 2;
		buf_add(&fake.log, *sql == '\n' ? "+" : *sql == ';' ? "" : sql, *sql != ';');
	}
	fake.cb = cb;
	fake.arg = arg;
}

void dq_exec(struct dq *d, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb, void *arg)
{
	(void)d;
	(void)params;
	(void)param_count;
	take(sql, cb, arg);
}

void dq_query(struct dq *d, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb, void *arg)
{
	dq_exec(d, sql, params, param_count, cb, arg);
}

void dq_close(struct dq *d, void (*done_cb)(void *arg), void *arg)
{
	struct dq_result r = {.code = DQ_DISCONNECTED, .message = "", .is_last = true};
	dq_cb cb = d->cb;

	d->cb = NULL;
	if (cb != NULL)
		cb(d->arg, &r);
	done_cb(arg);
}

/* Answer what is in flight. */
static void answer(int code)
{
	struct dq_result r = {.code = code, .message = code != 0 ? "no" : "", .is_last = true, .was_sent = true, .changes = 1};
	dq_cb cb = fake.cb;

	assert_non_null(cb);
	fake.cb = NULL;
	cb(fake.arg, &r);
}

static void answer_all(const int *codes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		answer(codes[i]);
}
#define ANSWER(...) answer_all((const int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int))

/* --- the test's side --- */

static uv_loop_t loop;
static struct writer *writer;
static char told[256]; /* "name:code " per answer */

static uint64_t counts[128]; /* of changed rows, by the statement's letter */

static void told_cb(void *arg, const struct dq_result *r)
{
	size_t len = strlen(told);

	counts[(unsigned char)*(const char *)arg & 127] = r->changes;

	snprintf(told + len, sizeof(told) - len, "%s:%d ", (const char *)arg, r->code);
}

static struct writer_unit *submit(const char *name)
{
	struct writer_stmt stmt = {.sql = name};

	return writer_submit(writer, &stmt, told_cb, (void *)name);
}

static int setup(void **state)
{
	(void)state;
	told[0] = '\0';
	memset(&fake, 0, sizeof(fake));
	memset(&ear, 0, sizeof(ear));
	memset(&counts, 0, sizeof(counts));
	uv_loop_init(&loop);
	writer = writer_new(&loop, "", "config");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	writer_close(writer, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	buf_done(&fake.log);
	return 0;
}

static void one_statement_is_its_own_transaction(void **state)
{
	(void)state;
	submit("a");
	ANSWER(0);
	assert_string_equal(fake.log.data, "a");
	assert_string_equal(told, "a:0 ");
}

static void what_waits_together_is_committed_together(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	submit("c");
	ANSWER(0, 0, 0, 0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;b;c;COMMIT");
	assert_string_equal(told, "a:0 "); /* nobody is told before the commit */
	ANSWER(0);
	assert_string_equal(told, "a:0 b:0 c:0 ");
}

/* a runs; b, c, d and e wait for it. */
static void submit_five(void)
{
	static const char *const names[] = {"a", "b", "c", "d", "e"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		submit(names[i]);
}

static void many_go_out_in_one_request_and_each_is_told_its_own_count(void **state)
{
	(void)state;
	submit_five();
	ANSWER(0, 0, 0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;b+c+d+e;COMMIT");
	assert_string_equal(told, "a:0 ");
	ANSWER(0);
	assert_string_equal(told, "a:0 b:0 c:0 d:0 e:0 ");
	assert_int_equal(counts['b'], 2);
	assert_int_equal(counts['e'], 5);
}

static void a_failure_among_many_starts_over_one_by_one(void **state)
{
	(void)state;
	submit_five();
	ANSWER(0, 0, SQLITE_CONSTRAINT, 0, 0);
	ANSWER(0, SQLITE_CONSTRAINT, SQLITE_ERROR /* the transaction lives */, 0, 0);
	assert_string_equal(told, "a:0 ");
	ANSWER(0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;b+c+d+e;ROLLBACK;BEGIN IMMEDIATE;b;c;BEGIN;d;e;COMMIT");
	assert_string_equal(told, "a:0 b:0 c:19 d:0 e:0 ");
}

/* A text may swallow what stands behind it. */
static void many_of_which_one_did_not_end_start_over(void **state)
{
	(void)state;
	submit_five();
	ear.missing = 1;
	ANSWER(0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_string_equal(told, "a:0 ");
	ANSWER(0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;b+c+d+e;ROLLBACK;BEGIN IMMEDIATE;b;c;d;e;COMMIT");
	assert_string_equal(told, "a:0 b:0 c:0 d:0 e:0 ");
}

static void leadership_lost_among_many_is_not_ambiguous(void **state)
{
	(void)state;
	submit_five();
	ANSWER(0, 0, DQ_LEADERSHIP_LOST);
	assert_string_equal(told, "a:0 b:10250 c:10250 d:10250 e:10250 ");
}

static void one_of_many_can_be_stopped_and_stays_stopped_when_they_start_over(void **state)
{
	struct writer_unit *c;

	(void)state;
	submit("a");
	submit("b");
	c = submit("c");
	submit("d");
	submit("e");
	ANSWER(0, 0);
	writer_cancel(c);
	assert_true(ear.was_stopped[3]);
	ANSWER(SQLITE_INTERRUPT, 0, 0, 0);
	assert_true(ear.was_stopped[3]); /* SQLite stops it as soon as it starts */
	ANSWER(SQLITE_INTERRUPT);
	assert_false(ear.was_stopped[3]);
	ANSWER(SQLITE_ERROR, 0, 0, 0);
	assert_string_equal(told, "a:0 b:0 c:9 d:0 e:0 ");
}

static void a_failing_statement_fails_alone(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	submit("c");
	ANSWER(0, 0, SQLITE_CONSTRAINT, SQLITE_ERROR, 0, 0);
	assert_string_equal(fake.log.data,
	                    "a;BEGIN IMMEDIATE;b;BEGIN;c;COMMIT"); /* the second BEGIN asks whether the transaction lives */
	assert_string_equal(told, "a:0 b:19 c:0 ");
}

static void a_statement_that_ends_the_transaction_costs_others_nothing(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	submit("c");
	submit("d");
	ANSWER(0, 0, 0, SQLITE_CONSTRAINT, 0 /* BEGIN works: it was gone */, 0);
	assert_string_equal(told, "a:0 c:19 ");
	ANSWER(0, 0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;b;c;BEGIN;ROLLBACK;b;d");
	assert_string_equal(told, "a:0 c:19 b:0 d:0 ");
}

static void a_commit_that_fails_runs_its_statements_one_by_one(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	submit("c");
	ANSWER(0, 0, 0, 0, SQLITE_CONSTRAINT_FOREIGNKEY, 0);
	ANSWER(SQLITE_CONSTRAINT_FOREIGNKEY, 0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;b;c;COMMIT;ROLLBACK;b;c");
	assert_string_equal(told, "a:0 b:787 c:0 ");
}

static void an_ambiguous_commit_is_ambiguous_for_all(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	submit("c");
	ANSWER(0, 0, 0, 0, DQ_LEADERSHIP_LOST);
	assert_string_equal(told, "a:0 b:10506 c:10506 ");
}

static void leadership_lost_before_the_commit_is_not_ambiguous(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	submit("c");
	ANSWER(0, 0, 0, DQ_LEADERSHIP_LOST);
	assert_string_equal(told, "a:0 b:10250 c:10250 ");
}

static void a_transaction_holds_the_slot_alone(void **state)
{
	struct writer_unit *tx;
	struct writer_stmt stmt = {.sql = "x"};

	(void)state;
	submit("a");
	tx = writer_begin(writer, told_cb, "begin");
	submit("b");
	ANSWER(0, 0);
	writer_run(tx, &stmt, told_cb, "x");
	ANSWER(0);
	assert_null(fake.cb); /* b waits */
	writer_finish(tx, true, told_cb, "commit");
	ANSWER(0, 0);
	assert_string_equal(fake.log.data, "a;BEGIN IMMEDIATE;x;COMMIT;b");
	assert_string_equal(told, "a:0 begin:0 x:0 commit:0 b:0 ");
}

static void a_failed_commit_is_rolled_back_before_the_slot_passes_on(void **state)
{
	struct writer_unit *tx = writer_begin(writer, told_cb, "begin");

	(void)state;
	submit("b");
	ANSWER(0);
	writer_finish(tx, true, told_cb, "commit");
	ANSWER(SQLITE_CONSTRAINT_FOREIGNKEY, 0, 0);
	assert_string_equal(fake.log.data, "BEGIN IMMEDIATE;COMMIT;ROLLBACK;b");
	assert_string_equal(told, "begin:0 commit:787 b:0 ");
}

static void an_abandoned_transaction_is_rolled_back(void **state)
{
	struct writer_unit *tx = writer_begin(writer, told_cb, "begin");

	(void)state;
	submit("b");
	ANSWER(0);
	writer_abandon(tx);
	ANSWER(0, 0);
	assert_string_equal(fake.log.data, "BEGIN IMMEDIATE;ROLLBACK;b");
	assert_string_equal(told, "begin:0 b:0 ");
}

static void what_is_abandoned_in_the_queue_never_runs(void **state)
{
	struct writer_unit *b;

	(void)state;
	submit("a");
	b = submit("b");
	submit("c");
	writer_abandon(b);
	ANSWER(0, 0);
	assert_string_equal(fake.log.data, "a;c");
	assert_string_equal(told, "a:0 c:0 ");
}

static void busy_is_never_seen(void **state)
{
	(void)state;
	submit("a");
	ANSWER(SQLITE_BUSY);
	assert_string_equal(told, "");
	uv_run(&loop, UV_RUN_ONCE);
	ANSWER(0);
	assert_string_equal(fake.log.data, "a;a");
	assert_string_equal(told, "a:0 ");
}

static void schema_changes_stand_alone(void **state)
{
	struct writer_stmt ddl = {.sql = "ddl", .is_alone = true};

	(void)state;
	submit("a");
	submit("b");
	writer_submit(writer, &ddl, told_cb, "ddl");
	submit("c");
	ANSWER(0, 0, 0, 0);
	assert_string_equal(fake.log.data, "a;b;ddl;c");
}

static void closing_tells_everybody_who_waits(void **state)
{
	(void)state;
	submit("a");
	submit("b");
	(void)writer_begin(writer, told_cb, "tx");
	teardown(state);
	assert_string_equal(told, "b:-1 tx:-1 a:-1 ");
	setup(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(one_statement_is_its_own_transaction),
	        TEST(what_waits_together_is_committed_together),
	        TEST(many_go_out_in_one_request_and_each_is_told_its_own_count),
	        TEST(a_failure_among_many_starts_over_one_by_one),
	        TEST(many_of_which_one_did_not_end_start_over),
	        TEST(leadership_lost_among_many_is_not_ambiguous),
	        TEST(one_of_many_can_be_stopped_and_stays_stopped_when_they_start_over),
	        TEST(a_failing_statement_fails_alone),
	        TEST(a_statement_that_ends_the_transaction_costs_others_nothing),
	        TEST(a_commit_that_fails_runs_its_statements_one_by_one),
	        TEST(an_ambiguous_commit_is_ambiguous_for_all),
	        TEST(leadership_lost_before_the_commit_is_not_ambiguous),
	        TEST(a_transaction_holds_the_slot_alone),
	        TEST(a_failed_commit_is_rolled_back_before_the_slot_passes_on),
	        TEST(an_abandoned_transaction_is_rolled_back),
	        TEST(what_is_abandoned_in_the_queue_never_runs),
	        TEST(busy_is_never_seen),
	        TEST(schema_changes_stand_alone),
	        TEST(closing_tells_everybody_who_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
