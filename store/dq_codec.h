/* The dqlite wire protocol as pure functions over memory: no socket, no clock. Everything is little-endian, in words of 8
 * bytes. The decoder trusts nothing: it reads no byte beyond the body it is given, and every count is checked against the bytes
 * that are left. */
#ifndef STORE_DQ_CODEC_H
#define STORE_DQ_CODEC_H

#include "core/base/err.h"
#include "core/base/str.h"
#include "store/dq.h"

#include <stddef.h>
#include <stdint.h>

enum dq_request {
	DQ_REQ_LEADER = 0,
	DQ_REQ_OPEN = 3,
	DQ_REQ_EXEC_SQL = 8,
	DQ_REQ_QUERY_SQL = 9,
	DQ_REQ_ADD = 12,
	DQ_REQ_ASSIGN = 13,
	DQ_REQ_REMOVE = 14,
	DQ_REQ_DUMP = 15,
	DQ_REQ_CLUSTER = 16,
	DQ_REQ_TRANSFER = 17
};

enum dq_response {
	DQ_RES_FAILURE = 0,
	DQ_RES_SERVER = 1,
	DQ_RES_SERVERS = 3,
	DQ_RES_DB = 4,
	DQ_RES_RESULT = 6,
	DQ_RES_ROWS = 7,
	DQ_RES_EMPTY = 8,
	DQ_RES_FILES = 9
};

#define DQ_HEADER_BYTES   8
#define DQ_BODY_MAX_BYTES ((size_t)256 << 20) /* of one message, either way */
#define DQ_DUMP_MAX_BYTES ((size_t)16 << 30)  /* of the answer to DUMP: a whole database */
#define DQ_PARAMS_MAX     32766               /* SQLite's own limit */

/* --- requests: appended to b --- */

void dq_encode_handshake(struct buf *b);
void dq_encode_numbers(struct buf *b, enum dq_request type, const uint64_t *numbers, size_t count);
void dq_encode_open(struct buf *b, const char *database);
void dq_encode_add(struct buf *b, uint64_t id, const char *address);
void dq_encode_dump(struct buf *b, const char *database);

/* EXEC_SQL or QUERY_SQL on the one open database. ERR_INVAL: too many parameters, too large, or a text with a NUL byte in it
 * (the wire ends texts at the first NUL: the rest would be taken for the next value). b is unchanged on failure. */
int dq_encode_sql(struct buf *b, enum dq_request type, const char *sql, const struct dq_value *params, size_t count,
                  struct err *e) MUST_USE;

/* --- responses --- */

struct dq_header {
	size_t body_bytes;
	uint8_t type, schema;
};

/* p holds DQ_HEADER_BYTES. ERR_PROTOCOL: a body beyond DQ_BODY_MAX_BYTES (DQ_DUMP_MAX_BYTES: the answer to DUMP). */
int dq_decode_header(const uint8_t *p, struct dq_header *ret, struct err *e) MUST_USE;

/* All below take exactly one body; texts they return point into it. ERR_PROTOCOL says what does not fit. */
int dq_decode_failure(const uint8_t *body, size_t len, uint64_t *ret_code, const char **ret_text, struct err *e) MUST_USE;
int dq_decode_result(const uint8_t *body, size_t len, uint64_t *ret_last_id, uint64_t *ret_changes, struct err *e) MUST_USE;

/* A table; zero-initialised is empty, the arrays are reused from message to message, dq_table_done frees them. */
struct dq_table {
	const char **columns;
	struct dq_value *values;
	size_t column_count, column_cap, row_count, value_count, value_cap;
	bool is_last;
};
int dq_decode_rows(const uint8_t *body, size_t len, struct dq_table *t, struct err *e) MUST_USE;
int dq_decode_server(const uint8_t *body, size_t len, struct dq_table *t, struct err *e) MUST_USE; /* one row: id, address */
int dq_decode_servers(const uint8_t *body, size_t len, struct dq_table *t,
                      struct err *e) MUST_USE;                                                    /* rows: id, address, role */
int dq_decode_files(const uint8_t *body, size_t len, struct dq_table *t, struct err *e) MUST_USE; /* rows: name, data */
void dq_table_done(struct dq_table *t);

#endif
