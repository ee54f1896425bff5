#include "vipd/announce.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t mac[6] = {2, 0, 0, 0xaa, 0xbb, 0xcc};

#define HEAD(op) 0, 1, 8, 0, 6, 4, 0, op, 2, 0, 0, 0xaa, 0xbb, 0xcc

static void check(enum arp_kind kind, const uint8_t want[ARP_PACKET_SIZE])
{
	struct in_addr vip = {inet_addr("10.77.0.100")};
	uint8_t got[ARP_PACKET_SIZE];

	announce_build(kind, mac, vip, got);
	assert_memory_equal(got, want, ARP_PACKET_SIZE);
}

static void a_gratuitous_request_asks_for_the_own_address(void **state)
{
	static const uint8_t want[] = {HEAD(1), 10, 77, 0, 100, 0, 0, 0, 0, 0, 0, 10, 77, 0, 100};

	(void)state;
	check(ARP_ANNOUNCE_REQUEST, want);
}

static void a_gratuitous_reply_answers_itself(void **state)
{
	static const uint8_t want[] = {HEAD(2), 10, 77, 0, 100, 2, 0, 0, 0xaa, 0xbb, 0xcc, 10, 77, 0, 100};

	(void)state;
	check(ARP_ANNOUNCE_REPLY, want);
}

static void a_probe_names_no_sender_address_so_that_no_cache_learns_from_it(void **state)
{
	static const uint8_t want[] = {HEAD(1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 77, 0, 100};

	(void)state;
	check(ARP_PROBE, want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_gratuitous_request_asks_for_the_own_address),
	        cmocka_unit_test(a_gratuitous_reply_answers_itself),
	        cmocka_unit_test(a_probe_names_no_sender_address_so_that_no_cache_learns_from_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
