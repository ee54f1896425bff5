#include "store/frontend/settings.h"
#include "store/frontend/types.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void declared_types_have_the_oids_that_clients_know(void **state)
{
	static const struct {
		const char *decltype;
		uint32_t oid;
	} cases[] = {
	        {"INTEGER", OID_INT8},
	        {"bigint", OID_INT8},
	        {"INT", OID_INT8},
	        {"TEXT", OID_TEXT},
	        {"VARCHAR(20)", OID_TEXT},
	        {"BLOB", OID_BYTEA},
	        {"REAL", OID_FLOAT8},
	        {"DOUBLE", OID_FLOAT8},
	        {"BOOLEAN", OID_BOOL},
	        {"DATE", OID_DATE},
	        {"DATETIME", OID_TIMESTAMP},
	        {"TIMESTAMP", OID_TIMESTAMP},
	        {"TIME", OID_TIME},
	        {"NUMERIC(10,2)", OID_NUMERIC},
	        {"decimal", OID_NUMERIC},
	        {"JSON", OID_JSON},
	        {"UUID", OID_UUID},
	        {"ANY", OID_TEXT},
	        {"", OID_TEXT},
	};
	size_t i;

	(void)state;
	assert_int_equal(type_oid_of_decltype(NULL), OID_TEXT);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(type_oid_of_decltype(cases[i].decltype), cases[i].oid);
}

static int decode(uint32_t oid, int format, const char *data, size_t len, struct buf *scratch, struct dq_value *v,
                  struct sqlerr *e)
{
	buf_clear(scratch);
	return type_decode_param(oid, format, data, len, scratch, v, e);
}

static void binary_integers_are_signed_and_of_their_size(void **state)
{
	struct buf scratch = {0};
	struct dq_value v;
	struct sqlerr e = SQLERR_INIT;

	(void)state;
	assert_int_equal(decode(OID_INT2, 1, "\xff\xfe", 2, &scratch, &v, &e), ERR_OK);
	assert_int_equal(v.u.i, -2);
	assert_int_equal(decode(OID_INT4, 1, "\x80\0\0\0", 4, &scratch, &v, &e), ERR_OK);
	assert_int_equal(v.u.i, INT32_MIN);
	assert_int_equal(decode(OID_INT8, 1, "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, &scratch, &v, &e), ERR_OK);
	assert_int_equal(v.u.i, INT64_MAX);
	assert_int_not_equal(decode(OID_INT8, 1, "\0\0\0\1", 4, &scratch, &v, &e), ERR_OK);
	assert_string_equal(e.sqlstate, "22P03");
	assert_int_equal(decode(OID_FLOAT8, 1, "\x3f\xf8\0\0\0\0\0\0", 8, &scratch, &v, &e), ERR_OK);
	assert_true(v.type == DQ_FLOAT && v.u.f == 1.5);
	buf_done(&scratch);
}

static void text_parameters_become_what_their_type_says(void **state)
{
	struct buf scratch = {0};
	struct dq_value v;
	struct sqlerr e = SQLERR_INIT;

	(void)state;
	assert_int_equal(decode(OID_INT8, 0, "-12", 3, &scratch, &v, &e), ERR_OK);
	assert_true(v.type == DQ_INTEGER && v.u.i == -12);
	assert_int_equal(decode(OID_BOOL, 0, "TRUE", 4, &scratch, &v, &e), ERR_OK);
	assert_true(v.type == DQ_INTEGER && v.u.i == 1);
	assert_int_equal(decode(OID_NUMERIC, 0, "1.25", 4, &scratch, &v, &e), ERR_OK);
	assert_true(v.type == DQ_FLOAT && v.u.f == 1.25);
	assert_int_equal(decode(OID_NUMERIC, 0, "123456789012345678901234567890", 30, &scratch, &v, &e), ERR_OK);
	assert_int_equal(v.type, DQ_TEXT);
	assert_int_equal(decode(OID_BYTEA, 0, "\\x00Ff", 6, &scratch, &v, &e), ERR_OK);
	assert_true(v.type == DQ_BLOB && v.u.s.len == 2 && memcmp(v.u.s.data, "\0\xff", 2) == 0);
	assert_int_equal(decode(0, 0, "12", 2, &scratch, &v, &e), ERR_OK);
	assert_int_equal(v.type, DQ_TEXT);
	assert_int_equal(decode(OID_INT4, 0, "x", 1, &scratch, &v, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "22P02");
	assert_int_equal(decode(OID_BYTEA, 0, "\\x0", 3, &scratch, &v, &e), ERR_SQL);
	assert_int_equal(decode(0, 0, "a\0b", 3, &scratch, &v, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "22021");
	assert_int_equal(decode(OID_TEXT, 0, NULL, 0, &scratch, &v, &e), ERR_OK);
	assert_int_equal(v.type, DQ_NULL);
	buf_done(&scratch);
}

static void refused(uint32_t oid, const char *data, size_t len, const char *sqlstate)
{
	struct buf scratch = {0};
	struct dq_value v = {.type = DQ_NULL};
	struct sqlerr e = SQLERR_INIT;

	if (decode(oid, 0, data, len, &scratch, &v, &e) != ERR_SQL)
		fail_msg("\"%s\" was taken as type %u", data, (unsigned)oid);
	assert_string_equal(e.sqlstate, sqlstate);
	buf_done(&scratch);
}

/* Another number than the client sent must never be stored. */
static void a_number_that_does_not_fit_is_refused(void **state)
{
	(void)state;
	refused(OID_INT8, "9223372036854775808", 19, "22003");
	refused(OID_INT8, "-9223372036854775809", 20, "22003");
	refused(OID_INT4, "2147483648", 10, "22003");
	refused(OID_INT2, "-32769", 6, "22003");
	refused(OID_OID, "-1", 2, "22003");
	refused(OID_NUMERIC, "+9223372036854775808", 20, "22003");
	refused(OID_INT4, "12\0003", 4, "22021");
	refused(OID_INT4, "12.5", 4, "22P02");
	refused(OID_FLOAT8, "", 0, "22P02");
	refused(OID_BOOL, "perhaps", 7, "22P02");
}

static void bytes_are_hexadecimal_digits_and_nothing_that_looks_like_one(void **state)
{
	(void)state;
	refused(OID_BYTEA, "\\x4\x11", 4, "22P02"); /* 0x11 and '1' differ in one bit */
	refused(OID_BYTEA, "\\xg0", 4, "22P02");
	refused(OID_BYTEA, "\\x\xff\xff", 4, "22P02");
}

/* The bytes of one encoded column, its length word checked. */
static void check_text(uint32_t oid, struct dq_value v, const char *expected)
{
	struct buf out = {0};
	struct sqlerr e = SQLERR_INIT;

	assert_int_equal(type_encode(&out, oid, 0, &v, "c", &e), ERR_OK);
	assert_int_equal(out.len, 4 + strlen(expected));
	assert_int_equal((unsigned char)out.data[3], strlen(expected));
	assert_memory_equal(out.data + 4, expected, strlen(expected));
	buf_done(&out);
}

static void values_are_shown_as_sqlite_and_postgresql_show_them(void **state)
{
	(void)state;
	check_text(OID_INT8, (struct dq_value){.type = DQ_INTEGER, .u.i = INT64_MIN}, "-9223372036854775808");
	check_text(OID_FLOAT8, (struct dq_value){.type = DQ_FLOAT, .u.f = 0.1}, "0.1");
	check_text(OID_FLOAT8, (struct dq_value){.type = DQ_FLOAT, .u.f = 2}, "2.0");
	check_text(OID_FLOAT8, (struct dq_value){.type = DQ_FLOAT, .u.f = 1.0 / 3}, "0.3333333333333333");
	check_text(OID_BOOL, (struct dq_value){.type = DQ_INTEGER, .u.i = 1}, "t");
	check_text(OID_BOOL, (struct dq_value){.type = DQ_INTEGER, .u.i = 7}, "7");
	check_text(OID_BYTEA, (struct dq_value){.type = DQ_BLOB, .u.s = {"\x0a\xff", 2}}, "\\x0aff");
	check_text(OID_INT8, (struct dq_value){.type = DQ_TEXT, .u.s = {"odd", 3}}, "odd");
}

static void a_value_without_a_binary_form_names_its_column(void **state)
{
	struct dq_value v = {.type = DQ_TEXT, .u.s = {"odd", 3}};
	struct buf out = {0};
	struct sqlerr e = SQLERR_INIT;

	(void)state;
	assert_int_equal(type_encode(&out, OID_INT8, 1, &v, "amount", &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "22P02");
	assert_non_null(strstr(e.text, "\"amount\""));
	assert_int_equal(out.len, 0);
	buf_done(&out);
}

static void codes_have_the_sqlstates_that_clients_act_on(void **state)
{
	static const struct {
		int code;
		const char *message, *sqlstate;
	} cases[] = {
	        {SQLITE_CONSTRAINT_UNIQUE, "UNIQUE constraint failed: vm.name", "23505"},
	        {SQLITE_CONSTRAINT_PRIMARYKEY, "", "23505"},
	        {SQLITE_CONSTRAINT_NOTNULL, "", "23502"},
	        {SQLITE_CONSTRAINT_FOREIGNKEY, "", "23503"},
	        {SQLITE_CONSTRAINT_CHECK, "", "23514"},
	        {SQLITE_CONSTRAINT, "", "23000"},
	        {SQLITE_BUSY, "", "55P03"},
	        {SQLITE_BUSY_SNAPSHOT, "", "40001"},
	        {SQLITE_IOERR_WRITE, "", "58030"},
	        {SQLITE_FULL, "", "53100"},
	        {SQLITE_ERROR, "no such table: x", "42P01"},
	        {SQLITE_ERROR, "table t has no column named x", "42703"},
	        {SQLITE_ERROR, "near \"x\": syntax error", "42601"},
	        {SQLITE_ERROR, "something else", "42000"},
	        {DQ_LEADERSHIP_LOST, "", "08007"},
	        {DQ_DISCONNECTED, "", "08007"},
	        {DQ_NOT_LEADER, "", "57P01"},
	};
	struct sqlerr e = SQLERR_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(sqlstate_of(cases[i].code, cases[i].message), cases[i].sqlstate);
	sqlerr_from_code(&e, SQLITE_CONSTRAINT_UNIQUE, "UNIQUE constraint failed: vm.name, vm.host");
	assert_string_equal(e.table, "vm");
	assert_string_equal(e.column, "name");
	sqlerr_from_code(&e, SQLITE_CONSTRAINT_CHECK, "CHECK constraint failed: size > 0");
	assert_string_equal(e.table, "");
}

static void settings_are_told_and_guarded(void **state)
{
	struct settings s = {0};
	struct sqlerr e = SQLERR_INIT;
	struct buf out = {0};
	bool is_reported;

	(void)state;
	assert_int_equal(settings_set(&s, "TIMEZONE", "Europe/Berlin", &is_reported, &e), ERR_OK);
	assert_true(is_reported);
	assert_string_equal(settings_get(&s, "timezone"), "Europe/Berlin");
	assert_int_equal(settings_set(&s, "client_encoding", "utf-8", &is_reported, &e), ERR_OK);
	assert_string_equal(settings_get(&s, "client_encoding"), "UTF8");
	assert_int_equal(settings_set(&s, "client_encoding", "LATIN1", &is_reported, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "22023");
	assert_int_equal(settings_set(&s, "server_version", "16", &is_reported, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "55P02");
	assert_int_equal(settings_set(&s, "nothing", "1", &is_reported, &e), ERR_SQL);
	assert_string_equal(e.sqlstate, "42704");
	settings_reset_all(&s, &out);
	assert_string_equal(settings_get(&s, "timezone"), "UTC");
	buf_done(&out);
	settings_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(declared_types_have_the_oids_that_clients_know),
	        cmocka_unit_test(binary_integers_are_signed_and_of_their_size),
	        cmocka_unit_test(text_parameters_become_what_their_type_says),
	        cmocka_unit_test(a_number_that_does_not_fit_is_refused),
	        cmocka_unit_test(bytes_are_hexadecimal_digits_and_nothing_that_looks_like_one),
	        cmocka_unit_test(values_are_shown_as_sqlite_and_postgresql_show_them),
	        cmocka_unit_test(a_value_without_a_binary_form_names_its_column),
	        cmocka_unit_test(codes_have_the_sqlstates_that_clients_act_on),
	        cmocka_unit_test(settings_are_told_and_guarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
