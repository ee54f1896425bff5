#include "store/frontend/types.h"

#include "store/frontend/messages.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char hex_digits[] = "0123456789abcdef";

/* Parts of a declared type, upper case; the first that occurs decides (the order is SQLite's affinity rule, refined). */
static const struct {
	const char *part;
	uint32_t oid;
} decltype_parts[] = {
        {"INTERVAL", OID_TEXT},
        {"POINT", OID_TEXT},
        {"INT", OID_INT8},
        {"BOOL", OID_BOOL},
        {"TIMESTAMPTZ", OID_TIMESTAMPTZ},
        {"TIMESTAMP", OID_TIMESTAMP},
        {"DATETIME", OID_TIMESTAMP},
        {"DATE", OID_DATE},
        {"TIME", OID_TIME},
        {"JSON", OID_JSON},
        {"UUID", OID_UUID},
        {"CHAR", OID_TEXT},
        {"CLOB", OID_TEXT},
        {"TEXT", OID_TEXT},
        {"BLOB", OID_BYTEA},
        {"BYTEA", OID_BYTEA},
        {"REAL", OID_FLOAT8},
        {"FLOA", OID_FLOAT8},
        {"DOUB", OID_FLOAT8},
        {"NUMERIC", OID_NUMERIC},
        {"DECIMAL", OID_NUMERIC},
};

uint32_t type_oid_of_decltype(const char *decltype)
{
	size_t i;

	for (i = 0; decltype != NULL && i < sizeof(decltype_parts) / sizeof(decltype_parts[0]); i++)
		if (strcasestr(decltype, decltype_parts[i].part) != NULL)
			return decltype_parts[i].oid;
	return OID_TEXT;
}

static const struct {
	const char *name;
	uint32_t oid;
} cast_names[] = {
        {"bool", OID_BOOL},
        {"boolean", OID_BOOL},
        {"bytea", OID_BYTEA},
        {"char", OID_CHAR},
        {"name", OID_NAME},
        {"int8", OID_INT8},
        {"bigint", OID_INT8},
        {"int2", OID_INT2},
        {"smallint", OID_INT2},
        {"int4", OID_INT4},
        {"int", OID_INT4},
        {"integer", OID_INT4},
        {"text", OID_TEXT},
        {"oid", OID_OID},
        {"json", OID_JSON},
        {"jsonb", OID_JSON},
        {"float4", OID_FLOAT4},
        {"real", OID_FLOAT4},
        {"float8", OID_FLOAT8},
        {"double", OID_FLOAT8},
        {"float", OID_FLOAT8},
        {"unknown", OID_TEXT},
        {"bpchar", OID_BPCHAR},
        {"character", OID_BPCHAR},
        {"varchar", OID_VARCHAR},
        {"date", OID_DATE},
        {"time", OID_TIME},
        {"timestamp", OID_TIMESTAMP},
        {"timestamptz", OID_TIMESTAMPTZ},
        {"interval", OID_INTERVAL},
        {"numeric", OID_NUMERIC},
        {"decimal", OID_NUMERIC},
        {"uuid", OID_UUID},
};

uint32_t type_oid_of_cast(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(cast_names) / sizeof(cast_names[0]); i++)
		if (strcasecmp(name, cast_names[i].name) == 0)
			return cast_names[i].oid;
	return 0;
}

bool type_cast_is_void(uint32_t oid)
{
	switch (oid) {
	case OID_TEXT:
	case OID_NAME:
	case OID_VARCHAR:
	case OID_BPCHAR:
	case OID_JSON:
	case OID_UUID:
	case OID_DATE:
	case OID_TIME:
	case OID_TIMESTAMP:
	case OID_TIMESTAMPTZ:
	case OID_INTERVAL:
		return true;
	default:
		return false;
	}
}

int16_t type_size(uint32_t oid)
{
	switch (oid) {
	case OID_BOOL:
		return 1;
	case OID_INT8:
	case OID_FLOAT8:
	case OID_TIMESTAMP:
	case OID_TIMESTAMPTZ:
	case OID_TIME:
		return 8;
	case OID_DATE:
		return 4;
	case OID_UUID:
		return 16;
	default:
		return -1;
	}
}

/* --- results --- */

int type_hex_value(char c)
{
	const char *p = isxdigit((unsigned char)c) ? strchr(hex_digits, c | 0x20) : NULL;

	return p != NULL ? (int)(p - hex_digits) : -1;
}

/* The shortest of 15 to 17 digits that reads back as the same number; an integral one keeps ".0" as SQLite shows it. */
static int format_float(double f, char *text, size_t cap)
{
	int digits = 15, n;

	if (isnan(f) || isinf(f))
		return snprintf(text, cap, "%s", isnan(f) ? "NaN" : f > 0 ? "Infinity" : "-Infinity");
	do
		n = snprintf(text, cap, "%.*g", digits, f);
	while (strtod(text, NULL) != f && ++digits <= 17);
	if (strpbrk(text, ".e") == NULL)
		n += snprintf(text + n, cap - (size_t)n, ".0");
	return n;
}

static void put_bytes(struct buf *out, const char *data, size_t len)
{
	msg_put_i32(out, (int32_t)len);
	buf_add(out, data, len);
}

static void put_hex(struct buf *out, const char *data, size_t len)
{
	size_t i;

	msg_put_i32(out, (int32_t)(2 + 2 * len));
	buf_add(out, "\\x", 2);
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		buf_add(out, &hex_digits[c >> 4], 1);
		buf_add(out, &hex_digits[c & 15], 1);
	}
}

static void encode_text(struct buf *out, uint32_t oid, const struct dq_value *v)
{
	char text[64];
	int n;

	switch (v->type) {
	case DQ_FLOAT:
		n = format_float(v->u.f, text, sizeof(text));
		put_bytes(out, text, (size_t)n);
		break;
	case DQ_TEXT:
	case DQ_ISO8601:
		put_bytes(out, v->u.s.data, v->u.s.len);
		break;
	case DQ_BLOB:
		put_hex(out, v->u.s.data, v->u.s.len);
		break;
	default:
		if (oid == OID_BOOL && (v->u.i == 0 || v->u.i == 1)) {
			put_bytes(out, v->u.i != 0 ? "t" : "f", 1);
		} else {
			n = snprintf(text, sizeof(text), "%" PRId64, v->u.i);
			put_bytes(out, text, (size_t)n);
		}
	}
}

/* text of a UUID -> 16 bytes */
static bool put_uuid(struct buf *out, const struct dq_value *v)
{
	char bytes[16];
	size_t i, n = 0;

	for (i = 0; i < v->u.s.len && n < 32; i++) {
		int digit = type_hex_value(v->u.s.data[i]);

		if (v->u.s.data[i] == '-')
			continue;
		if (digit < 0)
			return false;
		bytes[n / 2] = (char)(n % 2 == 0 ? digit << 4 : (unsigned char)bytes[n / 2] | digit);
		n++;
	}
	if (n != 32 || i != v->u.s.len)
		return false;
	put_bytes(out, bytes, 16);
	return true;
}

static bool encode_binary(struct buf *out, uint32_t oid, const struct dq_value *v)
{
	bool is_int = v->type == DQ_INTEGER || v->type == DQ_BOOLEAN || v->type == DQ_UNIXTIME;
	bool is_bytes = v->type == DQ_TEXT || v->type == DQ_ISO8601 || v->type == DQ_BLOB;
	double f;
	uint64_t bits;
	char byte;

	switch (oid) {
	case OID_BOOL:
		byte = (char)(v->u.i != 0);
		if (is_int)
			put_bytes(out, &byte, 1);
		return is_int;
	case OID_INT8:
		if (is_int) {
			msg_put_i32(out, 8);
			msg_put_i64(out, v->u.i);
		}
		return is_int;
	case OID_FLOAT8:
		if (!is_int && v->type != DQ_FLOAT)
			return false;
		f = is_int ? (double)v->u.i : v->u.f;
		memcpy(&bits, &f, sizeof(bits));
		msg_put_i32(out, 8);
		msg_put_i64(out, (int64_t)bits);
		return true;
	case OID_UUID:
		return v->type == DQ_TEXT && put_uuid(out, v);
	case OID_BYTEA:
		if (is_bytes)
			put_bytes(out, v->u.s.data, v->u.s.len);
		return is_bytes;
	case OID_TEXT:
	case OID_JSON: /* the binary form of these is their text */
		encode_text(out, oid, v);
		return true;
	default:
		return false;
	}
}

int type_encode(struct buf *out, uint32_t oid, int format, const struct dq_value *v, const char *column, struct sqlerr *e)
{
	if (v->type == DQ_NULL) {
		msg_put_i32(out, -1);
		return ERR_OK;
	}
	if (format == 0) {
		encode_text(out, oid, v);
		return ERR_OK;
	}
	if (encode_binary(out, oid, v))
		return ERR_OK;
	sqlerr_set(e, "22P02", "column \"%s\" holds a value that has no binary form of its type (%" PRIu32 ")", column, oid);
	sqlerr_hint(e, "Ask for text format, or store values of the declared type (a STRICT table ensures it).");
	return ERR_SQL;
}
