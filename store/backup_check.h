/* A database of a backup, looked at with SQLite in memory: nothing is written anywhere. Everything blocks. */
#ifndef STORE_BACKUP_CHECK_H
#define STORE_BACKUP_CHECK_H

#include "core/base/err.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

struct backup_db {
	sqlite3 *db;
	void *data;
};

/* data (taken, also on failure; malloc) holds the size bytes of a database; an empty one is a database without tables.
 * backup_db_close is due after success only. ERR_INVAL: this is no database. */
int backup_db_open(void *data, size_t size, struct backup_db *ret, struct err *e) MUST_USE;
void backup_db_close(struct backup_db *d);

/* PRAGMA integrity_check. ERR_INVAL with what it found first. */
int backup_db_check(const struct backup_db *d, struct err *e) MUST_USE;

struct backup_counts {
	unsigned tables;
	int64_t rows;
	int64_t orphans; /* rows that break a foreign key: SQLite lets them in when keys are switched off */
	char orphan_table[64];
};
int backup_db_count(const struct backup_db *d, struct backup_counts *ret, struct err *e) MUST_USE;

/* One integer from SQL; `otherwise` when there is no row or the statement does not fit the database. */
int64_t backup_db_number(const struct backup_db *d, const char *sql, int64_t otherwise);

/* SHA-256 over schema and content (types and bytes of every value, rows in the order of their keys): the same for two databases
 * that hold the same, wherever their pages lie. Without the tables sqlite_stat*. buf holds 65 bytes. */
int backup_db_digest(const struct backup_db *d, char *buf, struct err *e) MUST_USE;

#endif
