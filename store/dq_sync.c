#include "store/dq_sync.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_US 10000

struct dq_sync {
	uv_loop_t loop;
	struct dq *dq;
	bool is_done;
	struct err e;
	int64_t number;
	char *text; /* where a text goes, of cap bytes */
	size_t cap;
	void *blob; /* where a dump goes */
	size_t blob_size;
};

struct dq_sync *dq_sync_new(const char *address, const char *database)
{
	struct dq_sync *s = mem_alloc(sizeof *s);

	uv_loop_init(&s->loop);
	s->dq = dq_new(&s->loop, address, database);
	return s;
}

void dq_sync_free(struct dq_sync *s)
{
	if (s == NULL)
		return;
	dq_close(s->dq, NULL, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	free(s);
}

static int wait_done(struct dq_sync *s, struct err *e)
{
	while (!s->is_done)
		uv_run(&s->loop, UV_RUN_ONCE);
	s->is_done = false;
	if (s->e.code != 0 && e != NULL)
		*e = s->e;
	return (int)s->e.code;
}

static void take_value(struct dq_sync *s, const struct dq_value *v)
{
	if (v->type == DQ_INTEGER)
		s->number = v->u.i;
	if (s->text != NULL && v->type == DQ_TEXT)
		str_copy(s->text, s->cap, v->u.s.data);
}

static void answer_cb(void *arg, const struct dq_result *r)
{
	struct dq_sync *s = arg;

	if (r->code != 0)
		err_set(&s->e, ERR_SQL, "%s (code %d)", r->message, r->code);
	else if (r->row_count > 0)
		take_value(s, &r->values[0]);
	s->is_done = r->is_last;
}

static void begin(struct dq_sync *s)
{
	s->e = (struct err)ERR_INIT;
	s->number = 0;
	s->text = NULL;
	s->is_done = false;
}

int dq_sync_exec(struct dq_sync *s, const char *sql, const struct dq_value *params, size_t count, struct err *e)
{
	begin(s);
	dq_exec(s->dq, sql, params, count, answer_cb, s);
	return wait_done(s, e);
}

int dq_sync_number(struct dq_sync *s, const char *sql, int64_t *ret, struct err *e)
{
	int rc;

	begin(s);
	dq_query(s->dq, sql, NULL, 0, answer_cb, s);
	rc = wait_done(s, e);
	if (rc == 0)
		*ret = s->number;
	return rc;
}

int dq_sync_text(struct dq_sync *s, const char *sql, char *buf, size_t cap, struct err *e)
{
	begin(s);
	buf[0] = '\0';
	s->text = buf;
	s->cap = cap;
	dq_query(s->dq, sql, NULL, 0, answer_cb, s);
	return wait_done(s, e);
}

static void dump_cb(void *arg, const struct dq_result *r)
{
	struct dq_sync *s = arg;

	s->is_done = true;
	if (r->code != 0 && r->code != DQ_NO_DATABASE) {
		err_set(&s->e, ERR_SQL, "%s (code %d)", r->message, r->code);
		return;
	}
	s->blob_size = r->row_count > 0 ? r->values[1].u.s.len : 0;
	s->blob = malloc(s->blob_size + 1);
	if (s->blob == NULL)
		err_set(&s->e, ERR_NOMEM, "%zu bytes: there is not enough memory", s->blob_size);
	else if (s->blob_size > 0)
		memcpy(s->blob, r->values[1].u.s.data, s->blob_size);
}

int dq_sync_dump(struct dq_sync *s, const char *database, void **ret, size_t *ret_size, struct err *e)
{
	int rc;

	begin(s);
	dq_dump(s->dq, database, dump_cb, s);
	rc = wait_done(s, e);
	if (rc == 0) {
		*ret = s->blob;
		*ret_size = s->blob_size;
	}
	return rc;
}

static void migrated_cb(void *arg, const struct err *e, unsigned applied)
{
	struct dq_sync *s = arg;

	(void)applied;
	s->e = *e;
	s->is_done = true;
}

int dq_sync_migrate(struct dq_sync *s, const struct migration *list, struct err *e)
{
	begin(s);
	migrate_run(s->dq, list, migrated_cb, s);
	return wait_done(s, e);
}

int dq_sync_wait_leader(struct dq_sync *s, uint64_t id, int64_t limit_ms, struct err *e)
{
	int64_t end_ms = clock_now_ms() + limit_ms;

	do {
		begin(s);
		dq_leader(s->dq, answer_cb, s);
		if (wait_done(s, NULL) == 0 && (uint64_t)s->number == id)
			return 0;
		usleep(STEP_US);
	} while (clock_now_ms() < end_ms);
	return err_set(e, ERR_TIMEOUT, "the store node did not begin to lead within %d s", (int)(limit_ms / 1000));
}
