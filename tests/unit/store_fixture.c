#include "store_fixture.h"
#include "core/base/clock.h"
#include "core/base/str.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS        60000
#define FIRST_PORT      20000
#define PORT_BLOCKS     1200
#define PORTS_PER_BLOCK 10

static void format_cell(const struct dq_value *v, char *cell, size_t cap)
{
	if (v->type == DQ_INTEGER)
		snprintf(cell, cap, "%lld", (long long)v->u.i);
	else if (v->type == DQ_FLOAT)
		snprintf(cell, cap, "%g", v->u.f);
	else if (v->type == DQ_NULL)
		str_copy(cell, cap, "NULL");
	else
		snprintf(cell, cap, "%.*s", (int)v->u.s.len, v->u.s.data);
}

void answer_dq_cb(void *arg, const struct dq_result *r)
{
	struct answer *a = arg;

	assert_false(a->is_done);
	a->code = r->code;
	str_copy(a->message, sizeof a->message, r->message);
	a->changes = r->changes;
	a->columns = r->column_count;
	a->was_sent = r->was_sent;
	for (size_t i = 0; i < r->row_count * r->column_count; i++) {
		size_t cell = a->rows * a->columns + i;

		if (cell < FIXTURE_CELLS)
			format_cell(&r->values[i], a->cells[cell], sizeof a->cells[cell]);
	}
	a->rows += r->row_count;
	a->calls++;
	a->is_done = r->is_last;
}

void answer_admin_cb(void *arg, const struct admin_result *r)
{
	struct answer *a = arg;

	assert_false(a->is_done);
	a->code = r->code;
	str_copy(a->message, sizeof a->message, r->message);
	str_copy(a->sqlstate, sizeof a->sqlstate, r->sqlstate);
	a->columns = r->column_count;
	a->rows = r->row_count;
	for (size_t i = 0; i < r->row_count * r->column_count && i < FIXTURE_CELLS; i++)
		str_copy(a->cells[i], sizeof a->cells[i], r->values[i] != NULL ? r->values[i] : "NULL");
	a->is_done = true;
}

/* Keeps the loop turning while nothing else happens. */
static void tick_cb(uv_timer_t *t)
{
	(void)t;
}

bool fixture_wait(uv_loop_t *loop, bool (*is_met)(void *arg), void *arg, int64_t limit_ms)
{
	int64_t end_ms = clock_now_ms() + limit_ms;
	uv_timer_t tick;
	bool met;

	uv_timer_init(loop, &tick);
	uv_timer_start(&tick, tick_cb, 5, 5);
	while (!(met = is_met(arg)) && clock_now_ms() < end_ms)
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(loop, UV_RUN_NOWAIT); /* the closed timer lives on this stack */
	return met;
}

static bool is_answered(void *arg)
{
	return ((struct answer *)arg)->is_done;
}

void answer_wait(uv_loop_t *loop, struct answer *a)
{
	if (!fixture_wait(loop, is_answered, a, LIMIT_MS))
		fail_msg("no answer within %d ms", LIMIT_MS);
}

int fixture_exec(uv_loop_t *loop, struct dq *d, const char *sql, struct answer *a)
{
	memset(a, 0, sizeof *a);
	dq_exec(d, sql, NULL, 0, answer_dq_cb, a);
	answer_wait(loop, a);
	return a->code;
}

int fixture_query(uv_loop_t *loop, struct dq *d, const char *sql, struct answer *a)
{
	memset(a, 0, sizeof *a);
	dq_query(d, sql, NULL, 0, answer_dq_cb, a);
	answer_wait(loop, a);
	return a->code;
}

void fixture_make_dir(char *buf, size_t cap)
{
	str_copy(buf, cap, "/tmp/mha-store-test-XXXXXX");
	assert_non_null(mkdtemp(buf));
}

static int remove_cb(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void fixture_remove_dir(const char *path)
{
	nftw(path, remove_cb, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_config(struct config *c, const char *name, const char *address, uint16_t port, const char *dir)
{
	char path[256];

	memset(c, 0, sizeof *c);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	c->cluster = mem_strdup("test");
	c->node = mem_strdup(name);
	c->address = mem_strdup(address);
	c->ports.raft = port;
	c->state_dir = mem_strdup(path);
	c->tls.mode = mem_strdup("insecure-plaintext");
}

void fixture_config_done(struct config *c)
{
	free(c->cluster);
	free(c->node);
	free(c->address);
	free(c->state_dir);
	free(c->tls.mode);
	memset(c, 0, sizeof *c);
}

uint16_t fixture_port(unsigned offset)
{
	return (uint16_t)(FIRST_PORT + (unsigned)getpid() % PORT_BLOCKS * PORTS_PER_BLOCK + offset);
}
