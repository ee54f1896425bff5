#include "vipd/protocol.h"

#include "core/base/str.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct allow allow;

static int setup(void **state)
{
	(void)state;
	assert_true(str_copy(allow.path, sizeof allow.path, "/etc/mha4rdb/vip.allow"));
	allow.vips[0].addr.s_addr = inet_addr("10.77.0.100");
	allow.vips[1].addr.s_addr = inet_addr("10.77.0.101");
	allow.vip_count = 2;
	allow.ports[0] = 5432;
	allow.port_count = 1;
	return 0;
}

static struct vip_msg a_lease(void)
{
	struct vip_msg m = {.version = VIP_MSG_VERSION,
	                    .type = VIP_LEASE,
	                    .addr_count = 1,
	                    .port_count = 1,
	                    .owner = "group:main"};

	protocol_put_address(&m.addrs[0], allow.vips[1].addr);
	m.ports[0] = 5432;
	return m;
}

static void refused(const struct vip_msg *m, enum err_code code, const char *why)
{
	struct vip_set what = {7, 7};
	struct err e = ERR_INIT;

	assert_int_equal(protocol_check(m, &allow, &what, &e), code);
	if (strstr(e.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
	assert_int_equal(what.vips, 7);
}

static void what_is_listed_passes(void **state)
{
	struct vip_msg m = a_lease();
	struct vip_set what;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(protocol_check(&m, &allow, &what, &e), ERR_OK);
	assert_int_equal(what.vips, 2);
	assert_int_equal(what.ports, 1);
	m.addr_count = 0;
	assert_int_equal(protocol_check(&m, &allow, &what, &e), ERR_OK);
	assert_int_equal(what.vips, 0);
}

static void what_is_not_listed_is_named_with_the_file(void **state)
{
	struct vip_msg m = a_lease();
	struct in_addr other = {inet_addr("10.77.0.102")};

	(void)state;
	protocol_put_address(&m.addrs[0], other);
	refused(&m, ERR_REFUSED, "address 10.77.0.102 is not listed in /etc/mha4rdb/vip.allow");
	m.addrs[0] = (struct vip_addr){{0xfd, [15] = 1}};
	refused(&m, ERR_REFUSED, "address fd00::1 is not listed");
	m = a_lease();
	m.ports[0] = 22;
	refused(&m, ERR_REFUSED, "port 22 is not listed in /etc/mha4rdb/vip.allow");
}

static void counts_beyond_the_arrays_are_refused(void **state)
{
	struct vip_msg m = a_lease();

	(void)state;
	m.addr_count = VIP_MSG_ADDRS + 1;
	refused(&m, ERR_PROTOCOL, "17 addresses");
	m = a_lease();
	m.port_count = 65535;
	refused(&m, ERR_PROTOCOL, "65535 ports");
}

static void other_versions_and_types_are_refused(void **state)
{
	struct vip_msg m = a_lease();

	(void)state;
	m.version = 9;
	refused(&m, ERR_PROTOCOL, "version 9");
	m = a_lease();
	m.type = VIP_REPLY;
	refused(&m, ERR_PROTOCOL, "type 5");
	m.type = 0;
	refused(&m, ERR_PROTOCOL, "type 0");
}

static void an_owner_must_be_printable_and_end(void **state)
{
	struct vip_msg m = a_lease();

	(void)state;
	memset(m.owner, 'x', sizeof m.owner);
	refused(&m, ERR_INVAL, "owner");
	m.owner[0] = '\0';
	refused(&m, ERR_INVAL, "owner");
	assert_true(str_copy(m.owner, sizeof m.owner, "group:\n"));
	refused(&m, ERR_INVAL, "position 6");
}

static void a_probe_asks_for_one_address(void **state)
{
	struct vip_msg m = a_lease();
	struct vip_set what;
	struct err e = ERR_INIT;

	(void)state;
	m.type = VIP_PROBE;
	m.owner[0] = '\0';
	assert_int_equal(protocol_check(&m, &allow, &what, &e), ERR_OK);
	m.addr_count = 0;
	refused(&m, ERR_INVAL, "one address");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_listed_passes),
	        cmocka_unit_test(what_is_not_listed_is_named_with_the_file),
	        cmocka_unit_test(counts_beyond_the_arrays_are_refused),
	        cmocka_unit_test(other_versions_and_types_are_refused),
	        cmocka_unit_test(an_owner_must_be_printable_and_end),
	        cmocka_unit_test(a_probe_asks_for_one_address),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
