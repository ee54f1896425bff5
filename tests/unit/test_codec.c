/* Frames between control processes: what goes out comes back, and what is malformed is refused by name. */
#include "core/run/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config_node nodes[] = {{.name = "n1"}, {.name = "n2"}, {.name = "n3"}};
static const struct config config = {.nodes = nodes, .nodes_count = 3};
static struct frame frame;

static int decode(const char *json, struct err *e)
{
	return codec_decode(&config, "n2", json, strlen(json), &frame, e);
}

static void a_heartbeat_comes_back_as_it_was(void **state)
{
	struct lease_ask asks[] = {{"controller", 7}, {"group:main", 3}};
	struct instance_report r = {.group = "main",
	                            .process = PROC_RUNNING,
	                            .role = ROLE_PRIMARY,
	                            .is_leased = true,
	                            .upstream = NODE_NONE,
	                            .probe_age_ms = 12,
	                            .received_age_ms = -1,
	                            .position = 0x123456789abcULL,
	                            .sync_members = 6,
	                            .standby_count = 1,
	                            .error = "a \"quoted\" text"};
	struct heartbeat hb = {.node = 1, .number = 99, .incarnation = 5, .voters = {4, 7}, .ask_count = 2, .report_count = 1};
	struct hb_extra x = {"uuid", "123", "10.0.0.2:7401", "fast", 4, 3, 500, 20};
	struct err e = ERR_INIT;
	char *json;

	(void)state;
	r.standbys[0] = (struct standby_report){2, true, 42};
	hb.asks = asks;
	hb.reports = &r;
	json = codec_heartbeat(&config, &hb, &x);
	assert_int_equal(decode(json, &e), ERR_OK);
	free(json);
	assert_int_equal(frame.type, FRAME_HEARTBEAT);
	assert_int_equal(frame.heartbeat.node, 1);
	assert_int_equal(frame.heartbeat.number, 99);
	assert_int_equal(frame.heartbeat.voters.members, 7);
	assert_string_equal(frame.asks[1].resource, "group:main");
	assert_int_equal(frame.asks[1].value, 3);
	assert_memory_equal(&frame.reports[0], &r, sizeof r);
	assert_string_equal(frame.extra.raft_id, "123");
}

static void an_order_comes_back_as_it_was(void **state)
{
	struct order o = {.group = "main",
	                  .generation = 9,
	                  .epoch = 4,
	                  .answers = 3,
	                  .answers_incarnation = 5,
	                  .step = 8,
	                  .role = ORDER_REPLICA,
	                  .is_rejoin = true,
	                  .is_sync = true,
	                  .primary = 2,
	                  .sync_members = 3,
	                  .vip_count = 1,
	                  .system_id = "77"};
	struct err e = ERR_INIT;
	char *json;

	(void)state;
	snprintf(o.vips[0], sizeof o.vips[0], "10.0.0.9");
	json = codec_order(&config, &o);
	assert_int_equal(decode(json, &e), ERR_OK);
	free(json);
	assert_memory_equal(&frame.order, &o, sizeof o);
}

static void replies_and_releases_come_back_as_they_were(void **state)
{
	struct lease_reply r = {.voter = 1, .number = 3, .value = 4, .answer = LEASE_BUSY, .busy_ms = 300, .voters = {2, 5}};
	struct err e = ERR_INIT;
	char *json;

	(void)state;
	snprintf(r.resource, sizeof r.resource, "controller");
	json = codec_reply(&config, &r);
	assert_int_equal(decode(json, &e), ERR_OK);
	free(json);
	assert_memory_equal(&frame.reply, &r, sizeof r);
	json = codec_release("group:main", 12);
	assert_int_equal(decode(json, &e), ERR_OK);
	free(json);
	assert_string_equal(frame.release.resource, "group:main");
	assert_int_equal(frame.release.value, 12);
}

static void the_sender_is_the_link_and_not_what_the_text_says(void **state)
{
	struct heartbeat hb = {.node = 0, .number = 1};
	struct hb_extra x = {.schema = 0};
	struct err e = ERR_INIT;
	char *json = codec_heartbeat(&config, &hb, &x);

	(void)state;
	assert_int_equal(decode(json, &e), ERR_OK);
	free(json);
	assert_int_equal(frame.heartbeat.node, 1);
}

static void malformed_frames_are_refused_by_name(void **state)
{
	static const struct {
		const char *json, *word;
	} bad[] = {
	        {"", "frame"},
	        {"[]", "frame"},
	        {"{\"t\":\"dance\"}", "dance"},
	        {"{\"t\":\"hb\",\"number\":-1}", "number"},
	        {"{\"t\":\"hb\",\"number\":\"many\"}", "number"},
	        {"{\"t\":\"hb\",\"asks\":[{\"r\":5,\"v\":1}]}", "r"},
	        {"{\"t\":\"reply\",\"answer\":77,\"busy\":0}", "answer"},
	        {"{\"t\":\"hb\",\"reports\":[{\"probe_age\":0,\"received_age\":0,\"timeline\":4294967296}]}", "timeline"},
	        {"{\"t\":\"order\",\"role\":99}", "role"},
	        {"{\"t\":\"order\",\"vips\":[5]}", "vips"},
	        {"{\"t\":\"hb\",\"reports\":[{\"group\":\"a-name-that-is-much-too-long-for-any-group-of-ours\"}]}", "group"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct err e = ERR_INIT;

		if (decode(bad[i].json, &e) != ERR_PROTOCOL || strstr(e.text, bad[i].word) == NULL)
			fail_msg("%s: %s", bad[i].json, e.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_heartbeat_comes_back_as_it_was),
	        cmocka_unit_test(an_order_comes_back_as_it_was),
	        cmocka_unit_test(replies_and_releases_come_back_as_they_were),
	        cmocka_unit_test(the_sender_is_the_link_and_not_what_the_text_says),
	        cmocka_unit_test(malformed_frames_are_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
