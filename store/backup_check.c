#include "store/backup_check.h"

#include "core/base/str.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes 18 and 19 of the file say how it is to be journalled: 2 is WAL, which a database in memory cannot do. */
#define WRITE_VERSION_AT 18
#define READ_VERSION_AT  19
#define LEGACY_VERSION   1
#define HEAD_BYTES       100

int backup_db_open(void *data, size_t size, struct backup_db *ret, struct err *e)
{
	sqlite3 *db = NULL;
	unsigned char *bytes = data;
	int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc == SQLITE_OK && size >= HEAD_BYTES) {
		bytes[WRITE_VERSION_AT] = bytes[READ_VERSION_AT] = LEGACY_VERSION;
		rc = sqlite3_deserialize(db, "main", data, (sqlite3_int64)size, (sqlite3_int64)size,
		                         SQLITE_DESERIALIZE_READONLY);
		if (rc == SQLITE_OK)
			rc = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
	} else if (rc == SQLITE_OK && size != 0) {
		rc = SQLITE_NOTADB;
	}
	if (rc != SQLITE_OK) {
		err_set(e, ERR_INVAL, "it holds no database: %s", sqlite3_errstr(rc));
		sqlite3_close(db);
		free(data);
		return ERR_INVAL;
	}
	ret->db = db;
	ret->data = data;
	return 0;
}

void backup_db_close(struct backup_db *d)
{
	sqlite3_close(d->db);
	free(d->data);
	d->db = NULL;
	d->data = NULL;
}

/* Calls row for each row; stops when it returns false. */
static int each_row(sqlite3 *db, const char *sql, bool (*row)(void *arg, sqlite3_stmt *st), void *arg, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	while (rc == SQLITE_OK) {
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW)
			rc = row(arg, st) ? SQLITE_OK : SQLITE_DONE;
	}
	if (rc != SQLITE_DONE)
		err_set(e, ERR_INVAL, "%s", sqlite3_errmsg(db));
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? 0 : ERR_INVAL;
}

static bool copy_verdict(void *arg, sqlite3_stmt *st)
{
	str_copy(arg, 200, (const char *)sqlite3_column_text(st, 0));
	return false;
}

int backup_db_check(const struct backup_db *d, struct err *e)
{
	char verdict[200] = "";
	int rc = each_row(d->db, "PRAGMA integrity_check(1)", copy_verdict, verdict, e);

	if (rc == 0 && strcmp(verdict, "ok") != 0)
		rc = err_set(e, ERR_INVAL, "the integrity check says: %s", verdict);
	return rc;
}

static bool copy_number(void *arg, sqlite3_stmt *st)
{
	*(int64_t *)arg = sqlite3_column_int64(st, 0);
	return false;
}

int64_t backup_db_number(const struct backup_db *d, const char *sql, int64_t otherwise)
{
	int64_t n = otherwise;

	return each_row(d->db, sql, copy_number, &n, NULL) == 0 ? n : otherwise;
}

static bool count_orphan(void *arg, sqlite3_stmt *st)
{
	struct backup_counts *c = arg;

	if (c->orphans++ == 0)
		str_copy(c->orphan_table, sizeof c->orphan_table, (const char *)sqlite3_column_text(st, 0));
	return true;
}

struct counting {
	sqlite3 *db;
	struct backup_counts *counts;
};

static bool count_table(void *arg, sqlite3_stmt *st)
{
	struct counting *c = arg;
	const struct backup_db d = {.db = c->db};
	char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\"", sqlite3_column_text(st, 0));

	c->counts->tables++;
	c->counts->rows += backup_db_number(&d, sql, 0);
	sqlite3_free(sql);
	return true;
}

int backup_db_count(const struct backup_db *d, struct backup_counts *ret, struct err *e)
{
	struct backup_counts counts = {0};
	struct counting c = {d->db, &counts};
	int rc = each_row(d->db,
	                  "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
	                  count_table, &c, e);

	if (rc == 0)
		rc = each_row(d->db, "PRAGMA foreign_key_check", count_orphan, &counts, e);
	if (rc == 0)
		*ret = counts;
	return rc;
}

/* --- digest --- */

struct digest {
	sqlite3 *db;
	EVP_MD_CTX *md;
};

static bool add_row(void *arg, sqlite3_stmt *st)
{
	struct digest *g = arg;

	for (int i = 0; i < sqlite3_column_count(st); i++) {
		int type = sqlite3_column_type(st, i);
		const void *data = type == SQLITE_TEXT ? (const void *)sqlite3_column_text(st, i) : sqlite3_column_blob(st, i);
		struct {
			int64_t type, size;
			double real;
			int64_t integer;
		} head = {.type = type, .size = sqlite3_column_bytes(st, i)};

		if (type == SQLITE_FLOAT)
			head.real = sqlite3_column_double(st, i);
		else if (type == SQLITE_INTEGER)
			head.integer = sqlite3_column_int64(st, i);
		if (type == SQLITE_FLOAT || type == SQLITE_INTEGER || type == SQLITE_NULL)
			head.size = 0;
		EVP_DigestUpdate(g->md, &head, sizeof head);
		if (head.size > 0 && data != NULL)
			EVP_DigestUpdate(g->md, data, (size_t)head.size);
	}
	return true;
}

static bool add_table(void *arg, sqlite3_stmt *st)
{
	struct digest *g = arg;
	const char *name = (const char *)sqlite3_column_text(st, 0);
	/* A table without rowids comes in the order of its primary key, and rowid is no name in it. */
	char *sql = sqlite3_mprintf(sqlite3_column_int(st, 1) ? "SELECT * FROM \"%w\""
	                                                      : "SELECT rowid, * FROM \"%w\" ORDER BY rowid",
	                            name);

	EVP_DigestUpdate(g->md, name, strlen(name));
	/* A virtual table without rowids; its content lies in tables of its own. */
	if (each_row(g->db, sql, add_row, g, NULL) != 0)
		EVP_DigestUpdate(g->md, "?", 1);
	sqlite3_free(sql);
	return true;
}

int backup_db_digest(const struct backup_db *d, char *buf, struct err *e)
{
	struct digest g = {d->db, EVP_MD_CTX_new()};
	unsigned char sum[32];
	int rc;

	EVP_DigestInit_ex(g.md, EVP_sha256(), NULL);
	rc = each_row(d->db,
	              "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' "
	              "ORDER BY "
	              "type, name",
	              add_row, &g, e);
	if (rc == 0)
		rc = each_row(d->db,
		              "SELECT s.name, t.wr FROM sqlite_schema s JOIN pragma_table_list t ON t.name = s.name AND "
		              "t.schema = "
		              "'main' WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' AND t.type <> "
		              "'virtual' ORDER BY s.name",
		              add_table, &g, e);
	EVP_DigestFinal_ex(g.md, sum, NULL);
	EVP_MD_CTX_free(g.md);
	for (size_t i = 0; i < sizeof sum; i++)
		snprintf(buf + 2 * i, 3, "%02x", sum[i]);
	return rc;
}
