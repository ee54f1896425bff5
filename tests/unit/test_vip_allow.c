#include "vipd/allow.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/test_vip_allow.XXXXXX";

static int make_file(void **state)
{
	int fd;

	(void)state;
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : -1;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int load(const char *text, struct allow *a, struct err *e)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return allow_load(path, a, e);
}

static void refused(const char *text, enum err_code code, const char *why)
{
	struct allow a = {0};
	struct err e = ERR_INIT;

	assert_int_equal(load(text, &a, &e), code);
	if (strstr(e.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
	assert_int_equal(a.vip_count, 0);
}

static void every_kind_of_line_is_understood(void **state)
{
	struct in_addr vip = {inet_addr("10.77.0.101")}, peer = {inet_addr("10.77.0.11")};
	struct allow a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(load("# the cluster's\n\nvip 10.77.0.100/32 dev eth0\n\tvip 10.77.0.101 dev br0 # no prefix: /32\n"
	                      "port 5432\nport 5433\npeer 10.77.0.11\npeer 10.77.0.11\n",
	                      &a, &e),
	                 ERR_OK);
	assert_int_equal(a.vip_count, 2);
	assert_string_equal(a.vips[1].dev, "br0");
	assert_string_equal(a.vips[1].text, "10.77.0.101");
	assert_int_equal(allow_find_vip(&a, vip), 1);
	assert_int_equal(allow_find_vip(&a, peer), -1);
	assert_int_equal(allow_find_port(&a, 5433), 1);
	assert_int_equal(allow_find_port(&a, 22), -1);
	assert_int_equal(a.peer_count, 1);
	assert_true(allow_is_peer(&a, peer));
	assert_false(allow_is_peer(&a, vip));
	assert_int_equal(allow_all(&a).vips, 3);
	assert_int_equal(allow_all(&a).ports, 3);
}

static void an_empty_file_allows_nothing(void **state)
{
	struct allow a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(load("", &a, &e), ERR_OK);
	assert_int_equal(allow_all(&a).vips, 0);
	assert_int_equal(allow_all(&a).ports, 0);
}

static void a_wrong_line_is_named_with_its_number(void **state)
{
	(void)state;
	refused("port 1\nvip 10.77.0.100/24 dev eth0\n", ERR_INVAL, "line 2: vip \"10.77.0.100/24\": the prefix must be /32");
	refused("vip 10.77.0.100\n", ERR_INVAL, "vip ADDRESS/32 dev INTERFACE");
	refused("vip 10.77.0 dev eth0\n", ERR_INVAL, "no IPv4 address");
	refused("vip fd00::1 dev eth0\n", ERR_INVAL, "IPv6");
	refused("vip 127.0.0.1 dev lo\n", ERR_INVAL, "not an address that a host can have");
	refused("vip 224.0.0.18 dev eth0\n", ERR_INVAL, "not an address that a host can have");
	refused("vip 10.77.0.100 dev averyveryverylongname\n", ERR_INVAL, "longer than 15");
	refused("port 0\n", ERR_INVAL, "port");
	refused("port 70000\n", ERR_INVAL, "port");
	refused("port 5432\nport 5432\n", ERR_INVAL, "twice");
	refused("peer n1\n", ERR_INVAL, "no IPv4 address");
	refused("ports 5432\n", ERR_INVAL, "none of vip, port, peer");
	refused("peer-net 10.77.0.0\n", ERR_INVAL, "peer-net ADDRESS/BITS");
	refused("peer-net 10.77.0.1/24\n", ERR_INVAL, "address of a host");
	refused("peer-net 0.0.0.0/0\n", ERR_INVAL, "prefix");
	refused("peer-net 10.0.0.0/33\n", ERR_INVAL, "prefix");
	refused("peer-net 224.0.0.0/8\n", ERR_INVAL, "no addresses");
	refused("vip a b c d e\n", ERR_INVAL, "too many words");
}

static void only_hosts_inside_a_peer_net_can_be_named(void **state)
{
	const struct in_addr wanted[] = {{inet_addr("10.77.0.11")},
	                                 {inet_addr("10.77.1.12")},
	                                 {inet_addr("10.78.0.1")},
	                                 {inet_addr("192.168.3.3")},
	                                 {inet_addr("10.77.1.12")}};
	struct in_addr all[ALLOW_ALL_PEERS];
	struct allow a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(load("peer 10.77.0.11\npeer-net 10.77.0.0/16\npeer-net 192.168.3.3/32\n", &a, &e), ERR_OK);
	assert_false(allow_is_peer(&a, wanted[1]));
	assert_int_equal(allow_name_peers(&a, wanted, 5, &e), ERR_REFUSED);
	assert_non_null(strstr(e.text, "10.78.0.1 is no peer"));
	assert_int_equal(allow_peers(&a, all), 3);
	assert_true(allow_is_peer(&a, wanted[1]));
	assert_true(allow_is_peer(&a, wanted[3]));
	assert_false(allow_is_peer(&a, wanted[2]));
	assert_int_equal(allow_name_peers(&a, wanted, 1, &e), ERR_OK);
	assert_int_equal(allow_peers(&a, all), 1);
	assert_true(allow_is_peer(&a, wanted[0]));
	assert_false(allow_is_peer(&a, wanted[1]));
}

static void a_full_list_is_refused_not_cut(void **state)
{
	char text[64 * 40] = "";
	size_t len = 0;
	int i;

	(void)state;
	for (i = 0; i <= ALLOW_MAX_PORTS; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "port %d\n", 1000 + i);
	refused(text, ERR_INVAL, "more than 32 ports");
}

static void a_file_that_others_may_write_is_refused(void **state)
{
	struct allow a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(load("port 1\n", &a, &e), ERR_OK);
	chmod(path, 0664);
	assert_int_equal(allow_load(path, &a, &e), ERR_REFUSED);
	assert_non_null(strstr(e.text, "chmod go-w"));
	chmod(path, 0600);
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_int_equal(allow_load(path, &a, &e), ERR_REFUSED);
	assert_non_null(strstr(e.text, "belongs to uid 65534"));
}

static void a_set_reads_as_its_members(void **state)
{
	struct vip_set both = {2, 1}, none = {0, 0};
	struct allow a;
	struct err e = ERR_INIT;
	char text[64];

	(void)state;
	assert_int_equal(load("vip 10.77.0.100 dev eth0\nvip 10.77.0.101 dev eth0\nport 5432\n", &a, &e), ERR_OK);
	assert_string_equal(allow_describe(&a, &both, text, sizeof text), "10.77.0.101, port 5432");
	assert_string_equal(allow_describe(&a, &none, text, sizeof text), "nothing");
	assert_string_equal(allow_describe(&a, &both, text, 5), "10.7");
}

static void a_missing_file_says_what_to_write(void **state)
{
	struct allow a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(allow_load("/nowhere/vip.allow", &a, &e), ERR_NOTFOUND);
	assert_non_null(strstr(e.text, "/nowhere/vip.allow"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(every_kind_of_line_is_understood, make_file, remove_file),
	        cmocka_unit_test_setup_teardown(an_empty_file_allows_nothing, make_file, remove_file),
	        cmocka_unit_test_setup_teardown(a_wrong_line_is_named_with_its_number, make_file, remove_file),
	        cmocka_unit_test_setup_teardown(only_hosts_inside_a_peer_net_can_be_named, make_file, remove_file),
	        cmocka_unit_test_setup_teardown(a_full_list_is_refused_not_cut, make_file, remove_file),
	        cmocka_unit_test_setup_teardown(a_file_that_others_may_write_is_refused, make_file, remove_file),
	        cmocka_unit_test_setup_teardown(a_set_reads_as_its_members, make_file, remove_file),
	        cmocka_unit_test(a_missing_file_says_what_to_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
