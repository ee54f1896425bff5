/* What one program makes of another's bytes: sound messages pass, and each way of being unsound is seen. */
#include "core/base/dbd_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct dbd_msg m;

static void fill(char *text, size_t size)
{
	memset(text, 'x', size);
}

static void check_text(char *text, size_t size)
{
	fill(text, size - 1);
	assert_true(dbd_msg_is_sound(&m)); /* as long as it may be */
	fill(text, size);
	assert_false(dbd_msg_is_sound(&m));
	memset(text, 0, size);
}

static int setup(void **state)
{
	(void)state;
	memset(&m, 0, sizeof m);
	return 0;
}

static void a_text_that_does_not_end_is_seen(void **state)
{
	(void)state;
	check_text(m.peer_node, sizeof m.peer_node);
	check_text(m.peer_host, sizeof m.peer_host);
	check_text(m.system_id, sizeof m.system_id);
	check_text(m.sync_members, sizeof m.sync_members);
	check_text(m.peers[DBD_MAX_PEERS - 1], sizeof m.peers[0]);
	check_text(m.text, sizeof m.text);
	check_text(m.report.system_id, sizeof m.report.system_id);
	check_text(m.report.upstream, sizeof m.report.upstream);
	check_text(m.report.sync_members, sizeof m.report.sync_members);
	check_text(m.report.position_text, sizeof m.report.position_text);
	check_text(m.report.last_error, sizeof m.report.last_error);
	m.report.standby_count = 2;
	check_text(m.report.standbys[1].name, sizeof m.report.standbys[1].name);
}

static void counts_and_choices_beyond_their_bounds_are_seen(void **state)
{
	(void)state;
	m.report.standby_count = DBD_MAX_STANDBYS;
	m.report.process = DBD_PROC_STOPPING;
	m.report.role = DBD_ROLE_REPLICA;
	assert_true(dbd_msg_is_sound(&m));
	m.report.standby_count++;
	assert_false(dbd_msg_is_sound(&m));
	m.report.standby_count--;
	m.report.process++;
	assert_false(dbd_msg_is_sound(&m));
	m.report.process--;
	m.report.role++;
	assert_false(dbd_msg_is_sound(&m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(a_text_that_does_not_end_is_seen, setup),
	        cmocka_unit_test_setup(counts_and_choices_beyond_their_bounds_are_seen, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
