/* Load over PostgreSQL's protocol. --target is a libpq connection string. */
#include "tests/bench/load.h"

#include <libpq-fe.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static int fail(const PGconn *conn, PGresult *r, struct err *e)
{
	err_set(e, ERR_SQL, "%s", PQerrorMessage(conn));
	PQclear(r);
	return ERR_SQL;
}

/* Takes r. */
static int expect(const PGconn *conn, PGresult *r, ExecStatusType status, struct err *e)
{
	if (PQresultStatus(r) != status)
		return fail(conn, r, e);
	PQclear(r);
	return 0;
}

static int pg_exec(void *client, const char *sql, struct err *e)
{
	return expect(client, PQexec(client, sql), PGRES_COMMAND_OK, e);
}

static int prepare(PGconn *conn, const char *name, const char *sql, struct err *e)
{
	return expect(conn, PQprepare(conn, name, sql, 0, NULL), PGRES_COMMAND_OK, e);
}

static void pg_close(void *client)
{
	PQfinish(client); /* NULL is fine */
}

/* The first client of all finds no tables yet: it is the one that makes them. */
static int prepare_all(PGconn *conn, struct err *e)
{
	PGresult *r = PQexec(conn, "SELECT count(*) FROM sqlite_schema WHERE name = 'bench_written'");
	bool has_tables = PQresultStatus(r) == PGRES_TUPLES_OK && PQgetvalue(r, 0, 0)[0] == '1';
	int rc = 0;

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		return fail(conn, r, e);
	PQclear(r);
	if (has_tables)
		rc = prepare(conn, "insert", LOAD_SQL_INSERT "($1)", e);
	if (has_tables && rc == 0)
		rc = prepare(conn, "select", LOAD_SQL_SELECT "$1", e);
	if (rc == 0)
		rc = prepare(conn, "begin", "BEGIN", e);
	return rc != 0 ? rc : prepare(conn, "commit", "COMMIT", e);
}

static int pg_connect(const char *target, void **ret, struct err *e)
{
	PGconn *conn = PQconnectdb(target);
	int rc = 0;

	if (PQstatus(conn) != CONNECTION_OK)
		rc = err_set(e, ERR_UNREACHABLE, "%s", PQerrorMessage(conn));
	if (rc == 0)
		rc = prepare_all(conn, e);
	if (rc != 0)
		PQfinish(conn);
	else
		*ret = conn;
	return rc;
}

static int run(PGconn *conn, const char *name, const char *data, struct err *e)
{
	return expect(conn, PQexecPrepared(conn, name, data != NULL, &data, NULL, NULL, 0), PGRES_COMMAND_OK, e);
}

static int pg_insert(void *client, const char *data, struct err *e)
{
	return run(client, "insert", data, e);
}

static int pg_transaction(void *client, const char *data, struct err *e)
{
	int rc = run(client, "begin", NULL, e);

	for (int i = 0; i < LOAD_TX_STATEMENTS && rc == 0; i++)
		rc = run(client, "insert", data, e);
	return rc != 0 ? rc : run(client, "commit", NULL, e);
}

static int pg_select(void *client, int64_t key, struct err *e)
{
	char text[24];
	const char *values[] = {text};
	PGresult *r;

	snprintf(text, sizeof text, "%" PRId64, key);
	r = PQexecPrepared(client, "select", 1, values, NULL, NULL, 0);
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		return fail(client, r, e);
	if (PQntuples(r) != 1 || PQgetlength(r, 0, 0) != LOAD_DATA_BYTES) {
		PQclear(r);
		return err_set(e, ERR_SQL, "row %s is not there", text);
	}
	PQclear(r);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct load_driver driver = {.connect = pg_connect,
	                                          .close = pg_close,
	                                          .exec = pg_exec,
	                                          .insert = pg_insert,
	                                          .transaction = pg_transaction,
	                                          .select = pg_select};

	return load_main(argc, argv, &driver);
}
