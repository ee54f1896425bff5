#include "drivers/procs.h"

#include "core/base/spawn.h"
#include "drivers/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/mha-test-procs-XXXXXX";
static char real_dir[PATH_MAX];

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	procs_real_dir(dir, real_dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return file_remove_tree(dir, true, NULL);
}

static struct spawned start_sleep(const char *cwd)
{
	static const char *const argv[] = {"/bin/sleep", "60", NULL};
	struct spawn_opts o = SPAWN_INIT;
	struct spawned s;

	o.argv = argv;
	o.cwd = cwd;
	assert_int_equal(spawn_start(&o, &s, NULL), ERR_OK);
	close(s.pidfd);
	return s;
}

static void a_process_is_known_by_directory_and_program(void **state)
{
	struct spawned in = start_sleep(dir), out = start_sleep("/");

	(void)state;
	assert_true(procs_is_server(in.pid, real_dir, "sleep"));
	assert_false(procs_is_server(out.pid, real_dir, "sleep"));
	assert_false(procs_is_server(in.pid, real_dir, "postgres"));
	assert_false(procs_is_server(0, real_dir, "sleep"));
	assert_int_equal(procs_find_main(real_dir, "sleep"), in.pid);
	assert_int_equal(procs_signal(real_dir, "sleep", 0, 0), 1);
	assert_int_equal(procs_signal(real_dir, "sleep", SIGKILL, in.pid), 0);
	assert_int_equal(procs_signal(real_dir, "sleep", SIGKILL, 0), 1);
	assert_int_equal(waitpid(in.pid, NULL, 0), in.pid);
	assert_int_equal(kill(out.pid, 0), 0);
	kill(out.pid, SIGKILL);
	waitpid(out.pid, NULL, 0);
}

static void a_zombie_is_no_server(void **state)
{
	struct spawned s = start_sleep(dir);
	siginfo_t info;

	(void)state;
	kill(s.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)s.pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(procs_is_server(s.pid, real_dir, "sleep"));
	assert_int_equal(procs_find_main(real_dir, "sleep"), 0);
	waitpid(s.pid, NULL, 0);
}

static void a_link_to_the_directory_is_resolved(void **state)
{
	char link[PATH_MAX + 8], resolved[PATH_MAX];

	(void)state;
	snprintf(link, sizeof link, "%s/link", dir);
	assert_int_equal(symlink(dir, link), 0);
	assert_string_equal(procs_real_dir(link, resolved), real_dir);
	assert_string_equal(procs_real_dir("/nonexistent/x", resolved), "/nonexistent/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_process_is_known_by_directory_and_program),
	        cmocka_unit_test(a_zombie_is_no_server),
	        cmocka_unit_test(a_link_to_the_directory_is_resolved),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
