#include "core/base/clock.h"
#include "drivers/postgresql/pg.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_LIMIT_MS 2000
#define PEER_LIMIT_MS  5000

void pg_disconnect(struct pg *pg)
{
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->is_prepared = false;
}

/* libpq ends its messages with a newline and may use several lines. */
static void copy_message(char *buf, size_t cap, const char *message)
{
	size_t i;

	str_copy(buf, cap, message);
	for (i = strlen(buf); i > 0 && (buf[i - 1] == '\n' || buf[i - 1] == ' '); i--)
		buf[i - 1] = '\0';
	for (i = 0; buf[i] != '\0'; i++)
		if (buf[i] == '\n')
			buf[i] = ' ';
}

/* Returns false when until_ms has passed. */
static bool wait_socket(PGconn *conn, short events, int64_t until_ms)
{
	struct pollfd p = {PQsocket(conn), events, 0};
	int64_t left = until_ms - clock_now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* connect_timeout of libpq is 2 s at least, so the handshake is driven here. */
static int drive_connect(PGconn *conn, int limit_ms, struct err *e)
{
	int64_t until_ms = clock_now_ms() + limit_ms;
	PostgresPollingStatusType st = PGRES_POLLING_WRITING;
	char text[256];

	while (conn != NULL && PQstatus(conn) != CONNECTION_BAD && st != PGRES_POLLING_OK && st != PGRES_POLLING_FAILED) {
		if (!wait_socket(conn, st == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ms))
			return err_set(e, ERR_TIMEOUT, "the server has not accepted a session within %d ms", limit_ms);
		st = PQconnectPoll(conn);
	}
	if (conn != NULL && PQstatus(conn) == CONNECTION_OK)
		return ERR_OK;
	copy_message(text, sizeof text, conn != NULL ? PQerrorMessage(conn) : "out of memory");
	return err_set(e, ERR_UNREACHABLE, "%s", text);
}

int pg_connect(struct driver_ctx *ctx, int limit_ms, struct err *e)
{
	struct pg *pg = pg_of(ctx);
	char port[8];
	int rc;

	if (pg->conn != NULL && pg->conn_pid == ctx->server_pid && PQstatus(pg->conn) == CONNECTION_OK)
		return ERR_OK;
	pg_disconnect(pg);
	snprintf(port, sizeof port, "%u", ctx->inst->port);
	{
		const char *const keys[] = {"host",    "port",    "user",       "dbname", "application_name",
		                            "options", "sslmode", "gssencmode", NULL};
		/* Nothing of ours may ever wait for a standby or for a lock held by a user's session. */
		const char *const values[] =
		        {ctx->socket_dir,
		         port,
		         pg->user,
		         "postgres",
		         "mha-dbd",
		         "-c synchronous_commit=local -c lock_timeout=2000 -c default_transaction_read_only=off",
		         "disable",
		         "disable",
		         NULL};

		pg->conn = PQconnectStartParams(keys, values, 0);
	}
	rc = drive_connect(pg->conn, limit_ms, e);
	if (rc == ERR_OK)
		pg->conn_pid = ctx->server_pid;
	else
		pg_disconnect(pg);
	return rc;
}

static int take_result(PGconn *conn, int64_t until_ms, PGresult **ret, struct err *e)
{
	PGresult *last = NULL, *r;

	for (;;) {
		while (PQisBusy(conn)) {
			if (!wait_socket(conn, POLLIN, until_ms)) {
				PQclear(last);
				return err_set(e, ERR_TIMEOUT, "the server has not answered a statement in time");
			}
			if (PQconsumeInput(conn) == 0)
				break;
		}
		r = PQgetResult(conn);
		if (r == NULL)
			break;
		PQclear(last);
		last = r;
	}
	*ret = last;
	return ERR_OK;
}

static int run_statement(PGconn *conn, const char *sql, int limit_ms, PGresult **ret, struct err *e)
{
	int64_t until_ms = clock_now_ms() + limit_ms;
	PGresult *r = NULL;
	char text[256];
	int rc;

	if (PQsendQuery(conn, sql) == 0) {
		copy_message(text, sizeof text, PQerrorMessage(conn));
		return err_set(e, ERR_UNREACHABLE, "%s", text);
	}
	rc = take_result(conn, until_ms, &r, e);
	if (rc != ERR_OK)
		return rc;
	if (r == NULL || (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)) {
		copy_message(text, sizeof text, r != NULL ? PQresultErrorMessage(r) : PQerrorMessage(conn));
		PQclear(r);
		return err_set(e, PQstatus(conn) == CONNECTION_OK ? ERR_SQL : ERR_UNREACHABLE, "%s", text);
	}
	if (ret != NULL)
		*ret = r;
	else
		PQclear(r);
	return ERR_OK;
}

int pg_query(struct driver_ctx *ctx, const char *sql, int limit_ms, PGresult **ret, struct err *e)
{
	struct pg *pg = pg_of(ctx);
	int rc = pg_connect(ctx, limit_ms, e);

	if (rc != ERR_OK)
		return rc;
	rc = run_statement(pg->conn, sql, limit_ms, ret, e);
	if (rc == ERR_TIMEOUT || rc == ERR_UNREACHABLE)
		pg_disconnect(pg);
	return rc;
}

int pg_query_text(struct driver_ctx *ctx, const char *sql, char *buf, size_t cap, struct err *e)
{
	PGresult *r;
	int rc = pg_query(ctx, sql, QUERY_LIMIT_MS, &r, e);

	if (rc != ERR_OK)
		return rc;
	str_copy(buf, cap, PQntuples(r) > 0 && PQnfields(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return ERR_OK;
}

int pg_query_true(struct driver_ctx *ctx, const char *sql, bool *ret, struct err *e)
{
	char value[8];
	int rc = pg_query_text(ctx, sql, value, sizeof value, e);

	if (rc == ERR_OK)
		*ret = value[0] == 't';
	return rc;
}

int pg_is_standby(struct driver_ctx *ctx, bool *ret, struct err *e)
{
	return pg_query_true(ctx, "SELECT pg_is_in_recovery()", ret, e);
}

int pg_connect_peer(struct driver_ctx *ctx, const struct dbd_msg *order, PGconn **ret, struct err *e)
{
	const char *const keys[] = {"host",       "port", "user", "dbname", "application_name", "tcp_user_timeout",
	                            "gssencmode", NULL};
	char port[8];
	PGconn *conn;
	int rc;

	snprintf(port, sizeof port, "%u", order->peer_port);
	{
		const char *const values[] = {order->peer_host, port,      ctx->inst->replication_user,
		                              "postgres",       "mha-dbd", "5000",
		                              "disable",        NULL};

		conn = PQconnectStartParams(keys, values, 0);
	}
	rc = drive_connect(conn, PEER_LIMIT_MS, e);
	if (rc != ERR_OK) {
		PQfinish(conn);
		return err_wrap(e, "node \"%s\" at %s:%u", order->peer_node, order->peer_host, order->peer_port);
	}
	*ret = conn;
	return ERR_OK;
}
