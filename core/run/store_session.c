#include "core/run/store_session.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS      20
#define RETRY_MAX_MS        200
#define CONNECT_DEADLINE_MS 1000

enum session_state { SESSION_DOWN, SESSION_CONNECTING, SESSION_UP };

struct statement {
	struct statement *next;
	char *sql;
	int64_t deadline_ms;
	store_cb cb;
	void *arg;
	bool is_sent;
	/* Filled while its results arrive. */
	PGresult *result;
	bool is_failed;
	bool is_ambiguous;
	char sqlstate[8];
	char message[512];
};

struct store_session {
	uv_loop_t *loop;
	struct store_handlers h;
	char host[108], port[8];
	char *database;
	enum session_state state;
	PGconn *conn;
	uv_poll_t *poll; /* of the connection's socket; its own memory, because libuv needs it until it has closed */
	int poll_fd;
	uv_timer_t retry;    /* the next attempt; the deadline of the present one */
	uv_timer_t deadline; /* of the first statement to expire */
	uv_timer_t later;    /* completes what could not be completed inside the owner's call */
	unsigned retry_ms;
	struct statement *first, *last;           /* the first one is with the server once is_sent */
	struct statement *dead_first, *dead_last; /* refused while down; told by `later` */
	unsigned open_handles;
	bool is_closed;
};

static void drop(struct store_session *s, const char *reason);
static void on_ready(uv_poll_t *poll, int status, int events);
static void on_retry(uv_timer_t *timer);
static void send_first(struct store_session *s);

static void append(struct statement **first, struct statement **last, struct statement *st)
{
	st->next = NULL;
	if (*last != NULL)
		(*last)->next = st;
	else
		*first = st;
	*last = st;
}

static struct statement *pop(struct statement **first, struct statement **last)
{
	struct statement *st = *first;

	if (st != NULL && (*first = st->next) == NULL)
		*last = NULL;
	return st;
}

static void free_statement(struct statement *st)
{
	PQclear(st->result);
	free(st->sql);
	free(st);
}

/* The one place where a statement ends. Nothing of the session is touched after the callback. */
static void complete(struct statement *st, enum store_outcome outcome)
{
	if (st->cb != NULL)
		st->cb(st->arg, outcome, outcome == STORE_DONE ? st->result : NULL, outcome == STORE_FAILED ? st->sqlstate : "",
		       outcome == STORE_DONE ? "" : st->message);
	free_statement(st);
}

static void fail_unsent(struct statement *st, const char *reason)
{
	str_copy(st->sqlstate, sizeof st->sqlstate, "08003");
	snprintf(st->message, sizeof st->message, "not connected to the store: %s", reason);
	complete(st, STORE_FAILED);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void close_poll(struct store_session *s)
{
	if (s->poll == NULL)
		return;
	uv_poll_stop(s->poll);
	uv_close((uv_handle_t *)s->poll, on_poll_closed);
	s->poll = NULL;
}

/* libpq may open another socket while it connects. */
static void watch(struct store_session *s, int events)
{
	int fd = PQsocket(s->conn);

	if (s->poll != NULL && s->poll_fd != fd)
		close_poll(s);
	if (s->poll == NULL) {
		s->poll = mem_alloc(sizeof *s->poll);
		if (uv_poll_init(s->loop, s->poll, fd) != 0) {
			free(s->poll);
			s->poll = NULL;
			return; /* the deadline ends the attempt */
		}
		s->poll->data = s;
		s->poll_fd = fd;
	}
	uv_poll_start(s->poll, events, on_ready);
}

static void disconnect(struct store_session *s)
{
	close_poll(s);
	uv_timer_stop(&s->deadline);
	PQfinish(s->conn);
	s->conn = NULL;
	s->state = SESSION_DOWN;
}

static void retry_later(struct store_session *s)
{
	uv_timer_start(&s->retry, on_retry, s->retry_ms, 0);
	s->retry_ms = s->retry_ms * 2 < RETRY_MAX_MS ? s->retry_ms * 2 : RETRY_MAX_MS;
}

/* The connection is lost: every statement gets its answer, then the owner hears of it, then it is tried again. */
static void drop(struct store_session *s, const char *reason)
{
	bool was_up = s->state == SESSION_UP;
	struct statement *st, *first = s->first;
	char why[256];

	str_copy(why, sizeof why, reason);
	disconnect(s);
	s->first = s->last = NULL;
	while ((st = first) != NULL) {
		first = st->next;
		if (s->is_closed || st->is_sent) {
			snprintf(st->message, sizeof st->message, "the connection to the store ended: %s", why);
			complete(st, STORE_UNKNOWN);
		} else {
			fail_unsent(st, why);
		}
	}
	if (s->is_closed)
		return;
	s->retry_ms = RETRY_FIRST_MS;
	retry_later(s);
	if (was_up)
		s->h.disconnected(s->h.arg, why);
}

static void on_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message; /* libpq would print it */
}

static void begin_connect(struct store_session *s)
{
	const char *const keys[] = {"host", "port", "dbname", "application_name", "sslmode", "gssencmode", NULL};
	const char *const values[] = {s->host, s->port, s->database, "mha-control", "disable", "disable", NULL};

	s->conn = PQconnectStartParams(keys, values, 0);
	if (s->conn == NULL || PQstatus(s->conn) == CONNECTION_BAD) {
		disconnect(s);
		retry_later(s);
		return;
	}
	PQsetNoticeProcessor(s->conn, on_notice, NULL);
	s->state = SESSION_CONNECTING;
	uv_timer_start(&s->retry, on_retry, CONNECT_DEADLINE_MS, 0);
	watch(s, UV_WRITABLE);
}

static void on_retry(uv_timer_t *timer)
{
	struct store_session *s = timer->data;

	if (s->state == SESSION_CONNECTING)
		disconnect(s); /* the deadline of the attempt */
	begin_connect(s);
}

static void continue_connect(struct store_session *s)
{
	switch (PQconnectPoll(s->conn)) {
	case PGRES_POLLING_READING:
		watch(s, UV_READABLE);
		return;
	case PGRES_POLLING_WRITING:
		watch(s, UV_WRITABLE);
		return;
	case PGRES_POLLING_OK:
		uv_timer_stop(&s->retry);
		s->retry_ms = RETRY_FIRST_MS;
		s->state = SESSION_UP;
		PQsetnonblocking(s->conn, 1);
		watch(s, UV_READABLE);
		s->h.connected(s->h.arg);
		return;
	default:
		disconnect(s);
		retry_later(s);
	}
}

static void on_deadline(uv_timer_t *timer)
{
	struct store_session *s = timer->data;

	drop(s, "the store did not answer in time");
}

static void arm_deadline(struct store_session *s)
{
	struct statement *st;
	int64_t soonest = INT64_MAX, left;

	for (st = s->first; st != NULL; st = st->next)
		if (st->deadline_ms < soonest)
			soonest = st->deadline_ms;
	if (s->first == NULL) {
		uv_timer_stop(&s->deadline);
		return;
	}
	left = soonest - clock_now_ms();
	uv_timer_start(&s->deadline, on_deadline, left > 0 ? (uint64_t)left : 0, 0);
}

static void collect(struct statement *st, PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	PQclear(st->result);
	st->result = res;
	if (PQresultStatus(res) != PGRES_FATAL_ERROR && PQresultStatus(res) != PGRES_BAD_RESPONSE)
		return;
	st->is_failed = true;
	str_copy(st->sqlstate, sizeof st->sqlstate, state != NULL ? state : "");
	str_copy(st->message, sizeof st->message, text != NULL ? text : PQresultErrorMessage(res));
	/* 08007: the store does not know whether the commit was applied. FATAL: it hung up on us, perhaps after the commit. */
	st->is_ambiguous = strcmp(st->sqlstate, "08007") == 0 || (severity != NULL && strcmp(severity, "ERROR") != 0);
}

static bool is_copy(const PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* All results of the first statement are here. */
static void finish_first(struct store_session *s)
{
	struct statement *st = pop(&s->first, &s->last);

	/* The next one goes out before the owner, who may queue or close, hears of this one. */
	send_first(s);
	complete(st, st->is_ambiguous ? STORE_UNKNOWN : st->is_failed ? STORE_FAILED : STORE_DONE);
}

static void read_results(struct store_session *s)
{
	PGresult *res;

	while (s->state == SESSION_UP && s->first != NULL && s->first->is_sent && PQisBusy(s->conn) == 0) {
		res = PQgetResult(s->conn);
		if (res != NULL && is_copy(res)) {
			PQclear(res);
			drop(s, "COPY is not for this session");
			return;
		}
		/* The connection's end comes as an error result too; what it means is for drop() to say. */
		if (PQstatus(s->conn) == CONNECTION_BAD) {
			PQclear(res);
			drop(s, PQerrorMessage(s->conn));
			return;
		}
		if (res != NULL)
			collect(s->first, res);
		else
			finish_first(s);
	}
}

static void read_notifies(struct store_session *s)
{
	PGnotify *n;

	while (s->state == SESSION_UP && (n = PQnotifies(s->conn)) != NULL) {
		s->h.notify(s->h.arg, n->relname, n->extra);
		PQfreemem(n);
	}
}

static void flush(struct store_session *s)
{
	int rc = PQflush(s->conn);

	if (rc < 0)
		drop(s, PQerrorMessage(s->conn));
	else
		watch(s, rc > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void send_first(struct store_session *s)
{
	if (s->state == SESSION_UP && s->first != NULL && !s->first->is_sent) {
		s->first->is_sent = true;
		/* A failure here is the connection's; it shows as readable with an error at once. */
		if (PQsendQuery(s->conn, s->first->sql) == 1 && PQflush(s->conn) >= 0)
			watch(s, UV_READABLE | UV_WRITABLE);
	}
	arm_deadline(s);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct store_session *s = poll->data;

	if (s->state == SESSION_CONNECTING) {
		continue_connect(s);
		return;
	}
	if ((events & UV_WRITABLE) != 0)
		flush(s);
	if (s->state != SESSION_UP)
		return;
	if (PQconsumeInput(s->conn) == 0) {
		/* An orderly end has its reason in the last message before it. */
		drop(s, PQerrorMessage(s->conn));
		return;
	}
	read_results(s);
	read_notifies(s);
	/* After an error libuv watches no more, but the last words of the server were perhaps all that could be read so far. */
	if (status < 0 && s->state == SESSION_UP)
		watch(s, UV_READABLE);
}

static void on_later(uv_timer_t *timer)
{
	struct store_session *s = timer->data;
	struct statement *st, *first = s->dead_first;

	s->dead_first = s->dead_last = NULL;
	while ((st = first) != NULL) {
		first = st->next;
		fail_unsent(st, "it is down or still starting");
	}
}

static void init_timer(struct store_session *s, uv_timer_t *timer)
{
	uv_timer_init(s->loop, timer);
	timer->data = s;
	s->open_handles++;
}

struct store_session *store_session_new(uv_loop_t *loop, const struct config *c, const char *database,
                                        const struct store_handlers *h)
{
	struct store_session *s = mem_alloc(sizeof *s);

	s->loop = loop;
	s->h = *h;
	str_copy(s->host, sizeof s->host, c->run_dir);
	snprintf(s->port, sizeof s->port, "%u", c->ports.sql);
	s->database = mem_strdup(database);
	s->retry_ms = RETRY_FIRST_MS;
	init_timer(s, &s->retry);
	init_timer(s, &s->deadline);
	init_timer(s, &s->later);
	uv_timer_start(&s->retry, on_retry, 0, 0);
	return s;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct store_session *s = handle->data;

	if (--s->open_handles > 0)
		return;
	free(s->database);
	free(s);
}

void store_session_close(struct store_session *s)
{
	struct statement *st;

	if (s == NULL || s->is_closed)
		return;
	s->is_closed = true;
	drop(s, "the session was closed");
	while ((st = pop(&s->dead_first, &s->dead_last)) != NULL)
		fail_unsent(st, "the session was closed");
	uv_close((uv_handle_t *)&s->retry, on_timer_closed);
	uv_close((uv_handle_t *)&s->deadline, on_timer_closed);
	uv_close((uv_handle_t *)&s->later, on_timer_closed);
}

bool store_session_is_connected(const struct store_session *s)
{
	return s->state == SESSION_UP;
}

void store_session_query(struct store_session *s, const char *sql, int deadline_ms, store_cb cb, void *arg)
{
	struct statement *st;

	if (s->is_closed)
		return;
	st = mem_alloc(sizeof *st);
	st->sql = mem_strdup(sql);
	st->cb = cb;
	st->arg = arg;
	st->deadline_ms = clock_now_ms() + deadline_ms;
	if (s->state != SESSION_UP) {
		append(&s->dead_first, &s->dead_last, st);
		uv_timer_start(&s->later, on_later, 0, 0);
		return;
	}
	append(&s->first, &s->last, st);
	send_first(s);
}
