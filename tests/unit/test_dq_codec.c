#include "store/dq_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MUTATIONS 20000

/* Little-endian by hand, so that the expectations do not come from the code under test. */
static void put64(struct buf *b, uint64_t v)
{
	for (int i = 0; i < 8; i++) {
		char byte = (char)(v >> (8 * i));

		buf_add(b, &byte, 1);
	}
}

static void assert_bytes(const struct buf *b, const void *expected, size_t len)
{
	assert_int_equal(b->len, len);
	assert_memory_equal(b->data, expected, len);
}

static struct dq_value text(const char *s)
{
	struct dq_value v = {.type = DQ_TEXT};

	v.u.s.data = s;
	v.u.s.len = strlen(s);
	return v;
}

static void handshake_is_version_one(void **state)
{
	struct buf b = {0};

	(void)state;
	dq_encode_handshake(&b);
	assert_bytes(&b, "\1\0\0\0\0\0\0\0", 8);
	buf_done(&b);
}

static void leader_request_is_a_header_and_a_zero(void **state)
{
	struct buf b = {0};

	(void)state;
	dq_encode_numbers(&b, DQ_REQ_LEADER, (uint64_t[]){0}, 1);
	assert_bytes(&b,
	             "\1\0\0\0\0\0\0\0"
	             "\0\0\0\0\0\0\0\0",
	             16);
	buf_done(&b);
}

static void texts_are_ended_and_padded_to_words(void **state)
{
	struct buf b = {0};

	(void)state;
	dq_encode_add(&b, 0x0102, "1234567"); /* with its NUL exactly one word */
	assert_bytes(&b,
	             "\2\0\0\0\14\0\0\0"
	             "\2\1\0\0\0\0\0\0"
	             "1234567",
	             24);
	buf_clear(&b);
	dq_encode_add(&b, 0x0102, "12345678");
	assert_bytes(&b,
	             "\3\0\0\0\14\0\0\0"
	             "\2\1\0\0\0\0\0\0"
	             "12345678\0\0\0\0\0\0\0",
	             32);
	buf_done(&b);
}

static void statement_without_parameters_ends_in_a_zero_word(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "BEGIN", NULL, 0, NULL), 0);
	assert_bytes(&b,
	             "\3\0\0\0\10\0\0\0"
	             "\0\0\0\0\0\0\0\0"
	             "BEGIN\0\0\0"
	             "\0\0\0\0\0\0\0\0",
	             32);
	buf_done(&b);
}

static void parameters_are_types_and_then_values(void **state)
{
	struct dq_value params[] = {{.type = DQ_INTEGER}, text("ab"), {.type = DQ_NULL}, {.type = DQ_BLOB}, {.type = DQ_FLOAT}};
	struct buf b = {0};

	(void)state;
	params[0].u.i = -2;
	params[3].u.s.data = "\0\1";
	params[3].u.s.len = 2;
	params[4].u.f = 1.0;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_QUERY_SQL, "x", params, 5, NULL), 0);
	assert_bytes(&b,
	             "\11\0\0\0\11\0\0\0"
	             "\0\0\0\0\0\0\0\0"
	             "x\0\0\0\0\0\0\0"
	             "\5\1\3\5\4\2\0\0"
	             "\xfe\xff\xff\xff\xff\xff\xff\xff"
	             "ab\0\0\0\0\0\0"
	             "\0\0\0\0\0\0\0\0"
	             "\2\0\0\0\0\0\0\0"
	             "\0\1\0\0\0\0\0\0"
	             "\0\0\0\0\0\0\xf0\x3f",
	             80);
	buf_done(&b);
}

static void more_than_255_parameters_are_counted_in_four_bytes(void **state)
{
	struct dq_value params[300] = {0};
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < 300; i++)
		params[i].type = DQ_NULL;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", params, 255, NULL), 0);
	assert_int_equal(b.data[5], 0);
	assert_memory_equal(b.data + 24, "\xff\5\5", 3);
	assert_int_equal(b.len, 24 + 256 + 255 * 8);
	buf_clear(&b);
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", params, 300, NULL), 0);
	assert_int_equal(b.data[5], 1);
	assert_memory_equal(b.data + 24, "\x2c\1\0\0\5\5", 6);
	assert_int_equal(b.len, 24 + 304 + 300 * 8);
	buf_done(&b);
}

static void text_with_a_nul_is_refused(void **state)
{
	struct dq_value v = {.type = DQ_TEXT};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	v.u.s.data = "a\0b";
	v.u.s.len = 3;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", &v, 1, &e), ERR_INVAL);
	assert_non_null(strstr(e.text, "parameter 1"));
	assert_int_equal(b.len, 0);
	v.type = DQ_BLOB;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", &v, 1, &e), 0);
	buf_done(&b);
}

static void sizes_that_would_overflow_are_refused(void **state)
{
	struct dq_value v[2] = {{.type = DQ_BLOB}, {.type = DQ_BLOB}};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	v[0].u.s.data = v[1].u.s.data = "";
	v[0].u.s.len = v[1].u.s.len = SIZE_MAX / 2 + 1;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", v, 2, &e), ERR_INVAL);
	v[0].u.s.len = v[1].u.s.len = DQ_BODY_MAX_BYTES / 2;
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", v, 2, &e), ERR_INVAL);
	assert_int_equal(dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "x", v, DQ_PARAMS_MAX + 1, &e), ERR_INVAL);
}

static void header_gives_the_body_in_bytes(void **state)
{
	struct dq_header h;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(dq_decode_header((const uint8_t *)"\3\0\0\0\7\0\0\0", &h, &e), 0);
	assert_int_equal(h.body_bytes, 24);
	assert_int_equal(h.type, DQ_RES_ROWS);
	assert_int_equal(dq_decode_header((const uint8_t *)"\xff\xff\xff\xff\7\0\0\0", &h, &e), ERR_PROTOCOL);
}

/* Three columns: 7 | "hello" | NULL, then -1 | x'0102' | 1.0; more to come. */
static void build_rows(struct buf *b, uint64_t marker)
{
	put64(b, 3);
	buf_add(b, "id\0\0\0\0\0\0", 8);
	buf_add(b, "longname\0\0\0\0\0\0\0\0", 16);
	buf_add(b, "c\0\0\0\0\0\0\0", 8);
	buf_add(b, "\x31\5\0\0\0\0\0\0", 8);
	put64(b, 7);
	buf_add(b, "hello\0\0\0", 8);
	put64(b, 0);
	buf_add(b, "\x41\2\0\0\0\0\0\0", 8);
	put64(b, UINT64_MAX);
	put64(b, 2);
	buf_add(b, "\1\2\0\0\0\0\0\0", 8);
	buf_add(b, "\0\0\0\0\0\0\xf0\x3f", 8);
	put64(b, marker);
}

static void rows_come_back_as_they_were(void **state)
{
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	build_rows(&b, UINT64_C(0xeeeeeeeeeeeeeeee));
	assert_int_equal(dq_decode_rows((uint8_t *)b.data, b.len, &t, &e), 0);
	assert_int_equal(t.column_count, 3);
	assert_string_equal(t.columns[1], "longname");
	assert_int_equal(t.row_count, 2);
	assert_false(t.is_last);
	assert_int_equal(t.values[0].u.i, 7);
	assert_string_equal(t.values[1].u.s.data, "hello");
	assert_int_equal(t.values[1].u.s.len, 5);
	assert_int_equal(t.values[2].type, DQ_NULL);
	assert_int_equal(t.values[3].u.i, -1);
	assert_int_equal(t.values[4].type, DQ_BLOB);
	assert_int_equal(t.values[4].u.s.len, 2);
	assert_true(t.values[5].u.f == 1.0);
	buf_done(&b);
	dq_table_done(&t);
}

static void table_is_reused_by_the_next_message(void **state)
{
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	build_rows(&b, UINT64_MAX);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(dq_decode_rows((uint8_t *)b.data, b.len, &t, &e), 0);
		assert_int_equal(t.row_count, 2);
		assert_true(t.is_last);
	}
	buf_done(&b);
	dq_table_done(&t);
}

static void members_come_as_rows(void **state)
{
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	put64(&b, 1);
	put64(&b, 42);
	buf_add(&b, "1.2.3.4:1\0\0\0\0\0\0\0", 16);
	put64(&b, 2);
	assert_int_equal(dq_decode_servers((uint8_t *)b.data, b.len, &t, &e), 0);
	assert_int_equal(t.row_count, 1);
	assert_int_equal(t.values[0].u.i, 42);
	assert_string_equal(t.values[1].u.s.data, "1.2.3.4:1");
	assert_int_equal(t.values[2].u.i, 2);
	assert_int_equal(dq_decode_servers((uint8_t *)b.data, b.len - 8, &t, &e), ERR_PROTOCOL);
	buf_done(&b);
	dq_table_done(&t);
}

static void unknown_type_is_refused(void **state)
{
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	put64(&b, 1);
	buf_add(&b, "c\0\0\0\0\0\0\0", 8);
	put64(&b, 7);
	put64(&b, 1);
	put64(&b, UINT64_MAX);
	assert_int_equal(dq_decode_rows((uint8_t *)b.data, b.len, &t, &e), ERR_PROTOCOL);
	assert_non_null(strstr(e.text, "type 7"));
	buf_done(&b);
	dq_table_done(&t);
}

static void huge_counts_are_refused_without_allocating(void **state)
{
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	struct buf b = {0};

	(void)state;
	put64(&b, UINT64_MAX / 2);
	put64(&b, UINT64_MAX);
	assert_int_equal(dq_decode_rows((uint8_t *)b.data, b.len, &t, &e), ERR_PROTOCOL);
	assert_int_equal(dq_decode_servers((uint8_t *)b.data, b.len, &t, &e), ERR_PROTOCOL);
	assert_int_equal(t.value_cap <= 64, 1);
	buf_clear(&b);
	put64(&b, 1); /* a blob that claims more than there is */
	buf_add(&b, "c\0\0\0\0\0\0\0", 8);
	put64(&b, 4);
	put64(&b, UINT64_MAX - 3);
	put64(&b, UINT64_MAX);
	assert_int_equal(dq_decode_rows((uint8_t *)b.data, b.len, &t, &e), ERR_PROTOCOL);
	buf_done(&b);
	dq_table_done(&t);
}

/* Decode a copy of exactly len bytes on the heap: the address sanitizer sees a read beyond. */
static int decode_exact(const char *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	uint64_t a, b;
	const char *s;
	int rc;

	memcpy(copy, data, len);
	rc = dq_decode_rows(copy, len, &t, &e);
	(void)!dq_decode_servers(copy, len, &t, &e);
	(void)!dq_decode_server(copy, len, &t, &e);
	(void)!dq_decode_failure(copy, len, &a, &s, &e);
	(void)!dq_decode_result(copy, len, &a, &b, &e);
	dq_table_done(&t);
	free(copy);
	return rc;
}

static void every_cut_of_a_message_is_refused(void **state)
{
	struct buf b = {0};

	(void)state;
	build_rows(&b, UINT64_MAX);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(decode_exact(b.data, len), ERR_PROTOCOL);
	assert_int_equal(decode_exact(b.data, b.len), 0);
	buf_done(&b);
}

static void mutated_messages_are_read_within_their_bounds(void **state)
{
	struct buf original = {0};
	unsigned seed = 1;

	(void)state;
	build_rows(&original, UINT64_MAX);
	for (int i = 0; i < MUTATIONS; i++) {
		struct buf b = {0};

		buf_add(&b, original.data, original.len);
		for (int n = rand_r(&seed) % 4; n >= 0; n--)
			b.data[(size_t)rand_r(&seed) % b.len] = (char)rand_r(&seed);
		(void)decode_exact(b.data, b.len - (size_t)(rand_r(&seed) % 9));
		buf_done(&b);
	}
	buf_done(&original);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(handshake_is_version_one),
	        cmocka_unit_test(leader_request_is_a_header_and_a_zero),
	        cmocka_unit_test(texts_are_ended_and_padded_to_words),
	        cmocka_unit_test(statement_without_parameters_ends_in_a_zero_word),
	        cmocka_unit_test(parameters_are_types_and_then_values),
	        cmocka_unit_test(more_than_255_parameters_are_counted_in_four_bytes),
	        cmocka_unit_test(text_with_a_nul_is_refused),
	        cmocka_unit_test(sizes_that_would_overflow_are_refused),
	        cmocka_unit_test(header_gives_the_body_in_bytes),
	        cmocka_unit_test(rows_come_back_as_they_were),
	        cmocka_unit_test(table_is_reused_by_the_next_message),
	        cmocka_unit_test(members_come_as_rows),
	        cmocka_unit_test(unknown_type_is_refused),
	        cmocka_unit_test(huge_counts_are_refused_without_allocating),
	        cmocka_unit_test(every_cut_of_a_message_is_refused),
	        cmocka_unit_test(mutated_messages_are_read_within_their_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
