/* The event table as a list; a long poll asks again until there is something or the time is up. */
#include "core/api/api.h"

#include "core/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT 50
#define MAX_LIMIT     1000
#define MAX_WAIT_S    30
#define POLL_MS       250
#define QUERY_MS      3000

struct events_job {
	struct control *c;
	struct http_request *http;
	bool has_after;
	uint64_t after, limit;
	int64_t until_ms;
	uv_timer_t timer;
};

static void ask(struct events_job *j);

static void free_job(uv_handle_t *h)
{
	free(h->data);
}

static void end_job(struct events_job *j)
{
	uv_close((uv_handle_t *)&j->timer, free_job);
}

static void poll_again(uv_timer_t *t)
{
	ask(t->data);
}

static json_t *event_json(const PGresult *res, int row)
{
	char when[32];

	return json_pack("{s:I,s:s,s:I,s:s,s:I,s:I,s:s,s:o}", "id", (json_int_t)strtoll(PQgetvalue(res, row, 0), NULL, 10),
	                 "at", clock_format_wall(strtoll(PQgetvalue(res, row, 1), NULL, 10), when), "generation",
	                 (json_int_t)strtoll(PQgetvalue(res, row, 2), NULL, 10), "group", PQgetvalue(res, row, 3), "epoch",
	                 (json_int_t)strtoll(PQgetvalue(res, row, 4), NULL, 10), "rule",
	                 (json_int_t)strtoll(PQgetvalue(res, row, 5), NULL, 10), "severity", PQgetvalue(res, row, 6), "text",
	                 api_text(PQgetvalue(res, row, 7)));
}

static void answered(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct events_job *j = arg;
	json_t *list;
	int i;

	(void)sqlstate;
	if (outcome != STORE_DONE) {
		api_error(j->http, ERR_NOQUORUM, message[0] != '\0' ? message : "the store does not answer", NULL);
		end_job(j);
		return;
	}
	if (PQntuples(res) == 0 && clock_now_ms() < j->until_ms) {
		uv_timer_start(&j->timer, poll_again, POLL_MS, 0);
		return;
	}
	list = json_array();
	for (i = 0; i < PQntuples(res); i++)
		json_array_append_new(list, event_json(res, i));
	api_json(j->http, 200, json_pack("{s:o}", "events", list));
	end_job(j);
}

static void ask(struct events_job *j)
{
	static const char columns[] = "id, at, generation, group_name, epoch, rule, severity, text";
	char sql[512];

	if (j->has_after)
		snprintf(sql, sizeof sql, "SELECT %s FROM event WHERE id > %" PRIu64 " ORDER BY id LIMIT %" PRIu64, columns,
		         j->after, j->limit);
	else
		snprintf(sql, sizeof sql, "SELECT * FROM (SELECT %s FROM event ORDER BY id DESC LIMIT %" PRIu64 ") ORDER BY id",
		         columns, j->limit);
	store_session_query(j->c->store, sql, QUERY_MS, answered, j);
}

void api_events(struct control *c, struct http_request *r)
{
	struct events_job *j;
	uint64_t after = UINT64_MAX, limit = DEFAULT_LIMIT, wait = 0;

	if (!api_query_number(r, "after", INT64_MAX, &after) || !api_query_number(r, "limit", MAX_LIMIT, &limit) ||
	    !api_query_number(r, "wait", MAX_WAIT_S, &wait))
		return;
	j = mem_alloc(sizeof *j);
	j->c = c;
	j->http = r;
	j->has_after = after != UINT64_MAX;
	j->after = after;
	j->limit = limit;
	j->until_ms = clock_now_ms() + (int64_t)wait * 1000;
	uv_timer_init(c->loop, &j->timer);
	j->timer.data = j;
	ask(j);
}
