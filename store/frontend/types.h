/* Types between SQLite (storage classes, declared types) and PostgreSQL (OIDs, text and binary formats). */
#ifndef STORE_FRONTEND_TYPES_H
#define STORE_FRONTEND_TYPES_H

#include "core/base/str.h"
#include "store/dq.h"
#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum type_oid {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_CHAR = 18,
	OID_NAME = 19,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_OID = 26,
	OID_JSON = 114,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_UNKNOWN = 705,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_DATE = 1082,
	OID_TIME = 1083,
	OID_TIMESTAMP = 1114,
	OID_TIMESTAMPTZ = 1184,
	OID_INTERVAL = 1186,
	OID_NUMERIC = 1700,
	OID_UUID = 2950
};

/* The OID of a result column by its declared type (NULL: an expression). */
uint32_t type_oid_of_decltype(const char *decltype);

/* The OID that a cast names; 0: not one of ours. */
uint32_t type_oid_of_cast(const char *name);

/* A cast to it changes nothing that SQLite would notice: texts, dates, catalogue names. */
bool type_cast_is_void(uint32_t oid);

/* The value of a hexadecimal digit of either case; -1: it is none. */
int type_hex_value(char c);

int16_t type_size(uint32_t oid); /* typlen: -1 when it varies */

/* A client's parameter as a value for dqlite. format 0: text, 1: binary. data is NULL for SQL's NULL. The value points into
 * data or scratch (what had to be decoded is appended there; it may move later values of the same scratch, so give each
 * parameter its own). Errors: 22P02, 22P03, 22003, 22021, 0A000. */
int type_decode_param(uint32_t oid, int format, const char *data, size_t len, struct buf *scratch, struct dq_value *ret,
                      struct sqlerr *e) MUST_USE;

/* Append one column of a DataRow: its length word and bytes. In text format every value can be sent; in binary format a value
 * that does not fit its column's type is refused with 22P02 naming the column. */
int type_encode(struct buf *out, uint32_t oid, int format, const struct dq_value *v, const char *column,
                struct sqlerr *e) MUST_USE;

#endif
