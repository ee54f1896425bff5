#include "store/reader.h"

#include "core/base/str.h"
#include "store/interrupt.h"

#include <stdlib.h>
#include <sys/queue.h>

#define POOL_SIZE 4 /* more would only wait for dqlite's threads */

struct reader_conn {
	struct reader *reader;
	struct dq *dq;
	struct reader_job *job; /* NULL: free */
};

struct reader_job {
	TAILQ_ENTRY(reader_job) link; /* in waiting, while conn is NULL */
	struct reader *reader;
	struct reader_conn *conn;
	struct buf sql; /* marked */
	uint64_t id;
	const struct dq_value *params; /* borrowed until it is sent */
	size_t param_count;
	dq_cb cb; /* NULL: abandoned */
	void *arg;
};

struct reader {
	struct reader_conn conns[POOL_SIZE];
	TAILQ_HEAD(, reader_job) waiting;
	unsigned closing; /* connections still to close */
	bool is_closing;
	void (*done_cb)(void *arg);
	void *done_arg;
};

static void advance(struct reader *r);

static void query_cb(void *arg, const struct dq_result *result)
{
	struct reader_conn *c = arg;
	struct reader_job *j = c->job;
	bool is_last = result->is_last;

	if (is_last) {
		c->job = NULL;
		j->conn = NULL;
	}
	if (j->cb != NULL)
		j->cb(j->arg, result); /* may abandon j, when there is more to come */
	if (!is_last)
		return;
	if (result->code == DQ_DISCONNECTED)
		interrupt_request(j->id); /* nobody waits for what may still run */
	else
		interrupt_forget(j->id);
	buf_done(&j->sql);
	free(j);
	advance(c->reader);
}

static void advance(struct reader *r)
{
	struct reader_job *j;
	unsigned i;

	for (i = 0; i < POOL_SIZE && !r->is_closing && (j = TAILQ_FIRST(&r->waiting)) != NULL; i++) {
		if (r->conns[i].job != NULL)
			continue;
		TAILQ_REMOVE(&r->waiting, j, link);
		j->conn = &r->conns[i];
		j->conn->job = j;
		dq_query(j->conn->dq, j->sql.data, j->params, j->param_count, query_cb, j->conn);
	}
}

struct reader_job *reader_run(struct reader *r, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb,
                              void *arg)
{
	struct reader_job *j = mem_alloc(sizeof(*j));

	j->reader = r;
	j->id = interrupt_next_id();
	interrupt_put_mark(&j->sql, j->id);
	buf_puts(&j->sql, sql);
	j->params = params;
	j->param_count = param_count;
	j->cb = cb;
	j->arg = arg;
	TAILQ_INSERT_TAIL(&r->waiting, j, link);
	advance(r);
	return j;
}

void reader_abandon(struct reader_job *j)
{
	j->cb = NULL;
	if (j->conn != NULL) {
		interrupt_request(j->id); /* its last answer comes soon and frees it */
		return;
	}
	TAILQ_REMOVE(&j->reader->waiting, j, link);
	buf_done(&j->sql);
	free(j);
}

void reader_cancel(struct reader_job *j)
{
	interrupt_request(j->id);
}

struct reader *reader_new(uv_loop_t *loop, const char *address, const char *database)
{
	struct reader *r = mem_alloc(sizeof(*r));
	unsigned i;

	TAILQ_INIT(&r->waiting);
	for (i = 0; i < POOL_SIZE; i++) {
		r->conns[i].reader = r;
		r->conns[i].dq = dq_new(loop, address, database);
	}
	return r;
}

static void closed_cb(void *arg)
{
	struct reader *r = arg;

	if (--r->closing > 0)
		return;
	if (r->done_cb != NULL)
		r->done_cb(r->done_arg);
	free(r);
}

void reader_close(struct reader *r, void (*done_cb)(void *arg), void *arg)
{
	unsigned i;

	r->is_closing = true;
	r->closing = POOL_SIZE;
	r->done_cb = done_cb;
	r->done_arg = arg;
	for (i = 0; i < POOL_SIZE; i++)
		dq_close(r->conns[i].dq, closed_cb, r);
}
