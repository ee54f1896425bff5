#include "store/dq.h"
#include "store/dq_codec.h"
#include "store/dq_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_DEFAULT_MS 120000
#define MISUSE             21 /* SQLITE_MISUSE: the request cannot be encoded */

/* What a statement does to the connection's transaction when it succeeds. */
enum tx_effect { TX_NONE, TX_BEGIN, TX_END };

struct req {
	struct req *next;
	enum dq_response answer; /* the type of answer that fits */
	struct buf message;      /* copied for sending: a request may go out twice */
	dq_cb cb;
	void *arg;
	int code; /* when it failed before it could be sent */
	char *reason;
	enum tx_effect tx;
	bool needs_open, was_sent, was_reopened;
};

struct queue {
	struct req *first, *last;
};

struct dq {
	uv_loop_t *loop;
	char *address, *database;
	struct dq_conn *conn; /* NULL: none; the next request makes one */
	bool is_ready;        /* conn: handshake sent */
	bool is_open;         /* conn: the database is open */
	bool is_opening;      /* the request in flight is our OPEN */
	bool is_in_flight;    /* the first of `waiting`, or our OPEN for it, waits for its answer */
	bool is_in_tx;        /* a transaction may be open on this connection */
	bool is_tx_lost;      /* it was, and nobody has been told yet that it is gone */
	bool is_closing;
	struct queue waiting; /* in order; the first may be in flight */
	struct queue doomed;  /* failed; the kick timer tells them */
	struct dq_table table;
	unsigned timeout_ms;
	int (*connect)(void *arg, const char *address); /* NULL: dq_conn's own */
	void *connect_arg;
	uv_timer_t deadline; /* of the request in flight */
	uv_timer_t kick;
	unsigned handles_open;
	void (*done_cb)(void *arg);
	void *done_arg;
};

static void advance(struct dq *d);
static const struct dq_conn_events events;

/* --- queues --- */

static void push(struct queue *q, struct req *r)
{
	r->next = NULL;
	if (q->first == NULL)
		q->first = r;
	else
		q->last->next = r;
	q->last = r;
}

static struct req *pop(struct queue *q)
{
	struct req *r = q->first;

	q->first = r->next;
	return r;
}

static void req_free(struct req *r)
{
	buf_done(&r->message);
	free(r->reason);
	free(r);
}

/* --- failing --- */

static void tell_doomed(struct dq *d)
{
	while (d->doomed.first != NULL) {
		struct req *r = pop(&d->doomed);
		struct dq_result result = {.code = r->code, .message = r->reason, .is_last = true, .was_sent = r->was_sent};

		r->cb(r->arg, &result);
		req_free(r);
	}
}

static void kick_cb(uv_timer_t *timer)
{
	struct dq *d = timer->data;

	tell_doomed(d);
	if (!d->is_closing)
		advance(d);
}

static void doom(struct dq *d, struct req *r, int code, const char *reason)
{
	r->code = code;
	r->reason = mem_strdup(reason);
	push(&d->doomed, r);
	if (!d->is_closing)
		uv_timer_start(&d->kick, kick_cb, 0, 0);
}

/* Let go of the connection and fail all that waits: what stands behind a broken request may belong to its transaction. */
static void drop_connection(struct dq *d, const char *reason)
{
	d->is_tx_lost = d->is_in_tx && d->waiting.first == NULL;
	d->is_in_tx = d->is_ready = d->is_open = d->is_opening = d->is_in_flight = false;
	dq_conn_close(d->conn);
	d->conn = NULL;
	uv_timer_stop(&d->deadline);
	while (d->waiting.first != NULL)
		doom(d, pop(&d->waiting), DQ_DISCONNECTED, reason);
}

static void deadline_cb(uv_timer_t *timer)
{
	drop_connection(timer->data, "the store node does not answer");
}

/* --- answers --- */

/* The request in flight has its last answer. The callback may reset or close d, or ask for more. */
static void complete(struct dq *d, const struct dq_result *result)
{
	struct req *r = pop(&d->waiting);

	d->is_in_flight = false;
	uv_timer_stop(&d->deadline);
	r->cb(r->arg, result);
	req_free(r);
	if (!d->is_closing)
		advance(d);
}

static void complete_failure(struct dq *d, int code, const char *text)
{
	struct dq_result result = {.code = code, .message = text, .is_last = true, .was_sent = d->waiting.first->was_sent};

	complete(d, &result);
}

/* Leadership went away and came back: the database is to be opened again, and a transaction that was open is gone. */
static void handle_not_open(struct dq *d)
{
	struct req *r = d->waiting.first;
	bool was_in_tx = d->is_in_tx;

	d->is_open = false;
	d->is_in_tx = false;
	r->was_sent = false;
	if (was_in_tx || r->was_reopened) {
		complete_failure(d, DQ_NOT_LEADER,
		                 was_in_tx ? "the transaction was lost with the leadership of the store"
		                           : "the leadership of the store keeps changing");
		return;
	}
	r->was_reopened = true;
	d->is_in_flight = false;
	advance(d);
}

static void handle_failure(struct dq *d, const uint8_t *body, size_t len)
{
	const char *text;
	uint64_t code;
	struct err e = ERR_INIT;

	if (dq_decode_failure(body, len, &code, &text, &e) != 0) {
		drop_connection(d, e.text);
	} else if (d->is_opening) {
		d->is_opening = false;
		complete_failure(d, (int)code, text);
	} else if (code == DQ_NOT_OPEN && d->waiting.first->needs_open) {
		handle_not_open(d);
	} else {
		if (code == DQ_NOT_LEADER || code == DQ_LEADERSHIP_LOST)
			d->is_in_tx = false;
		complete_failure(d, (int)code, text);
	}
}

static int decode_answer(struct dq *d, enum dq_response type, const uint8_t *body, size_t len, struct dq_result *result,
                         struct err *e)
{
	switch (type) {
	case DQ_RES_RESULT:
		return dq_decode_result(body, len, &result->last_id, &result->changes, e);
	case DQ_RES_ROWS:
		return dq_decode_rows(body, len, &d->table, e);
	case DQ_RES_SERVER:
		return dq_decode_server(body, len, &d->table, e);
	case DQ_RES_SERVERS:
		return dq_decode_servers(body, len, &d->table, e);
	case DQ_RES_FILES:
		return dq_decode_files(body, len, &d->table, e);
	default:
		return 0;
	}
}

static void handle_answer(struct dq *d, const struct dq_header *h, const uint8_t *body)
{
	struct req *r = d->waiting.first;
	struct dq_result result = {.message = "", .is_last = true, .was_sent = true};
	struct err e = ERR_INIT;

	d->table.column_count = d->table.row_count = 0;
	d->table.is_last = true;
	if (decode_answer(d, h->type, body, h->body_bytes, &result, &e) != 0) {
		drop_connection(d, e.text);
		return;
	}
	result.columns = d->table.columns;
	result.values = d->table.values;
	result.column_count = d->table.column_count;
	result.row_count = d->table.row_count;
	result.is_last = d->table.is_last;
	if (!result.is_last) {
		uv_timer_again(&d->deadline);
		r->cb(r->arg, &result);
		return;
	}
	if (r->tx != TX_NONE)
		d->is_in_tx = r->tx == TX_BEGIN;
	complete(d, &result);
}

static void on_message(void *arg, const struct dq_header *h, const uint8_t *body)
{
	struct dq *d = arg;

	if (!d->is_in_flight) {
		drop_connection(d, "the store node sent an answer that nobody asked for");
	} else if (h->type == DQ_RES_FAILURE) {
		handle_failure(d, body, h->body_bytes);
	} else if (d->is_opening && h->type == DQ_RES_DB) {
		d->is_opening = d->is_in_flight = false;
		d->is_open = true;
		advance(d);
	} else if (!d->is_opening && h->type == d->waiting.first->answer) {
		handle_answer(d, h, body);
	} else {
		drop_connection(d, "the store node sent an answer of the wrong type");
	}
}

static void on_broken(void *arg, const char *why)
{
	drop_connection(arg, why);
}

static void on_ready(void *arg)
{
	struct dq *d = arg;

	d->is_ready = true;
	advance(d);
}

static const struct dq_conn_events events = {on_ready, on_message, on_broken};

/* --- sending --- */

static void send_message(struct dq *d, struct buf *message)
{
	d->is_in_flight = true;
	uv_timer_start(&d->deadline, deadline_cb, d->timeout_ms, d->timeout_ms);
	dq_conn_send(d->conn, message);
}

static void send_first(struct dq *d)
{
	struct req *r = d->waiting.first;
	struct buf copy = {0};

	if (r->needs_open && !d->is_open) {
		dq_encode_open(&copy, d->database);
		d->is_opening = true;
	} else if (r->needs_open) {
		/* It may have to go out again after a new OPEN, so the original stays. */
		buf_add(&copy, r->message.data, r->message.len);
		r->was_sent = true;
	} else {
		copy = r->message;
		r->message = (struct buf){0};
		r->was_sent = true;
	}
	send_message(d, &copy);
}

/* Do the next thing that can be done, if any. */
static void advance(struct dq *d)
{
	if (d->waiting.first == NULL || d->is_in_flight)
		return;
	if (d->is_tx_lost) {
		d->is_tx_lost = false;
		doom(d, pop(&d->waiting), DQ_DISCONNECTED, "the transaction was lost with the connection to the store node");
	} else if (d->conn == NULL) {
		d->conn = d->connect != NULL ? dq_conn_adopt(d->loop, d->connect(d->connect_arg, d->address), &events, d)
		                             : dq_conn_new(d->loop, d->address, &events, d);
	} else if (d->is_ready) {
		send_first(d);
	}
}

static struct req *req_new(enum dq_response answer, dq_cb cb, void *arg)
{
	struct req *r = mem_alloc(sizeof *r);

	r->answer = answer;
	r->cb = cb;
	r->arg = arg;
	return r;
}

static void submit(struct dq *d, struct req *r)
{
	if (d->is_closing) {
		doom(d, r, DQ_DISCONNECTED, "the connection to the store node was closed");
		return;
	}
	push(&d->waiting, r);
	advance(d);
}

/* --- SQL --- */

static bool starts_with(const char *s, const char *word)
{
	size_t len = strlen(word);

	while (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')
		s++;
	return strncasecmp(s, word, len) == 0;
}

static bool ends_with(const char *s, const char *word)
{
	size_t len = strlen(s), word_len = strlen(word);

	while (len > 0 && strchr(" \t\r\n;", s[len - 1]) != NULL)
		len--;
	return len >= word_len && strncasecmp(s + len - word_len, word, word_len) == 0;
}

/* A guess for the protection of lost transactions only: where it is wrong, a request fails that might have been run. */
static enum tx_effect tx_effect_of(const char *sql)
{
	if (ends_with(sql, "commit") || starts_with(sql, "commit") || starts_with(sql, "end"))
		return TX_END;
	if (starts_with(sql, "rollback") && strcasestr(sql, " to ") == NULL)
		return TX_END;
	if (starts_with(sql, "begin") || starts_with(sql, "savepoint"))
		return TX_BEGIN;
	return TX_NONE;
}

static void submit_sql(struct dq *d, struct req *r, enum dq_request type, const char *sql, const struct dq_value *params,
                       size_t count)
{
	struct err e = ERR_INIT;

	assert(d->database != NULL);
	r->needs_open = true;
	r->tx = tx_effect_of(sql);
	if (dq_encode_sql(&r->message, type, sql, params, count, &e) != 0)
		doom(d, r, MISUSE, e.text);
	else
		submit(d, r);
}

void dq_exec(struct dq *d, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb, void *arg)
{
	submit_sql(d, req_new(DQ_RES_RESULT, cb, arg), DQ_REQ_EXEC_SQL, sql, params, param_count);
}

void dq_query(struct dq *d, const char *sql, const struct dq_value *params, size_t param_count, dq_cb cb, void *arg)
{
	submit_sql(d, req_new(DQ_RES_ROWS, cb, arg), DQ_REQ_QUERY_SQL, sql, params, param_count);
}

/* --- the cluster --- */

static void submit_numbers(struct dq *d, struct req *r, enum dq_request type, const uint64_t *numbers, size_t count)
{
	dq_encode_numbers(&r->message, type, numbers, count);
	submit(d, r);
}

void dq_leader(struct dq *d, dq_cb cb, void *arg)
{
	submit_numbers(d, req_new(DQ_RES_SERVER, cb, arg), DQ_REQ_LEADER, (uint64_t[]){0}, 1);
}

void dq_cluster(struct dq *d, dq_cb cb, void *arg)
{
	submit_numbers(d, req_new(DQ_RES_SERVERS, cb, arg), DQ_REQ_CLUSTER, (uint64_t[]){1}, 1);
}

void dq_add(struct dq *d, uint64_t id, const char *address, dq_cb cb, void *arg)
{
	struct req *r = req_new(DQ_RES_EMPTY, cb, arg);

	dq_encode_add(&r->message, id, address);
	submit(d, r);
}

void dq_assign(struct dq *d, uint64_t id, int role, dq_cb cb, void *arg)
{
	submit_numbers(d, req_new(DQ_RES_EMPTY, cb, arg), DQ_REQ_ASSIGN, (uint64_t[]){id, (uint64_t)role}, 2);
}

void dq_remove(struct dq *d, uint64_t id, dq_cb cb, void *arg)
{
	submit_numbers(d, req_new(DQ_RES_EMPTY, cb, arg), DQ_REQ_REMOVE, (uint64_t[]){id}, 1);
}

void dq_transfer(struct dq *d, uint64_t id, dq_cb cb, void *arg)
{
	submit_numbers(d, req_new(DQ_RES_EMPTY, cb, arg), DQ_REQ_TRANSFER, (uint64_t[]){id}, 1);
}

void dq_dump(struct dq *d, const char *database, dq_cb cb, void *arg)
{
	struct req *r = req_new(DQ_RES_FILES, cb, arg);

	dq_encode_dump(&r->message, database);
	submit(d, r);
}

/* --- life --- */

struct dq *dq_new(uv_loop_t *loop, const char *address, const char *database)
{
	struct dq *d = mem_alloc(sizeof *d);

	d->loop = loop;
	d->address = mem_strdup(address);
	d->database = database != NULL ? mem_strdup(database) : NULL;
	d->timeout_ms = TIMEOUT_DEFAULT_MS;
	uv_timer_init(loop, &d->deadline);
	uv_timer_init(loop, &d->kick);
	d->deadline.data = d;
	d->kick.data = d;
	d->handles_open = 2;
	return d;
}

void dq_set_connect(struct dq *d, int (*connect)(void *arg, const char *address), void *arg)
{
	d->connect = connect;
	d->connect_arg = arg;
}

void dq_set_timeout(struct dq *d, unsigned timeout_ms)
{
	d->timeout_ms = timeout_ms;
}

void dq_reset(struct dq *d)
{
	drop_connection(d, "the connection to the store node was reset");
	d->is_tx_lost = false; /* who resets knows */
}

static void close_cb(uv_handle_t *h)
{
	struct dq *d = h->data;

	if (--d->handles_open > 0)
		return;
	tell_doomed(d);
	if (d->done_cb != NULL)
		d->done_cb(d->done_arg);
	dq_table_done(&d->table);
	free(d->address);
	free(d->database);
	free(d);
}

void dq_close(struct dq *d, void (*done_cb)(void *arg), void *arg)
{
	d->is_closing = true;
	d->done_cb = done_cb;
	d->done_arg = arg;
	drop_connection(d, "the connection to the store node was closed");
	uv_close((uv_handle_t *)&d->deadline, close_cb);
	uv_close((uv_handle_t *)&d->kick, close_cb);
}
