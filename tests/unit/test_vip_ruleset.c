#include "vipd/ruleset.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void has(const struct buf *b, const char *text)
{
	if (strstr(b->data, text) == NULL)
		fail_msg("the rules lack \"%s\":\n%s", text, b->data);
}

static void tables_are_replaced_in_one_transaction_with_empty_lease_sets(void **state)
{
	struct allow a = {.vip_count = 2, .ports = {5432, 3306}, .port_count = 2, .peer_count = 1};
	struct buf b = {0};

	(void)state;
	a.vips[0].addr.s_addr = inet_addr("10.77.0.100");
	a.vips[1].addr.s_addr = inet_addr("10.77.0.101");
	a.peers[0].s_addr = inet_addr("10.77.0.11");
	ruleset_load(&a, "mha", &b);
	assert_ptr_equal(strstr(b.data, "add table inet mha\ndelete table inet mha\n"), b.data);
	has(&b, "table inet mha {\n\tset vips {\n\t\ttype ipv4_addr\n\t\telements = { 10.77.0.100, 10.77.0.101 }\n\t}\n");
	has(&b, "table arp mha {\n\tset vips {\n\t\ttype ipv4_addr\n\t\telements = { 10.77.0.100, 10.77.0.101 }\n\t}\n");
	has(&b, "set lease {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t}\n");
	has(&b, "table inet mha_db {\n\tset ports {\n\t\ttype inet_service\n\t\telements = { 5432, 3306 }\n\t}\n");
	has(&b, "set lease {\n\t\ttype inet_service\n\t\tflags timeout\n\t}\n");
	has(&b, "set peers {\n\t\ttype ipv4_addr\n\t\telements = { 10.77.0.11 }\n\t}\n");
	has(&b, "ip saddr @peers accept\n\t\ttcp dport @ports tcp dport != @lease counter reject with tcp reset\n");
	buf_done(&b);
}

static void empty_lists_write_no_elements(void **state)
{
	struct allow a = {0};
	struct buf b = {0};

	(void)state;
	ruleset_load(&a, "mha_n2", &b);
	assert_null(strstr(b.data, "elements"));
	has(&b, "table inet mha_n2_db {\n\tset ports {\n\t\ttype inet_service\n\t}\n");
	buf_done(&b);
}

static void unloading_works_without_the_tables(void **state)
{
	struct buf b = {0};

	(void)state;
	ruleset_unload("mha", &b);
	assert_string_equal(b.data, "add table inet mha\ndelete table inet mha\nadd table arp mha\ndelete table arp mha\n"
	                            "add table inet mha_db\ndelete table inet mha_db\n");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(tables_are_replaced_in_one_transaction_with_empty_lease_sets),
	        cmocka_unit_test(empty_lists_write_no_elements),
	        cmocka_unit_test(unloading_works_without_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
