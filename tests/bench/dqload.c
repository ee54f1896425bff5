#include "tests/bench/dqload.h"

#include "core/base/str.h"
#include "store/dq_codec.h"
#include "store/net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Not in dq_codec.h: the store sends texts, never prepared statements. */
#define REQ_PREPARE 4
#define REQ_EXEC    5
#define REQ_QUERY   6
#define RES_STMT    5
#define ROLE_VOTER  0

enum stmt { STMT_INSERT, STMT_SELECT, STMT_BEGIN, STMT_COMMIT, STMT_COUNT };
static const char *const stmt_sql[STMT_COUNT] = {LOAD_SQL_INSERT "(?)", LOAD_SQL_SELECT "?", "BEGIN IMMEDIATE", "COMMIT"};

struct conn {
	int fd;
	uint32_t stmts[STMT_COUNT];
	struct buf out;
	uint8_t *in; /* [0, in_len) received */
	size_t in_len, in_cap, taken;
	struct dq_table table;
	uint64_t code; /* of the last FAILURE */
};

int dqload_dial(const char *address)
{
	struct sockaddr_storage ss;
	int fd, on = 1;

	if (net_parse(address, &ss, NULL) != 0)
		return -EINVAL;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(fd, (struct sockaddr *)&ss, sizeof ss) != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

/* --- messages --- */

static int send_out(struct conn *c, struct err *e)
{
	size_t sent = 0;

	while (sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + sent, c->out.len - sent, MSG_NOSIGNAL);

		if (n < 0)
			return err_sys(e, errno, "cannot send");
		sent += (size_t)n;
	}
	buf_clear(&c->out);
	return 0;
}

static int receive(struct conn *c, size_t need, struct err *e)
{
	if (c->in_cap < need + 4096) {
		c->in_cap = need + 65536;
		c->in = mem_resize(c->in, c->in_cap);
	}
	while (c->in_len < need) {
		ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);

		if (n <= 0)
			return n == 0 ? err_set(e, ERR_IO, "the node closed the connection")
			              : err_sys(e, errno, "cannot receive");
		c->in_len += (size_t)n;
	}
	return 0;
}

/* The next answer, of the wanted type; its body stays good until the next call. */
static int take_answer(struct conn *c, uint8_t type, const uint8_t **ret_body, size_t *ret_len, struct err *e)
{
	struct dq_header h;
	const char *text;
	int rc;

	memmove(c->in, c->in + c->taken, c->in_len - c->taken);
	c->in_len -= c->taken;
	c->taken = 0;
	rc = receive(c, DQ_HEADER_BYTES, e);
	if (rc == 0)
		rc = dq_decode_header(c->in, &h, e);
	if (rc == 0)
		rc = receive(c, DQ_HEADER_BYTES + h.body_bytes, e);
	if (rc != 0)
		return rc;
	c->taken = DQ_HEADER_BYTES + h.body_bytes;
	*ret_body = c->in + DQ_HEADER_BYTES;
	*ret_len = h.body_bytes;
	if (h.type == type)
		return 0;
	if (h.type != DQ_RES_FAILURE || dq_decode_failure(*ret_body, *ret_len, &c->code, &text, e) != 0)
		return err_set(e, ERR_PROTOCOL, "an answer of type %u instead of %u", h.type, type);
	return err_set(e, ERR_SQL, "%s (%llu)", text, (unsigned long long)c->code);
}

/* out holds the request. */
static int ask(struct conn *c, uint8_t type, const uint8_t **ret_body, size_t *ret_len, struct err *e)
{
	int rc = send_out(c, e);

	return rc != 0 ? rc : take_answer(c, type, ret_body, ret_len, e);
}

static int ask_empty(struct conn *c, struct err *e)
{
	const uint8_t *body;
	size_t len;

	return ask(c, DQ_RES_EMPTY, &body, &len, e);
}

/* --- connections --- */

static void dq_conn_drop(void *client)
{
	struct conn *c = client;

	if (c == NULL)
		return;
	close(c->fd);
	buf_done(&c->out);
	dq_table_done(&c->table);
	free(c->in);
	free(c);
}

static int open_bare(const char *target, struct conn **ret, struct err *e)
{
	int fd = dqload_dial(target);
	struct conn *c = NULL;

	if (fd < 0)
		return err_sys(e, -fd, "cannot reach %s", target);
	c = mem_alloc(sizeof *c);
	c->fd = fd;
	dq_encode_handshake(&c->out);
	*ret = c;
	return 0;
}

static void put_u64(struct buf *b, uint64_t v)
{
	buf_add(b, &v, sizeof v); /* little-endian, as everything here runs on */
}

/* Text or a message's prefix: zeros up to the next word. */
static void pad(struct buf *b)
{
	static const char zero[8];

	buf_add(b, zero, (8 - b->len % 8) % 8);
}

static void put_text(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s) + 1);
	pad(b);
}

static void put_header(struct conn *c, uint8_t type)
{
	put_u64(&c->out, (uint64_t)type << 32);
}

static void close_message(struct conn *c)
{
	uint32_t words = (uint32_t)(c->out.len / 8 - 1);

	memcpy(c->out.data, &words, sizeof words);
}

static int prepare(struct conn *c, enum stmt which, struct err *e)
{
	const uint8_t *body;
	size_t len;
	int rc;

	put_header(c, REQ_PREPARE);
	put_u64(&c->out, 0);
	put_text(&c->out, stmt_sql[which]);
	close_message(c);
	rc = ask(c, RES_STMT, &body, &len, e);
	if (rc == 0)
		memcpy(&c->stmts[which], body + 4, sizeof c->stmts[which]);
	return rc;
}

/* Before the tables are there, the statements that name them cannot be prepared. */
static int prepare_all(struct conn *c, struct err *e)
{
	int rc = 0;

	for (int i = 0; i < STMT_COUNT && rc == 0; i++) {
		rc = prepare(c, (enum stmt)i, e);
		if (rc == ERR_SQL && strstr(e->text, "no such table") != NULL)
			rc = 0;
	}
	return rc;
}

static int dq_conn_make(const char *target, void **ret, struct err *e)
{
	struct conn *c = NULL;
	const uint8_t *body;
	size_t len;
	int rc = open_bare(target, &c, e);

	if (rc != 0)
		return rc;
	rc = send_out(c, e);
	if (rc == 0) {
		dq_encode_open(&c->out, "bench");
		rc = ask(c, DQ_RES_DB, &body, &len, e);
	}
	if (rc == 0)
		rc = prepare_all(c, e);
	if (rc != 0)
		dq_conn_drop(c);
	else
		*ret = c;
	return rc;
}

/* --- operations --- */

static int dq_run_text(void *client, const char *sql, struct err *e)
{
	struct conn *c = client;
	const uint8_t *body;
	size_t len;
	int rc = dq_encode_sql(&c->out, DQ_REQ_EXEC_SQL, sql, NULL, 0, e);

	return rc != 0 ? rc : ask(c, DQ_RES_RESULT, &body, &len, e);
}

static void put_stmt(struct conn *c, uint8_t type, enum stmt which)
{
	put_header(c, type);
	put_u64(&c->out, (uint64_t)c->stmts[which] << 32);
}

static int exec_once(struct conn *c, enum stmt which, const char *text, struct err *e)
{
	const uint8_t *body;
	size_t len;

	put_stmt(c, REQ_EXEC, which);
	if (text == NULL) {
		put_u64(&c->out, 0);
	} else {
		put_u64(&c->out, 1 | DQ_TEXT << 8);
		put_text(&c->out, text);
	}
	close_message(c);
	return ask(c, DQ_RES_RESULT, &body, &len, e);
}

/* Clients of bare dqlite meet BUSY when others write, and must ask again: that is part of what is measured. */
static int exec_stmt(struct conn *c, enum stmt which, const char *text, struct err *e)
{
	for (;;) {
		int rc;

		c->code = 0;
		rc = exec_once(c, which, text, e);
		if (rc != ERR_SQL || (c->code & 0xff) != SQLITE_BUSY)
			return rc;
	}
}

static int dq_insert(void *client, const char *data, struct err *e)
{
	return exec_stmt(client, STMT_INSERT, data, e);
}

static int dq_transaction(void *client, const char *data, struct err *e)
{
	int rc = exec_stmt(client, STMT_BEGIN, NULL, e);

	for (int i = 0; i < LOAD_TX_STATEMENTS && rc == 0; i++)
		rc = exec_stmt(client, STMT_INSERT, data, e);
	return rc != 0 ? rc : exec_stmt(client, STMT_COMMIT, NULL, e);
}

static int dq_select(void *client, int64_t key, struct err *e)
{
	struct conn *c = client;
	const uint8_t *body;
	size_t len;
	int rc;

	put_stmt(c, REQ_QUERY, STMT_SELECT);
	put_u64(&c->out, 1 | DQ_INTEGER << 8);
	put_u64(&c->out, (uint64_t)key);
	close_message(c);
	rc = ask(c, DQ_RES_ROWS, &body, &len, e);
	if (rc == 0)
		rc = dq_decode_rows(body, len, &c->table, e);
	if (rc == 0 && (c->table.row_count != 1 || c->table.values[0].u.s.len != LOAD_DATA_BYTES))
		return err_set(e, ERR_SQL, "row %lld is not there", (long long)key);
	return rc;
}

const struct load_driver dqload_driver = {.connect = dq_conn_make,
                                          .close = dq_conn_drop,
                                          .exec = dq_run_text,
                                          .insert = dq_insert,
                                          .transaction = dq_transaction,
                                          .select = dq_select};

/* --- the cluster --- */

int dqload_leader(const char *address, uint64_t *ret_id, char *ret_address, struct err *e)
{
	struct conn *c = NULL;
	const uint8_t *body;
	size_t len;
	int rc = open_bare(address, &c, e);

	if (rc != 0)
		return rc;
	dq_encode_numbers(&c->out, DQ_REQ_LEADER, (uint64_t[]){0}, 1);
	rc = ask(c, DQ_RES_SERVER, &body, &len, e);
	if (rc == 0)
		rc = dq_decode_server(body, len, &c->table, e);
	if (rc == 0) {
		*ret_id = (uint64_t)c->table.values[0].u.i;
		str_copy(ret_address, NET_ADDRESS_CAP, c->table.values[1].u.s.data);
	}
	dq_conn_drop(c);
	return rc;
}

int dqload_add(const char *leader, uint64_t id, const char *address, struct err *e)
{
	struct conn *c = NULL;
	int rc = open_bare(leader, &c, e);

	if (rc != 0)
		return rc;
	dq_encode_add(&c->out, id, address);
	rc = ask_empty(c, e);
	if (rc == 0) {
		dq_encode_numbers(&c->out, DQ_REQ_ASSIGN, (uint64_t[]){id, ROLE_VOTER}, 2);
		rc = ask_empty(c, e);
	}
	dq_conn_drop(c);
	return rc;
}
