/* Values between PostgreSQL and SQLite. Input: type, format, value. What was taken as a parameter and is sent back in the same
 * format is taken again, as the same value. */
#include "store/frontend/types.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const uint32_t oids[] = {0,           OID_BOOL,    OID_BYTEA, OID_CHAR, OID_NAME,      OID_INT8,        OID_INT2,
                                OID_INT4,    OID_TEXT,    OID_OID,   OID_JSON, OID_FLOAT4,    OID_FLOAT8,      OID_UNKNOWN,
                                OID_BPCHAR,  OID_VARCHAR, OID_DATE,  OID_TIME, OID_TIMESTAMP, OID_TIMESTAMPTZ, OID_INTERVAL,
                                OID_NUMERIC, OID_UUID};

static bool is_same(const struct dq_value *a, const struct dq_value *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == DQ_TEXT || a->type == DQ_BLOB)
		return a->u.s.len == b->u.s.len && (a->u.s.len == 0 || memcmp(a->u.s.data, b->u.s.data, a->u.s.len) == 0);
	if (a->type == DQ_FLOAT && a->u.f != a->u.f)
		return b->u.f != b->u.f;
	return a->type == DQ_FLOAT ? a->u.f == b->u.f : a->u.i == b->u.i;
}

/* The types whose column and parameter are one thing. */
static bool comes_back(uint32_t oid, int format)
{
	switch (oid) {
	case OID_INT8:
	case OID_FLOAT8:
	case OID_BYTEA:
	case OID_TEXT:
	case OID_JSON:
	case OID_UUID:
		return true;
	case OID_INT4:
	case OID_INT2:
	case OID_OID:
	case OID_VARCHAR:
	case OID_TIMESTAMP:
		return format == 0;
	default:
		return false;
	}
}

static void send_back(uint32_t oid, int format, const struct dq_value *v)
{
	struct buf out = {0}, scratch = {0};
	struct dq_value again;
	struct sqlerr e = SQLERR_INIT;
	uint32_t len;

	if (type_encode(&out, oid, format, v, "c", &e) != ERR_OK) {
		FUZZ_CHECK(format == 1 && e.text[0] != '\0');
	} else {
		FUZZ_CHECK(out.len >= 4);
		len = (uint32_t)(uint8_t)out.data[0] << 24 | (uint32_t)(uint8_t)out.data[1] << 16 |
		      (uint32_t)(uint8_t)out.data[2] << 8 | (uint8_t)out.data[3];
		FUZZ_CHECK(len == out.len - 4);
		if (comes_back(oid, format)) {
			FUZZ_CHECK(type_decode_param(oid, format, out.data + 4, len, &scratch, &again, &e) == ERR_OK);
			FUZZ_CHECK(is_same(v, &again));
		}
	}
	buf_done(&out);
	buf_done(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint32_t oid = oids[fuzz_byte(&in) % (sizeof oids / sizeof oids[0])];
	int format = fuzz_byte(&in) & 1;
	char *bytes = fuzz_text(in.data, in.left), *exact = malloc(in.left > 0 ? in.left : 1);
	struct buf scratch = {0};
	struct dq_value v;
	struct sqlerr e = SQLERR_INIT;

	if (exact == NULL)
		abort();
	memcpy(exact, bytes, in.left);
	if (type_decode_param(oid, format, exact, in.left, &scratch, &v, &e) == ERR_OK)
		send_back(oid, format, &v);
	else
		FUZZ_CHECK(strlen(e.sqlstate) == 5 && e.text[0] != '\0');
	(void)type_oid_of_decltype(bytes);
	(void)type_cast_is_void(type_oid_of_cast(bytes));
	free(bytes);
	free(exact);
	buf_done(&scratch);
	return 0;
}
