#include "store/frontend/messages.h"
#include "store/frontend/portal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum frame_status next(const char *data, size_t len, bool is_startup, struct msg_in *m, size_t *size)
{
	const char *why;

	return msg_next(data, len, is_startup, m, size, &why);
}

static void a_frame_is_taken_when_it_is_whole(void **state)
{
	static const char data[] = "Q\0\0\0\x06"
	                           "a\0"
	                           "X\0\0\0\x04";
	struct msg_in m;
	size_t size, i;

	(void)state;
	for (i = 0; i < 7; i++)
		assert_int_equal(next(data, i, false, &m, &size), FRAME_MORE);
	assert_int_equal(next(data, sizeof(data) - 1, false, &m, &size), FRAME_OK);
	assert_int_equal(size, 7);
	assert_int_equal(m.type, 'Q');
	assert_string_equal(msg_get_string(&m), "a");
	assert_false(m.is_bad);
	assert_int_equal(next(data + 7, 5, false, &m, &size), FRAME_OK);
	assert_int_equal(m.len, 0);
}

static void impossible_lengths_are_bad_at_once(void **state)
{
	struct msg_in m;
	size_t size;

	(void)state;
	assert_int_equal(next("Q\0\0\0\x03", 5, false, &m, &size), FRAME_BAD);
	assert_int_equal(next("Q\xff\xff\xff\xff", 5, false, &m, &size), FRAME_BAD);
	assert_int_equal(next("Q\x01\0\0\x01", 5, false, &m, &size), FRAME_BAD); /* one more than 16 MB */
	assert_int_equal(next("\0\0\0\x07", 4, true, &m, &size), FRAME_BAD);
	assert_int_equal(next("\0\0\x28\0", 4, true, &m, &size), FRAME_BAD);
	assert_int_equal(next("\0\0\0\x08", 4, true, &m, &size), FRAME_MORE);
}

static void reading_past_the_end_is_noticed_and_harmless(void **state)
{
	struct msg_in m = {.type = 'B', .body = "ab", .len = 2};

	(void)state;
	assert_string_equal(msg_get_string(&m), "");
	assert_true(m.is_bad);
	assert_int_equal(msg_get_i32(&m), 0);
	assert_int_equal(msg_get_i16(&m), 0);
	assert_int_equal(msg_get_byte(&m), 0);
	assert_null(msg_get_bytes(&m, SIZE_MAX));
}

static void what_is_written_reads_back(void **state)
{
	struct buf b = {0};
	struct msg_in m;
	size_t size, start = msg_begin(&b, 'T');

	(void)state;
	msg_put_i16(&b, -2);
	msg_put_i32(&b, INT32_MIN);
	msg_put_i64(&b, INT64_MIN + 1);
	msg_put_string(&b, "x");
	msg_end(&b, start);
	assert_int_equal(next(b.data, b.len, false, &m, &size), FRAME_OK);
	assert_int_equal(size, b.len);
	assert_int_equal(msg_get_i16(&m), -2);
	assert_int_equal(msg_get_i32(&m), INT32_MIN);
	assert_int_equal(msg_get_i32(&m), INT32_MIN);
	assert_int_equal(msg_get_i32(&m), 1);
	assert_string_equal(msg_get_string(&m), "x");
	assert_int_equal(m.len, 0);
	buf_done(&b);
}

/* Parse and Bind take anything without reading outside of it (ASan watches), and refuse with 08P01 or a parameter's own state.
 */
static void parse_and_bind_survive_any_bytes(void **state)
{
	unsigned seed = 11;
	int round;

	(void)state;
	for (round = 0; round < 20000; round++) {
		size_t len = (seed = seed * 1103515245u + 12345u) / 65536 % 40, i;
		char *data = malloc(len + 1);
		struct msg_in m = {.type = 'B', .body = data, .len = len};
		struct prepared p = {.refs = 1, .param_count = seed / 1024 % 4, .oids = {20, 17, 2950, 16}};
		struct portal *portal;
		struct prepared *parsed;
		struct sqlerr e = SQLERR_INIT;

		for (i = 0; i < len; i++)
			data[i] =
			        (char)((seed = seed * 1103515245u + 12345u) / 65536 % 5 == 0 ? seed / 65536 : seed / 65536 % 3);
		portal = portal_new("", &p, &m, &e);
		if (portal != NULL) {
			struct portal *table = NULL;

			HASH_ADD_KEYPTR(hh, table, portal->name, strlen(portal->name), portal);
			portal_remove(&table, portal);
		} else {
			assert_string_not_equal(e.sqlstate, "");
		}
		assert_int_equal(p.refs, 1);
		parsed = prepared_new(&m, &e);
		prepared_unref(parsed);
		free(data);
	}
}

static void a_limited_execute_gets_its_rows_in_parts(void **state)
{
	struct portal portal = {0};
	struct buf out = {0};
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		msg_put_simple(&portal.rows, 'D', "row");
	assert_false(portal_take_rows(&portal, 2, &out));
	assert_int_equal(out.len, 2 * portal.rows.len / 5);
	assert_false(portal_take_rows(&portal, 2, &out));
	assert_true(portal_take_rows(&portal, 2, &out));
	assert_memory_equal(out.data, portal.rows.data, portal.rows.len);
	assert_true(portal_take_rows(&portal, 2, &out));
	buf_done(&portal.rows);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_frame_is_taken_when_it_is_whole),
	        cmocka_unit_test(impossible_lengths_are_bad_at_once),
	        cmocka_unit_test(reading_past_the_end_is_noticed_and_harmless),
	        cmocka_unit_test(what_is_written_reads_back),
	        cmocka_unit_test(parse_and_bind_survive_any_bytes),
	        cmocka_unit_test(a_limited_execute_gets_its_rows_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
