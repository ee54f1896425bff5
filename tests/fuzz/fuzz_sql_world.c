#include "tests/fuzz/fuzz_sql_world.h"

#include "store/frontend/gate.h"
#include "store/frontend/session.h"
#include "store/frontend/transaction.h"
#include "tests/fuzz/fuzz.h"

#include <sqlite3.h>
#include <string.h>

#define JOBS_MAX   64
#define ROWS_MAX   3
#define VALUES_MAX 64

/* A request on its way. kind says whose. */
enum job_kind { JOB_FREE = 0, JOB_READ, JOB_WRITE, JOB_BEGIN, JOB_RUN, JOB_FINISH, JOB_ADMIN };

struct writer_unit {
	bool is_used;
	bool is_running;
};

struct reader_job {
	enum job_kind kind;
	char *sql;
	const struct dq_value *params; /* borrowed until the last answer: they are read then */
	size_t param_count;
	dq_cb cb;
	admin_cb admin;
	void *arg;
	struct writer_unit *unit;
	unsigned answers; /* given already */
	bool is_canceled;
};

static struct world {
	uint8_t script[WORLD_SCRIPT_SIZE];
	unsigned at;
	struct reader_job jobs[JOBS_MAX];
	struct writer_unit units[JOBS_MAX];
	struct node_leader leader;
	int64_t now_ms;
	bool is_leased;
	struct session *timer_session;
	void (*timer_cb)(struct session *s);
	sqlite3 *db;
} world;

static uint8_t next_byte(void)
{
	return world.script[1 + world.at++ % (WORLD_SCRIPT_SIZE - 1)];
}

/* --- what the schema is --- */

static const char *const schema[][2] = {
        {"vm", "CREATE TABLE vm(id INTEGER PRIMARY KEY, name TEXT, up BOOLEAN, seen DATETIME, f REAL, b BLOB)"},
        {"v", "CREATE VIEW v AS SELECT name FROM vm"},
};

static int deny_files(void *arg, int action, const char *a, const char *b, const char *c, const char *d)
{
	(void)arg;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return action == SQLITE_ATTACH || action == SQLITE_DETACH ? SQLITE_DENY : SQLITE_OK;
}

/* How many columns the real store would answer with. */
static size_t column_count(const char *sql)
{
	sqlite3_stmt *st = NULL;
	size_t i, n = 0;

	if (world.db == NULL) {
		FUZZ_CHECK(sqlite3_open(":memory:", &world.db) == SQLITE_OK);
		for (i = 0; i < sizeof schema / sizeof schema[0]; i++)
			FUZZ_CHECK(sqlite3_exec(world.db, schema[i][1], NULL, NULL, NULL) == SQLITE_OK);
		sqlite3_set_authorizer(world.db, deny_files, NULL);
	}
	if (sqlite3_prepare_v2(world.db, sql, -1, &st, NULL) == SQLITE_OK && st != NULL)
		n = (size_t)sqlite3_column_count(st);
	sqlite3_finalize(st);
	return n;
}

/* --- requests --- */

static struct reader_job *new_job(enum job_kind kind, const char *sql, dq_cb cb, void *arg)
{
	struct reader_job *j = world.jobs;

	while (j < world.jobs + JOBS_MAX && j->kind != JOB_FREE)
		j++;
	FUZZ_CHECK(j < world.jobs + JOBS_MAX);
	memset(j, 0, sizeof *j);
	j->kind = kind;
	j->sql = mem_strdup(sql);
	j->cb = cb;
	j->arg = arg;
	return j;
}

static void end_job(struct reader_job *j)
{
	free(j->sql);
	memset(j, 0, sizeof *j);
}

static struct writer_unit *new_unit(void)
{
	struct writer_unit *u = world.units;

	while (u < world.units + JOBS_MAX && u->is_used)
		u++;
	FUZZ_CHECK(u < world.units + JOBS_MAX);
	u->is_used = true;
	u->is_running = true;
	return u;
}

static void end_unit(struct writer_unit *u)
{
	FUZZ_CHECK(u->is_used);
	u->is_used = u->is_running = false;
}

static void set_params(struct reader_job *j, const struct dq_value *params, size_t count)
{
	j->params = params;
	j->param_count = count;
}

struct reader_job *__wrap_reader_run(struct reader *r, const char *sql, const struct dq_value *params, size_t count, dq_cb cb,
                                     void *arg);
struct reader_job *__wrap_reader_run(struct reader *r, const char *sql, const struct dq_value *params, size_t count, dq_cb cb,
                                     void *arg)
{
	struct reader_job *j = new_job(JOB_READ, sql, cb, arg);

	(void)r;
	set_params(j, params, count);
	return j;
}

void __wrap_reader_cancel(struct reader_job *j);
void __wrap_reader_cancel(struct reader_job *j)
{
	FUZZ_CHECK(j->kind == JOB_READ);
	j->is_canceled = true;
}

void __wrap_reader_abandon(struct reader_job *j);
void __wrap_reader_abandon(struct reader_job *j)
{
	FUZZ_CHECK(j->kind == JOB_READ);
	end_job(j);
}

static struct writer_unit *submit(enum job_kind kind, const char *sql, dq_cb cb, void *arg)
{
	struct reader_job *j = new_job(kind, sql, cb, arg);

	return j->unit = new_unit();
}

struct writer_unit *__wrap_writer_submit(struct writer *w, const struct writer_stmt *stmt, dq_cb cb, void *arg);
struct writer_unit *__wrap_writer_submit(struct writer *w, const struct writer_stmt *stmt, dq_cb cb, void *arg)
{
	(void)w;
	return submit(JOB_WRITE, stmt->returns_rows ? stmt->sql : "", cb, arg); /* params are copied */
}

struct writer_unit *__wrap_writer_begin(struct writer *w, dq_cb cb, void *arg);
struct writer_unit *__wrap_writer_begin(struct writer *w, dq_cb cb, void *arg)
{
	(void)w;
	return submit(JOB_BEGIN, "", cb, arg);
}

static struct reader_job *run_in(struct writer_unit *u, enum job_kind kind, const char *sql, dq_cb cb, void *arg)
{
	struct reader_job *j = new_job(kind, sql, cb, arg);

	FUZZ_CHECK(u->is_used && !u->is_running); /* one at a time, behind BEGIN */
	u->is_running = true;
	j->unit = u;
	return j;
}

void __wrap_writer_run(struct writer_unit *u, const struct writer_stmt *stmt, dq_cb cb, void *arg);
void __wrap_writer_run(struct writer_unit *u, const struct writer_stmt *stmt, dq_cb cb, void *arg)
{
	set_params(run_in(u, JOB_RUN, stmt->returns_rows ? stmt->sql : "", cb, arg), stmt->params, stmt->param_count);
}

void __wrap_writer_finish(struct writer_unit *u, bool is_commit, dq_cb cb, void *arg);
void __wrap_writer_finish(struct writer_unit *u, bool is_commit, dq_cb cb, void *arg)
{
	(void)is_commit;
	(void)run_in(u, JOB_FINISH, "", cb, arg);
}

static struct reader_job *job_of(const struct writer_unit *u)
{
	struct reader_job *j;

	for (j = world.jobs; j < world.jobs + JOBS_MAX; j++)
		if (j->kind != JOB_FREE && j->unit == u)
			return j;
	return NULL;
}

void __wrap_writer_cancel(struct writer_unit *u);
void __wrap_writer_cancel(struct writer_unit *u)
{
	FUZZ_CHECK(u->is_used);
	if (job_of(u) != NULL)
		job_of(u)->is_canceled = true;
}

void __wrap_writer_abandon(struct writer_unit *u);
void __wrap_writer_abandon(struct writer_unit *u)
{
	struct reader_job *j = job_of(u);

	if (j != NULL)
		end_job(j);
	end_unit(u);
}

void __wrap_admin_show(struct admin *a, const char *what, admin_cb cb, void *arg);
void __wrap_admin_show(struct admin *a, const char *what, admin_cb cb, void *arg)
{
	(void)a;
	new_job(JOB_ADMIN, what, NULL, arg)->admin = cb;
}

void __wrap_admin_call(struct admin *a, const char *name, const char *const *args, size_t n, admin_cb cb, void *arg);
void __wrap_admin_call(struct admin *a, const char *name, const char *const *args, size_t n, admin_cb cb, void *arg)
{
	size_t i, sum = 0;

	(void)a;
	for (i = 0; i < n; i++)
		sum += strlen(args[i]);
	__asm__ volatile("" : : "r"(sum));
	new_job(JOB_ADMIN, name, NULL, arg)->admin = cb;
}

/* --- state --- */

const struct node_leader *__wrap_node_leader(const struct node *n);
const struct node_leader *__wrap_node_leader(const struct node *n)
{
	(void)n;
	return &world.leader;
}

const char *__wrap_node_cluster_uuid(const struct node *n);
const char *__wrap_node_cluster_uuid(const struct node *n)
{
	(void)n;
	return (world.script[0] & 2) != 0 ? "" : "6f1f9a0e-52a9-4d6b-9a40-0c5d3f1b2a77";
}

bool __wrap_admin_lease_is_valid(const struct admin *a);
bool __wrap_admin_lease_is_valid(const struct admin *a)
{
	(void)a;
	return world.is_leased;
}

bool __wrap_admin_lease_seen_since_leader(struct admin *a);
bool __wrap_admin_lease_seen_since_leader(struct admin *a)
{
	(void)a;
	return world.is_leased;
}

void __wrap_admin_set_revision(struct admin *a, uint64_t revision);
void __wrap_admin_set_revision(struct admin *a, uint64_t revision)
{
	(void)a;
	(void)revision;
}

void __wrap_admin_set_lease(struct admin *a, uint64_t generation, int64_t deadline_ns);
void __wrap_admin_set_lease(struct admin *a, uint64_t generation, int64_t deadline_ns)
{
	(void)a;
	world.is_leased = generation > 0 && deadline_ns > 0;
}

int64_t __wrap_clock_now_ms(void);
int64_t __wrap_clock_now_ms(void)
{
	return world.now_ms;
}

/* Relaying is a pump to another host: refused here. */
void __wrap_relay_start(struct session *s);
void __wrap_relay_start(struct session *s)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, "57P03", "the leader cannot be reached");
	session_end(s, &e);
}

/* Other files' timers fire when the world says so; the session's own stand still (nothing here lasts a second). */
void __wrap_session_timer_start(struct session *s, int64_t ms, void (*cb)(struct session *s));
void __wrap_session_timer_start(struct session *s, int64_t ms, void (*cb)(struct session *s))
{
	FUZZ_CHECK(ms > 0);
	world.timer_session = s;
	world.timer_cb = cb;
}

void __wrap_session_timer_stop(struct session *s);
void __wrap_session_timer_stop(struct session *s)
{
	if (world.timer_session == s)
		world.timer_session = NULL;
}

/* --- answers --- */

static struct dq_value value_of(unsigned kind)
{
	static const char bytes[] = "h\xc3\xa9llo";
	struct dq_value v = {0};

	v.type = kind % 6 == 0   ? DQ_NULL
	         : kind % 6 == 1 ? DQ_TEXT
	         : kind % 6 == 2 ? DQ_BLOB
	         : kind % 6 == 3 ? DQ_FLOAT
	                         : DQ_INTEGER;
	if (v.type == DQ_TEXT || v.type == DQ_BLOB) {
		v.u.s.data = bytes;
		v.u.s.len = sizeof bytes - 1;
	} else if (v.type == DQ_FLOAT) {
		v.u.f = 1.5;
	} else {
		v.u.i = kind;
	}
	return v;
}

static void read_params(const struct reader_job *j)
{
	size_t i, k, sum = 0;

	for (i = 0; i < j->param_count; i++)
		if (j->params[i].type == DQ_TEXT || j->params[i].type == DQ_BLOB)
			for (k = 0; k < j->params[i].u.s.len; k++)
				sum += (uint8_t)j->params[i].u.s.data[k];
	__asm__ volatile("" : : "r"(sum));
}

static void fill_rows(const struct reader_job *j, struct dq_result *r, struct dq_value *values, uint8_t how)
{
	bool is_schema = strstr(j->sql, "sqlite_master") != NULL && strstr(j->sql, "ORDER BY rowid") != NULL;
	size_t i, n;

	r->column_count = is_schema ? 2 : j->sql[0] != '\0' ? column_count(j->sql) : 0;
	r->row_count = is_schema ? 2 : r->column_count > 0 ? how / 16 % (ROWS_MAX + 1) : 0;
	if (r->row_count * r->column_count > VALUES_MAX)
		r->row_count = r->column_count > VALUES_MAX ? 0 : 1;
	n = r->row_count * r->column_count;
	for (i = 0; i < n; i++) {
		values[i] = value_of(how + (unsigned)i);
		if (is_schema) {
			values[i].type = DQ_TEXT;
			values[i].u.s.data = schema[i / 2][i % 2];
			values[i].u.s.len = strlen(schema[i / 2][i % 2]);
		}
	}
	r->values = values;
}

static void answer_admin(struct reader_job *j, uint8_t how)
{
	static const char *const columns[] = {"name", "id"};
	static const char *const values[] = {"n1", NULL};
	struct admin_result r = {.sqlstate = "00000", .message = "", .column_count = 2, .row_count = 1};
	struct reader_job taken = *j;

	r.columns = columns;
	r.values = values;
	if (how % 8 > 4)
		r = (struct admin_result){.code = ERR_REFUSED, .sqlstate = "55000", .message = "refused"};
	end_job(j);
	taken.admin(taken.arg, &r);
}

static int code_of(const struct reader_job *j, uint8_t how)
{
	static const int codes[] = {0, 0, 0, 0, SQLITE_CONSTRAINT, DQ_NOT_LEADER, DQ_DISCONNECTED, DQ_LEADERSHIP_LOST};

	return j->is_canceled ? SQLITE_INTERRUPT : codes[how % 8];
}

/* The last answer ends the job, and a unit unless it is a transaction that holds the slot. */
static void answer(struct reader_job *j)
{
	uint8_t how = next_byte();
	struct dq_value values[VALUES_MAX];
	struct dq_result r = {.message = "", .is_last = true};
	struct reader_job taken;

	if (j->kind == JOB_ADMIN) {
		answer_admin(j, how);
		return;
	}
	read_params(j);
	r.code = code_of(j, how);
	if (r.code != 0) {
		r.message = "made to fail";
		r.was_sent = (how & 8) != 0;
	} else {
		fill_rows(j, &r, values, how);
		r.changes = 1;
		r.is_last = j->sql[0] == '\0' || j->answers++ > 0 || (how & 8) != 0;
	}
	taken = *j;
	if (r.is_last) {
		taken.sql = NULL;
		end_job(j);
		if (taken.unit != NULL)
			taken.unit->is_running = false;
		if (taken.kind == JOB_WRITE || taken.kind == JOB_FINISH || (taken.kind == JOB_BEGIN && r.code != 0))
			end_unit(taken.unit);
	}
	taken.cb(taken.arg, &r);
}

static void change_leader(struct frontend *f, uint8_t how)
{
	struct session *s, *next;

	world.leader.id = how % 3;
	world.leader.is_self = how % 3 == 1;
	world.leader.change_count++;
	world.is_leased = (how & 4) == 0;
	gate_poll(f);
	for (s = TAILQ_FIRST(&f->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		transaction_leader_changed(s);
	}
}

static bool fire_timer(struct frontend *f)
{
	struct session *s;

	world.now_ms += 1000;
	TAILQ_FOREACH(s, &f->sessions, link)
	if (s == world.timer_session && s->phase != SESSION_CLOSED) {
		world.timer_session = NULL;
		world.timer_cb(s);
		return true;
	}
	return false;
}

bool world_turn(struct frontend *f)
{
	struct reader_job *j;

	if ((next_byte() & 0xf0) == 0xf0)
		change_leader(f, next_byte());
	for (j = world.jobs; j < world.jobs + JOBS_MAX; j++) {
		if (j->kind == JOB_FREE)
			continue;
		answer(j);
		return true;
	}
	return fire_timer(f);
}

bool world_is_idle(void)
{
	unsigned i;

	for (i = 0; i < JOBS_MAX; i++)
		if (world.jobs[i].kind != JOB_FREE || world.units[i].is_used)
			return false;
	return true;
}

void world_reset(struct frontend *f, const uint8_t script[WORLD_SCRIPT_SIZE])
{
	unsigned i;

	memcpy(world.script, script, sizeof world.script);
	world.at = 0;
	world.leader.id = 1;
	world.leader.is_self = (script[0] & 4) == 0;
	world.leader.change_count = 1;
	world.is_leased = (script[0] & 8) == 0;
	world.now_ms = 1000;
	world.timer_session = NULL;
	for (i = 0; i < 2; i++) {
		f->databases[i].is_stale = true;
		f->databases[i].owner = NULL;
	}
}
