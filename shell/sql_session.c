#include "shell/sql_session.h"

#include "core/base/clock.h"
#include "shell/interrupt.h"
#include "shell/shell.h"
#include "shell/sql_print.h"
#include "shell/text.h"

#include <dirent.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S "3"
#define SOCKET_TIMEOUT_MS "5000"

struct sql {
	PGconn *conn;
};

static void trim_end(char *s)
{
	size_t n = strlen(s);

	while (n > 0 && strchr(" \r\n", s[n - 1]) != NULL)
		s[--n] = '\0';
}

static void print_notice(void *arg, const char *message)
{
	struct buf b = {0};
	char *text = mem_strdup(message);

	(void)arg;
	trim_end(text);
	text_add_safe(&b, text);
	fprintf(stderr, "%s\n", b.data != NULL ? b.data : "");
	buf_done(&b);
	free(text);
}

/* libpq's message is several lines when several hosts were tried: ours is one. */
static int refuse_connection(struct shell *sh, PGconn *conn, PGPing ping, struct err *e)
{
	char *text = mem_strdup(PQerrorMessage(conn)), *p;
	enum err_code code = ERR_SQL;
	int rc;

	trim_end(text);
	for (p = text; *p != '\0'; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	if (ping == PQPING_NO_RESPONSE) {
		code = ERR_UNREACHABLE;
		shell_hint(sh, "--sql-host and --sql-port (or --node) say where the SQL port is; it opens with sql.auth in "
		               "node.yaml");
	} else if (ping == PQPING_REJECT) {
		code = ERR_NOQUORUM;
		shell_hint(sh, "`mha-shell cluster status` shows whether the cluster has a leader");
	} else if (PQconnectionNeedsPassword(conn)) {
		shell_hint(sh, "give the password in PGPASSWORD or ~/.pgpass");
	}
	rc = err_set(e, code, "%s", text);
	free(text);
	return rc;
}

/* The SQL port as the name of the socket in a run directory tells it; the option's when it was given or there is none. */
static const char *find_port(const struct options *o, const char *host, char *buf, size_t size)
{
	static const char begin[] = ".s.PGSQL.";
	DIR *dir = host[0] == '/' && (o->given & OPT_SQL_PORT) == 0 ? opendir(host) : NULL;
	const char *port = o->sql_port;
	struct dirent *d;

	while (dir != NULL && (d = readdir(dir)) != NULL) {
		const char *digits = d->d_name + sizeof begin - 1;

		if (strncmp(d->d_name, begin, sizeof begin - 1) != 0 || strspn(digits, "0123456789") != strlen(digits))
			continue;
		if (str_copy(buf, size, digits))
			port = buf;
	}
	if (dir != NULL)
		closedir(dir);
	return port;
}

/* A new connection. */
static int connect_to(struct shell *sh, const struct options *o, PGconn **ret, struct err *e)
{
	const char *host = o->sql_host != NULL ? o->sql_host : http_hosts(sh->http);
	char found[16];
	const char *port = find_port(o, host, found, sizeof found);
	const char *const keys[] = {"host",
	                            "port",
	                            "dbname",
	                            "user",
	                            "application_name",
	                            "connect_timeout",
	                            "tcp_user_timeout",
	                            "client_encoding",
	                            "gssencmode",
	                            NULL};
	const char *const values[] =
	        {host, port, o->database, o->user, "mha-shell", CONNECT_TIMEOUT_S, SOCKET_TIMEOUT_MS, "UTF8", "disable", NULL};
	PGconn *conn = PQconnectdbParams(keys, values, 0);
	int rc;

	if (PQstatus(conn) == CONNECTION_OK) {
		PQsetNoticeProcessor(conn, print_notice, NULL);
		*ret = conn;
		return ERR_OK;
	}
	/* libpq keeps the SQLSTATE of a refused connection to itself; its ping tells "not now" (57P03) from "not you". */
	rc = refuse_connection(sh, conn, PQpingParams(keys, values, 0), e);
	PQfinish(conn);
	return rc;
}

int sql_open(struct shell *sh, const struct options *o, struct err *e)
{
	PGconn *conn = NULL;
	int rc;

	if (sh->sql != NULL && PQstatus(sh->sql->conn) == CONNECTION_OK)
		return ERR_OK;
	rc = connect_to(sh, o, &conn, e);
	if (rc != ERR_OK)
		return rc;
	if (sh->sql != NULL)
		shell_say("connected again: settings and an open transaction of the lost session are gone");
	sql_close(sh->sql);
	sh->sql = mem_alloc(sizeof *sh->sql);
	sh->sql->conn = conn;
	return ERR_OK;
}

void sql_close(struct sql *s)
{
	if (s == NULL)
		return;
	PQfinish(s->conn);
	free(s);
}

bool sql_in_transaction(const struct sql *s)
{
	PGTransactionStatusType status = s != NULL ? PQtransactionStatus(s->conn) : PQTRANS_IDLE;

	return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

static void cancel(PGconn *conn)
{
	PGcancel *c = PQgetCancel(conn);
	char why[256] = "no connection";

	fputs("\n", stderr);
	if (c == NULL || PQcancel(c, why, sizeof why) != 1)
		shell_say("the cancel request could not be sent: %s", why);
	PQfreeCancel(c);
}

/* The next result, or NULL when there are no more. Statements may take as long as they take; SIGINT, let in only while we wait,
 * asks the server to cancel. */
static PGresult *next_result(PGconn *conn, const sigset_t *unblocked)
{
	struct pollfd p = {.events = POLLIN};

	while (PQisBusy(conn)) {
		p.fd = PQsocket(conn);
		if (p.fd < 0)
			break;
		if (ppoll(&p, 1, NULL, unblocked) > 0 && PQconsumeInput(conn) == 0)
			break;
		if (interrupt_is_set()) {
			interrupt_clear();
			cancel(conn);
		}
	}
	return PQgetResult(conn);
}

static int refuse_statement(struct shell *sh, const PGresult *res, const char *text, struct err *e)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE),
	           *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY),
	           *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	enum err_code code = ERR_SQL;

	if (state == NULL || message == NULL)
		return err_set(e, ERR_UNREACHABLE,
		               "the connection broke; if the statement was a write, read whether it was carried out");
	if (strcmp(state, "57P03") == 0)
		code = ERR_NOQUORUM;
	else if (strcmp(state, "08007") == 0)
		code = ERR_AMBIGUOUS;
	sql_print_position(&sh->detail, text, position != NULL ? (unsigned)strtoul(position, NULL, 10) : 0);
	if (detail != NULL) {
		buf_puts(&sh->detail, "detail: ");
		text_add_safe(&sh->detail, detail);
		buf_puts(&sh->detail, "\n");
	}
	if (hint != NULL)
		shell_hint(sh, "%s", hint);
	return err_set(e, code, "ERROR %s: %s", state, message);
}

static void copy_out(const struct out *o, PGconn *conn)
{
	char *row;
	int n;

	while ((n = PQgetCopyData(conn, &row, 0)) > 0) {
		fwrite(row, 1, (size_t)n, o->stream);
		PQfreemem(row);
	}
}

static void print_bare(const struct out *o, const PGresult *res)
{
	int r;

	for (r = 0; r < PQntuples(res); r++)
		fprintf(o->stream, "%s;\n", PQgetvalue(res, r, 0));
}

/* Print one result; the first error of a message is kept in *e. */
static int take_result(struct shell *sh, const PGresult *res, const char *text, struct err *e)
{
	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		if (sh->sql_bare && sh->out.format == OUT_TABLE)
			print_bare(&sh->out, res);
		else
			sql_print_result(&sh->out, res, sh->sql_expanded);
		return ERR_OK;
	case PGRES_EMPTY_QUERY:
		return ERR_OK;
	case PGRES_COPY_OUT:
		copy_out(&sh->out, sh->sql->conn);
		return ERR_OK;
	case PGRES_COPY_IN:
		PQputCopyEnd(sh->sql->conn, "mha-shell sends no COPY data: use psql, or INSERT");
		return ERR_OK;
	default:
		return refuse_statement(sh, res, text, e);
	}
}

static void print_notifications(PGconn *conn)
{
	PGnotify *n;

	while ((n = PQnotifies(conn)) != NULL) {
		shell_say("notification on %s: %s", n->relname, n->extra);
		PQfreemem(n);
	}
}

static int run_all(struct shell *sh, const char *text, const sigset_t *unblocked, struct err *e)
{
	PGconn *conn = sh->sql->conn;
	PGresult *res;
	int rc = ERR_OK;

	if (PQsendQuery(conn, text) == 0)
		return err_set(e, ERR_UNREACHABLE, "the statement could not be sent: the connection is gone");
	while ((res = next_result(conn, unblocked)) != NULL) {
		if (rc == ERR_OK)
			rc = take_result(sh, res, text, e);
		PQclear(res);
		if (PQstatus(conn) != CONNECTION_OK)
			break;
	}
	print_notifications(conn);
	return rc;
}

int sql_run(struct shell *sh, const char *text, struct err *e)
{
	struct sigaction old;
	int64_t began = clock_now_ns();
	sigset_t block, before;
	int rc;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigprocmask(SIG_BLOCK, &block, &before);
	interrupt_catch(&old);
	rc = run_all(sh, text, &before, e);
	interrupt_clear();
	interrupt_release(&old);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (sh->sql_timing)
		fprintf(stderr, "time: %.3f ms\n", (double)(clock_now_ns() - began) / (double)CLOCK_NS_PER_MS);
	return rc;
}

int sql_run_bare(struct shell *sh, const char *text, struct err *e)
{
	int rc;

	sh->sql_bare = true;
	rc = sql_run(sh, text, e);
	sh->sql_bare = false;
	return rc;
}
