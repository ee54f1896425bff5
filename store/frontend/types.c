#include "store/frontend/types.h"

#include "store/frontend/messages.h"

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

/* --- parameters --- */

static void set_int(struct dq_value *v, int64_t i)
{
	v->type = DQ_INTEGER;
	v->u.i = i;
}

static void set_float(struct dq_value *v, double f)
{
	v->type = DQ_FLOAT;
	v->u.f = f;
}

static void set_bytes(struct dq_value *v, enum dq_type type, const char *data, size_t len)
{
	v->type = type;
	v->u.s.data = data;
	v->u.s.len = len;
}

static int hex_value(char c)
{
	const char *p = c != '\0' ? strchr(hex_digits, c | 0x20) : NULL;

	return p != NULL ? (int)(p - hex_digits) : -1;
}

static int decode_hex(const char *data, size_t len, struct buf *scratch, struct dq_value *ret, struct sqlerr *e)
{
	size_t i;

	for (i = 2; i + 1 < len; i += 2) {
		int high = hex_value(data[i]), low = hex_value(data[i + 1]);
		char byte = (char)(high << 4 | low);

		if (high < 0 || low < 0)
			break;
		buf_add(scratch, &byte, 1);
	}
	if (i != len)
		return sqlerr_set(e, "22P02", "a bytea parameter has digits that are not hexadecimal");
	set_bytes(ret, DQ_BLOB, scratch->data != NULL ? scratch->data : "", scratch->len);
	return ERR_OK;
}

static bool is_true_word(const char *s)
{
	static const char *const words[] = {"t", "true", "1", "on", "yes", "y"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(s, words[i]) == 0)
			return true;
	return false;
}

/* Numbers and bools; s is terminated. */
static int decode_text_number(uint32_t oid, const char *s, struct dq_value *ret, struct sqlerr *e)
{
	char *end_int, *end_float;
	long long i;
	double f;

	if (oid == OID_BOOL) {
		set_int(ret, is_true_word(s));
		return ERR_OK;
	}
	i = strtoll(s, &end_int, 10);
	f = strtod(s, &end_float);
	if (s[0] == '\0' || (*end_int != '\0' && *end_float != '\0') ||
	    (oid != OID_FLOAT4 && oid != OID_FLOAT8 && oid != OID_NUMERIC && *end_int != '\0'))
		return sqlerr_set(e, "22P02", "the parameter \"%.64s\" is not a number of its type", s);
	/* A number too long for a double keeps its digits: SQLite's affinity decides. */
	if (oid == OID_NUMERIC && strspn(s, "-0123456789.") == strlen(s) && strlen(s) > 16)
		set_bytes(ret, DQ_TEXT, s, strlen(s));
	else if (*end_int == '\0' && oid != OID_FLOAT4 && oid != OID_FLOAT8)
		set_int(ret, i);
	else
		set_float(ret, f);
	return ERR_OK;
}

static int decode_text(uint32_t oid, const char *data, size_t len, struct buf *scratch, struct dq_value *ret, struct sqlerr *e)
{
	switch (oid) {
	case OID_BYTEA:
		if (len >= 2 && data[0] == '\\' && data[1] == 'x')
			return decode_hex(data, len, scratch, ret, e);
		set_bytes(ret, DQ_BLOB, data, len);
		return ERR_OK;
	case OID_BOOL:
	case OID_INT2:
	case OID_INT4:
	case OID_INT8:
	case OID_OID:
	case OID_FLOAT4:
	case OID_FLOAT8:
	case OID_NUMERIC:
		buf_add(scratch, data, len);
		return decode_text_number(oid, scratch->data, ret, e);
	default:
		set_bytes(ret, DQ_TEXT, data, len);
		return ERR_OK;
	}
}

static uint64_t read_be(const char *data, size_t len)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len; i++)
		v = v << 8 | (unsigned char)data[i];
	return v;
}

static void decode_float(const char *data, size_t len, struct dq_value *ret)
{
	uint64_t bits = read_be(data, len);
	uint32_t bits32 = (uint32_t)bits;
	double f;
	float f32;

	memcpy(&f, &bits, sizeof(f));
	memcpy(&f32, &bits32, sizeof(f32));
	set_float(ret, len == 4 ? (double)f32 : f);
}

static void decode_uuid(const char *data, struct buf *scratch, struct dq_value *ret)
{
	int i;

	for (i = 0; i < 16; i++)
		buf_printf(scratch, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (unsigned char)data[i]);
	set_bytes(ret, DQ_TEXT, scratch->data, scratch->len);
}

/* The exact length of a binary value; 0: any. -1: not supported. */
static int binary_size(uint32_t oid)
{
	switch (oid) {
	case OID_BOOL:
		return 1;
	case OID_INT2:
		return 2;
	case OID_INT4:
	case OID_OID:
	case OID_FLOAT4:
		return 4;
	case OID_INT8:
	case OID_FLOAT8:
		return 8;
	case OID_UUID:
		return 16;
	case 0:
	case OID_TEXT:
	case OID_VARCHAR:
	case OID_BPCHAR:
	case OID_CHAR:
	case OID_NAME:
	case OID_UNKNOWN:
	case OID_JSON:
	case OID_BYTEA:
		return 0;
	default:
		return -1;
	}
}

static int decode_binary(uint32_t oid, const char *data, size_t len, struct buf *scratch, struct dq_value *ret,
                         struct sqlerr *e)
{
	int size = binary_size(oid);
	uint64_t raw;

	if (size < 0)
		return sqlerr_set(e, "0A000",
		                  "parameters of type %" PRIu32 " are not supported in binary format: send them as text", oid);
	if (size > 0 && len != (size_t)size)
		return sqlerr_set(e, "22P03", "a binary parameter of type %" PRIu32 " has %zu bytes instead of %d", oid, len,
		                  size);
	switch (oid) {
	case OID_FLOAT4:
	case OID_FLOAT8:
		decode_float(data, len, ret);
		break;
	case OID_UUID:
		decode_uuid(data, scratch, ret);
		break;
	case OID_BYTEA:
		set_bytes(ret, DQ_BLOB, data, len);
		break;
	case OID_BOOL:
	case OID_INT2:
	case OID_INT4:
	case OID_INT8:
	case OID_OID:
		raw = read_be(data, len);
		set_int(ret, oid == OID_INT2 ? (int16_t)raw : oid == OID_INT4 ? (int32_t)raw : (int64_t)raw);
		break;
	default:
		set_bytes(ret, DQ_TEXT, data, len);
	}
	return ERR_OK;
}

int type_decode_param(uint32_t oid, int format, const char *data, size_t len, struct buf *scratch, struct dq_value *ret,
                      struct sqlerr *e)
{
	int rc;

	if (data == NULL) {
		memset(ret, 0, sizeof(*ret));
		ret->type = DQ_NULL;
		return ERR_OK;
	}
	rc = format == 0 ? decode_text(oid, data, len, scratch, ret, e) : decode_binary(oid, data, len, scratch, ret, e);
	if (rc == ERR_OK && ret->type == DQ_TEXT && memchr(ret->u.s.data, '\0', ret->u.s.len) != NULL)
		return sqlerr_set(e, "22021", "a text parameter contains a zero byte: send it as bytea");
	return rc;
}

/* --- results --- */

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
		int digit = hex_value(v->u.s.data[i]);

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
