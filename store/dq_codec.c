#include "store/dq_codec.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORD             8
#define ROWS_END         UINT64_C(0xffffffffffffffff)
#define ROWS_MORE        UINT64_C(0xeeeeeeeeeeeeeeee)
#define PROTOCOL_VERSION 1

/* --- writing --- */

static void put_u64(struct buf *b, uint64_t v)
{
	v = htole64(v);
	buf_add(b, &v, sizeof v);
}

static void put_padding(struct buf *b, size_t bytes_written)
{
	static const char zero[WORD];

	buf_add(b, zero, (WORD - bytes_written % WORD) % WORD);
}

/* An empty value may have no data at all. */
static void put_bytes(struct buf *b, const char *data, size_t len)
{
	if (len > 0)
		buf_add(b, data, len);
}

static void put_text(struct buf *b, const char *s)
{
	size_t len = strlen(s) + 1;

	buf_add(b, s, len);
	put_padding(b, len);
}

/* Reserves the header; close_message fills it in when the length is known. */
static size_t open_message(struct buf *b)
{
	size_t start = b->len;

	put_u64(b, 0);
	return start;
}

static void close_message(struct buf *b, size_t start, enum dq_request type, uint8_t schema)
{
	uint32_t words = htole32((uint32_t)((b->len - start - DQ_HEADER_BYTES) / WORD));
	uint8_t *header = (uint8_t *)b->data + start;

	memcpy(header, &words, sizeof words);
	header[4] = (uint8_t)type;
	header[5] = schema;
}

void dq_encode_handshake(struct buf *b)
{
	put_u64(b, PROTOCOL_VERSION);
}

void dq_encode_numbers(struct buf *b, enum dq_request type, const uint64_t *numbers, size_t count)
{
	size_t start = open_message(b);

	for (size_t i = 0; i < count; i++)
		put_u64(b, numbers[i]);
	close_message(b, start, type, 0);
}

void dq_encode_open(struct buf *b, const char *database)
{
	size_t start = open_message(b);

	put_text(b, database);
	put_u64(b, 0);
	put_text(b, "volatile"); /* a name of the VFS must be there; dqlite uses its own in any case */
	close_message(b, start, DQ_REQ_OPEN, 0);
}

void dq_encode_add(struct buf *b, uint64_t id, const char *address)
{
	size_t start = open_message(b);

	put_u64(b, id);
	put_text(b, address);
	close_message(b, start, DQ_REQ_ADD, 0);
}

void dq_encode_dump(struct buf *b, const char *database)
{
	size_t start = open_message(b);

	put_text(b, database);
	close_message(b, start, DQ_REQ_DUMP, 0);
}

static void put_value(struct buf *b, const struct dq_value *v)
{
	uint64_t bits;

	switch (v->type) {
	case DQ_FLOAT:
		memcpy(&bits, &v->u.f, sizeof bits);
		put_u64(b, bits);
		break;
	case DQ_TEXT:
	case DQ_ISO8601:
		put_bytes(b, v->u.s.data, v->u.s.len);
		buf_add(b, "", 1);
		put_padding(b, v->u.s.len + 1);
		break;
	case DQ_BLOB:
		put_u64(b, v->u.s.len);
		put_bytes(b, v->u.s.data, v->u.s.len);
		put_padding(b, v->u.s.len);
		break;
	case DQ_NULL:
		put_u64(b, 0);
		break;
	case DQ_INTEGER:
	case DQ_UNIXTIME:
	case DQ_BOOLEAN:
		put_u64(b, (uint64_t)v->u.i);
		break;
	}
}

/* Up to 255 parameters are counted in one byte (schema 0), more in four (schema 1). */
static void put_params(struct buf *b, const struct dq_value *params, size_t count, uint8_t schema)
{
	uint8_t count8 = (uint8_t)count;
	uint32_t count32 = htole32((uint32_t)count);
	size_t prefix = schema == 0 ? sizeof count8 : sizeof count32;

	buf_add(b, schema == 0 ? (void *)&count8 : (void *)&count32, prefix);
	for (size_t i = 0; i < count; i++) {
		uint8_t type = (uint8_t)params[i].type;

		buf_add(b, &type, 1);
	}
	put_padding(b, prefix + count);
	for (size_t i = 0; i < count; i++)
		put_value(b, &params[i]);
}

static bool is_stringish(enum dq_type t)
{
	return t == DQ_TEXT || t == DQ_BLOB || t == DQ_ISO8601;
}

static int check_params(const char *sql, const struct dq_value *params, size_t count, struct err *e)
{
	size_t room = DQ_BODY_MAX_BYTES;
	size_t need = strlen(sql);

	if (count > DQ_PARAMS_MAX)
		return err_set(e, ERR_INVAL, "%zu parameters are too many: at most %d", count, DQ_PARAMS_MAX);
	for (size_t i = 0; i <= count; i++) {
		/* Checked one by one, so that the sum cannot overflow. */
		if (need > room || room - need < 4 * WORD)
			return err_set(e, ERR_INVAL, "a statement with its parameters may have at most %zu bytes",
			               DQ_BODY_MAX_BYTES);
		room -= need + 4 * WORD;
		if (i == count)
			break;
		need = is_stringish(params[i].type) ? params[i].u.s.len : 0;
		if (params[i].type != DQ_BLOB && need > 0 && memchr(params[i].u.s.data, 0, need) != NULL)
			return err_set(e, ERR_INVAL, "text parameter %zu holds a NUL byte: pass it as a blob", i + 1);
	}
	return 0;
}

int dq_encode_sql(struct buf *b, enum dq_request type, const char *sql, const struct dq_value *params, size_t count,
                  struct err *e)
{
	uint8_t schema = count > UINT8_MAX ? 1 : 0;
	size_t start;
	int rc = check_params(sql, params, count, e);

	if (rc != 0)
		return rc;
	start = open_message(b);
	put_u64(b, 0); /* a connection has one database, number 0 */
	put_text(b, sql);
	put_params(b, params, count, schema);
	close_message(b, start, type, schema);
	return 0;
}

/* --- reading --- */

struct reader {
	const uint8_t *p;
	size_t left;
};

static bool get_u64(struct reader *r, uint64_t *ret)
{
	uint64_t v;

	if (r->left < sizeof v)
		return false;
	memcpy(&v, r->p, sizeof v);
	*ret = le64toh(v);
	r->p += sizeof v;
	r->left -= sizeof v;
	return true;
}

/* Skips len bytes and their padding. */
static bool get_padded(struct reader *r, size_t len, const char **ret)
{
	size_t padded;

	if (len > r->left)
		return false;
	padded = len + (WORD - len % WORD) % WORD;
	if (padded > r->left)
		return false;
	*ret = (const char *)r->p;
	r->p += padded;
	r->left -= padded;
	return true;
}

static bool get_text(struct reader *r, const char **ret, size_t *ret_len)
{
	const uint8_t *end = r->left > 0 ? memchr(r->p, 0, r->left) : NULL;
	size_t len;

	if (end == NULL)
		return false;
	len = (size_t)(end - r->p);
	if (!get_padded(r, len + 1, ret))
		return false;
	*ret_len = len;
	return true;
}

static bool get_value(struct reader *r, uint8_t type, struct dq_value *v)
{
	uint64_t bits;
	const char *data;
	size_t len;

	switch (type) {
	case DQ_TEXT:
	case DQ_ISO8601:
		if (!get_text(r, &data, &len))
			return false;
		break;
	case DQ_BLOB:
		if (!get_u64(r, &bits) || bits > r->left || !get_padded(r, (size_t)bits, &data))
			return false;
		len = (size_t)bits;
		break;
	case DQ_INTEGER:
	case DQ_FLOAT:
	case DQ_NULL:
	case DQ_UNIXTIME:
	case DQ_BOOLEAN:
		if (!get_u64(r, &bits))
			return false;
		v->type = type;
		memcpy(&v->u, &bits, sizeof bits);
		return true;
	default:
		return false;
	}
	v->type = type;
	v->u.s.data = data;
	v->u.s.len = len;
	return true;
}

/* Room for one more; the caller has checked that as many bytes of input stand behind it, so the growth is bounded by the
 * message. */
static struct dq_value *add_value(struct dq_table *t)
{
	if (t->value_count == t->value_cap) {
		t->value_cap = t->value_cap == 0 ? 64 : t->value_cap * 2;
		t->values = mem_resize(t->values, t->value_cap * sizeof *t->values);
	}
	return &t->values[t->value_count++];
}

static void set_columns(struct dq_table *t, size_t count)
{
	if (count > t->column_cap) {
		t->columns = mem_resize(t->columns, count * sizeof *t->columns);
		t->column_cap = count;
	}
	t->column_count = count;
	t->row_count = 0;
	t->value_count = 0;
	t->is_last = true;
}

int dq_decode_header(const uint8_t *p, struct dq_header *ret, struct err *e)
{
	uint32_t words;

	size_t max = p[4] == DQ_RES_FILES ? DQ_DUMP_MAX_BYTES : DQ_BODY_MAX_BYTES;

	memcpy(&words, p, sizeof words);
	words = le32toh(words);
	if (words > max / WORD)
		return err_set(e, ERR_PROTOCOL, "an answer of %u words is too long", words);
	ret->body_bytes = (size_t)words * WORD;
	ret->type = p[4];
	ret->schema = p[5];
	return 0;
}

int dq_decode_failure(const uint8_t *body, size_t len, uint64_t *ret_code, const char **ret_text, struct err *e)
{
	struct reader r = {body, len};
	uint64_t code;
	const char *text;
	size_t text_len;

	if (!get_u64(&r, &code) || !get_text(&r, &text, &text_len))
		return err_set(e, ERR_PROTOCOL, "a failure message is cut short");
	*ret_code = code;
	*ret_text = text;
	return 0;
}

int dq_decode_result(const uint8_t *body, size_t len, uint64_t *ret_last_id, uint64_t *ret_changes, struct err *e)
{
	struct reader r = {body, len};
	uint64_t last_id, changes;

	if (!get_u64(&r, &last_id) || !get_u64(&r, &changes))
		return err_set(e, ERR_PROTOCOL, "a result message is cut short");
	*ret_last_id = last_id;
	*ret_changes = changes;
	return 0;
}

/* One row: 4-bit types, the low nibble first, in whole words; then the values. */
static int decode_row(struct reader *r, struct dq_table *t, struct err *e)
{
	size_t type_bytes = (t->column_count + 15) / 16 * WORD;
	const uint8_t *types = r->p;
	const char *skipped;

	if (!get_padded(r, type_bytes, &skipped))
		return err_set(e, ERR_PROTOCOL, "row %zu is cut short", t->row_count);
	for (size_t i = 0; i < t->column_count; i++) {
		uint8_t type = (uint8_t)(i % 2 == 0 ? types[i / 2] & 0x0f : types[i / 2] >> 4);

		/* Every value takes a word at least: no value is added without input behind it. */
		if (!get_value(r, type, add_value(t)))
			return err_set(e, ERR_PROTOCOL, "row %zu, column %zu: type %u does not fit the bytes that are left",
			               t->row_count, i, type);
	}
	t->row_count++;
	return 0;
}

int dq_decode_rows(const uint8_t *body, size_t len, struct dq_table *t, struct err *e)
{
	struct reader r = {body, len};
	uint64_t count, marker;

	if (!get_u64(&r, &count) || count > r.left / WORD)
		return err_set(e, ERR_PROTOCOL, "a rows message does not hold its column names");
	set_columns(t, (size_t)count);
	for (size_t i = 0; i < t->column_count; i++) {
		size_t name_len;

		if (!get_text(&r, &t->columns[i], &name_len))
			return err_set(e, ERR_PROTOCOL, "the name of column %zu is cut short", i);
	}
	for (;;) {
		struct reader peek = r;
		int rc;

		if (!get_u64(&peek, &marker))
			return err_set(e, ERR_PROTOCOL, "a rows message ends without its marker");
		if (marker == ROWS_END || marker == ROWS_MORE) {
			t->is_last = marker == ROWS_END;
			return 0;
		}
		if (t->column_count == 0)
			return err_set(e, ERR_PROTOCOL, "a row without columns");
		rc = decode_row(&r, t, e);
		if (rc != 0)
			return rc;
	}
}

/* Members are told as a table, so that callers read every answer in the same way. */
static int decode_members(struct reader *r, uint64_t member_count, size_t columns, struct dq_table *t)
{
	static const char *const names[] = {"id", "address", "role"};
	static const uint8_t types[] = {DQ_INTEGER, DQ_TEXT, DQ_INTEGER};

	set_columns(t, columns);
	memcpy(t->columns, names, columns * sizeof *names);
	for (uint64_t m = 0; m < member_count; m++) {
		for (size_t i = 0; i < columns; i++)
			if (!get_value(r, types[i], add_value(t)))
				return -1;
		t->row_count++;
	}
	return 0;
}

int dq_decode_server(const uint8_t *body, size_t len, struct dq_table *t, struct err *e)
{
	struct reader r = {body, len};

	if (decode_members(&r, 1, 2, t) != 0)
		return err_set(e, ERR_PROTOCOL, "a leader message is cut short");
	return 0;
}

int dq_decode_servers(const uint8_t *body, size_t len, struct dq_table *t, struct err *e)
{
	struct reader r = {body, len};
	uint64_t count;

	if (!get_u64(&r, &count) || decode_members(&r, count, 3, t) != 0)
		return err_set(e, ERR_PROTOCOL, "a cluster message does not hold its members");
	return 0;
}

/* Each file: its name, its length, its bytes. */
int dq_decode_files(const uint8_t *body, size_t len, struct dq_table *t, struct err *e)
{
	struct reader r = {body, len};
	uint64_t count;

	set_columns(t, 2);
	t->columns[0] = "name";
	t->columns[1] = "data";
	if (!get_u64(&r, &count))
		return err_set(e, ERR_PROTOCOL, "a files message is cut short");
	for (uint64_t i = 0; i < count; i++) {
		/* A file takes two words at least, so the growth is bounded by the message. */
		if (!get_value(&r, DQ_TEXT, add_value(t)) || !get_value(&r, DQ_BLOB, add_value(t)))
			return err_set(e, ERR_PROTOCOL, "file %" PRIu64 " of a files message is cut short", i);
		t->row_count++;
	}
	return 0;
}

void dq_table_done(struct dq_table *t)
{
	free(t->columns);
	free(t->values);
	*t = (struct dq_table){0};
}
