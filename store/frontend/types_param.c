/* Parameters: what a client sends, by its type and format, as values for dqlite. */
#include "store/frontend/types.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

static int decode_hex(const char *data, size_t len, struct buf *scratch, struct dq_value *ret, struct sqlerr *e)
{
	size_t i;

	for (i = 2; i + 1 < len; i += 2) {
		int high = type_hex_value(data[i]), low = type_hex_value(data[i + 1]);
		char byte;

		if (high < 0 || low < 0)
			break;
		byte = (char)(high << 4 | low);
		buf_add(scratch, &byte, 1);
	}
	if (i != len)
		return sqlerr_set(e, "22P02", "a bytea parameter has digits that are not hexadecimal");
	set_bytes(ret, DQ_BLOB, scratch->data != NULL ? scratch->data : "", scratch->len);
	return ERR_OK;
}

static int decode_bool(const char *s, struct dq_value *ret, struct sqlerr *e)
{
	static const char *const words[][6] = {{"f", "false", "0", "off", "no", "n"}, {"t", "true", "1", "on", "yes", "y"}};
	size_t i;
	int is_true;

	for (is_true = 0; is_true < 2; is_true++)
		for (i = 0; i < sizeof(words[0]) / sizeof(words[0][0]); i++)
			if (strcasecmp(s, words[is_true][i]) == 0) {
				set_int(ret, is_true);
				return ERR_OK;
			}
	return sqlerr_set(e, "22P02", "the parameter \"%.64s\" is neither true nor false", s);
}

/* What the binary form of the type holds. A number that does not fit is never stored as another one. */
static bool fits(uint32_t oid, long long i)
{
	switch (oid) {
	case OID_INT2:
		return i >= INT16_MIN && i <= INT16_MAX;
	case OID_INT4:
		return i >= INT32_MIN && i <= INT32_MAX;
	case OID_OID:
		return i >= 0 && i <= UINT32_MAX;
	default:
		return true;
	}
}

static int decode_integer(uint32_t oid, const char *s, struct dq_value *ret, struct sqlerr *e)
{
	char *end;
	long long i;

	errno = 0;
	i = strtoll(s, &end, 10);
	if (s[0] == '\0' || *end != '\0')
		return sqlerr_set(e, "22P02", "the parameter \"%.64s\" is not a number of its type", s);
	if (errno == ERANGE || !fits(oid, i))
		return sqlerr_set(e, "22003", "the parameter \"%.64s\" is out of range for its type", s);
	set_int(ret, i);
	return ERR_OK;
}

static int decode_real(uint32_t oid, const char *s, struct dq_value *ret, struct sqlerr *e)
{
	bool is_plain = s[0] != '\0' && strspn(s, "+-0123456789") == strlen(s);
	char *end;
	double f = strtod(s, &end);

	if (s[0] == '\0' || *end != '\0')
		return sqlerr_set(e, "22P02", "the parameter \"%.64s\" is not a number of its type", s);
	/* A number too long for a double keeps its digits: SQLite's affinity decides. */
	if (oid == OID_NUMERIC && strspn(s, "-0123456789.") == strlen(s) && strlen(s) > 16) {
		set_bytes(ret, DQ_TEXT, s, strlen(s));
		return ERR_OK;
	}
	if (oid == OID_NUMERIC && is_plain)
		return decode_integer(oid, s, ret, e);
	set_float(ret, f);
	return ERR_OK;
}

/* Numbers and bools; s[len] is terminated. */
static int decode_text_number(uint32_t oid, const char *s, size_t len, struct dq_value *ret, struct sqlerr *e)
{
	if (strlen(s) != len)
		return sqlerr_set(e, "22021", "a text parameter contains a zero byte: send it as bytea");
	if (oid == OID_BOOL)
		return decode_bool(s, ret, e);
	if (oid == OID_FLOAT4 || oid == OID_FLOAT8 || oid == OID_NUMERIC)
		return decode_real(oid, s, ret, e);
	return decode_integer(oid, s, ret, e);
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
		return decode_text_number(oid, scratch->data, scratch->len, ret, e);
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
