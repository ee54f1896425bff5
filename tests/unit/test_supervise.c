/* The real mhad with stand-ins for its children: shell scripts that write down when they start and how they end. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/spawn.h"
#include "core/base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define LIMIT_MS 20000

static char dir[64];
static pid_t parent;
static int stderr_fd = -1;

/* $1: its name in the log. Each line: name, event, pid. Lives until SIGTERM, or as long as the file `<name>.life` says. */
static const char script[] =
        "#!/bin/sh\n"
        "n=$(basename $0); [ \"$1\" = --control ] && n=control\n"
        "cd %s\n"
        "trap 'echo \"$n term $$\" >> log; [ -f $n.slow ] && sleep 0.3; echo \"$n end $$\" >> log; exit 0' TERM\n"
        "[ -f $n.stubborn ] && trap '' TERM\n"
        "echo \"$n start $$ $*\" >> log\n"
        "[ -f $n.code ] && exit $(cat $n.code)\n"
        "while :; do sleep 0.02; done\n";

static void write_file(const char *name, mode_t mode, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void write_file(const char *name, mode_t mode, const char *fmt, ...)
{
	char path[200];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void remove_file(const char *name)
{
	char path[200];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	unlink(path);
}

static char *read_file(const char *name)
{
	char path[200], part[4096];
	struct buf b = {0};
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	buf_puts(&b, "");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return b.data != NULL ? b.data : mem_strdup("");
	while ((n = read(fd, part, sizeof part)) > 0)
		buf_add(&b, part, (size_t)n);
	close(fd);
	return b.data != NULL ? b.data : mem_strdup("");
}

static unsigned count_in(const char *file, const char *what)
{
	char *text = read_file(file), *p;
	unsigned n = 0;

	for (p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
		n++;
	free(text);
	return n;
}

static bool wait_for(const char *file, const char *what, unsigned times)
{
	int64_t until = clock_now_ms() + LIMIT_MS;

	while (count_in(file, what) < times && clock_now_ms() < until)
		usleep(2000);
	return count_in(file, what) >= times;
}

static const char yaml[] = "cluster: lab\nnode: n1\naddress: 127.0.0.1\nstate_dir: %s/state\nrun_dir: %s/run\n"
                           "nodes:\n  - {name: n1, address: 127.0.0.1}\n"
                           "instances:\n  - {group: main, engine: fake, data_dir: %s/data}\n";

static int start(void **state)
{
	static const char *const programs[] = {"mha-stored", "mha-dbd", "mha-vipd", "mhad"};
	unsigned i;

	(void)state;
	str_copy(dir, sizeof dir, "/tmp/mha-supervise-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (i = 0; i < 4; i++)
		write_file(programs[i], 0755, script, dir);
	write_file("node.yaml", 0644, yaml, dir, dir, dir);
	return 0;
}

static int64_t ask_parent_to_stop(int *ret_status)
{
	int64_t begun = clock_now_ms();

	kill(parent, SIGTERM);
	while (waitpid(parent, ret_status, WNOHANG) == 0 && clock_now_ms() - begun < LIMIT_MS)
		usleep(2000);
	parent = 0;
	return clock_now_ms() - begun;
}

static int end(void **state)
{
	const char *argv[] = {"/bin/rm", "-rf", dir, NULL};
	struct spawn_opts o = SPAWN_INIT;
	struct spawned s;
	int status;

	(void)state;
	if (parent > 0)
		(void)ask_parent_to_stop(&status);
	o.argv = argv;
	if (spawn_start(&o, &s, NULL) != ERR_OK)
		return -1;
	waitpid(s.pid, &status, 0);
	close(s.pidfd);
	return 0;
}

/* Its stderr goes to the file `err`. */
static pid_t start_mhad(const char *const *more)
{
	char config[100], path[100];
	const char *argv[12] = {MHAD_PATH, "--config", config, "--bin-dir", dir};
	struct spawn_opts o = SPAWN_INIT;
	struct spawned s;
	struct err e = ERR_INIT;
	unsigned n = 5;

	for (; more != NULL && *more != NULL; more++)
		argv[n++] = *more;
	snprintf(config, sizeof config, "%s/node.yaml", dir);
	snprintf(path, sizeof path, "%s/err", dir);
	stderr_fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
	o.argv = argv;
	o.stderr_fd = stderr_fd;
	o.parent_death_signal = SIGTERM;
	if (spawn_start(&o, &s, &e) != ERR_OK)
		fail_msg("%s", e.text);
	close(s.pidfd);
	close(stderr_fd);
	return s.pid;
}

static int exit_code(pid_t pid)
{
	int64_t until = clock_now_ms() + LIMIT_MS;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0 && clock_now_ms() < until)
		usleep(2000);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static pid_t pid_of(const char *what)
{
	char *text = read_file("log"), *p, *last = NULL;
	pid_t pid;

	for (p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
		last = p;
	assert_non_null(last);
	pid = (pid_t)atoi(last + strlen(what));
	free(text);
	return pid;
}

static void every_child_is_started_with_its_arguments(void **state)
{
	char expected[200];

	(void)state;
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "control start ", 1));
	assert_true(wait_for("log", "mha-stored start ", 1));
	snprintf(expected, sizeof expected, " --config %s/node.yaml --group main\n", dir);
	assert_true(wait_for("log", expected, 1));
	snprintf(expected, sizeof expected, " --control --config %s/node.yaml\n", dir);
	assert_true(wait_for("log", expected, 1));
	if (geteuid() == 0)
		assert_true(wait_for("log", "mha-vipd start ", 1));
	else
		assert_true(wait_for("err", "VIP support is off", 1));
}

static void dead_child_is_started_again_at_once_the_first_time(void **state)
{
	int64_t begun;

	(void)state;
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "control start ", 1));
	begun = clock_now_ms();
	kill(pid_of("control start "), SIGKILL);
	assert_true(wait_for("log", "control start ", 2));
	print_message("started again %d ms after kill -9\n", (int)(clock_now_ms() - begun));
	assert_true(clock_now_ms() - begun < 1000);
	assert_true(wait_for("err", "ended: signal 9 (Killed) -> started again in 0 ms", 1));
	assert_int_equal(count_in("log", "mha-stored start "), 1); /* the others are left alone */
}

static void child_that_keeps_dying_is_held_back_longer_each_time(void **state)
{
	(void)state;
	write_file("control.code", 0644, "1");
	parent = start_mhad(NULL);
	assert_true(wait_for("err", "ended: exit 1 -> started again in 0 ms", 1));
	assert_true(wait_for("err", "ended: exit 1 -> started again in 20 ms", 1));
	assert_true(wait_for("err", "ended: exit 1 -> started again in 40 ms", 1));
	assert_true(wait_for("err", "ended: exit 1 -> started again in 320 ms", 1));
	assert_int_equal(count_in("log", "mha-stored start "), 1);
	/* It gets well: the next start is the last. */
	remove_file("control.code");
	assert_true(wait_for("err", "control\",\"msg\":\"started again", 6));
}

static void wrong_configuration_stops_the_node_with_code_78(void **state)
{
	pid_t pid;

	(void)state;
	write_file("mha-stored.code", 0644, "78");
	pid = start_mhad(NULL);
	assert_int_equal(exit_code(pid), 78);
	assert_int_equal(count_in("err", "stored\",\"msg\":\"ended: exit 78 -> its configuration is wrong"), 1);
	assert_int_equal(count_in("log", "mha-stored start "), 1);
	assert_int_equal(count_in("err", "control\",\"msg\":\"stopped: "), 1);
}

static void store_is_stopped_after_the_others(void **state)
{
	char *text, *store_term;
	int status = 0;
	int64_t took;

	(void)state;
	write_file("control.slow", 0644, "x");
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "control start ", 1));
	assert_true(wait_for("log", "mha-stored start ", 1));
	assert_true(wait_for("log", "mha-dbd start ", 1));
	took = ask_parent_to_stop(&status);
	print_message("stopped after %d ms\n", (int)took);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	text = read_file("log");
	store_term = strstr(text, "mha-stored term ");
	assert_non_null(store_term);
	assert_true(strstr(text, "control end ") < store_term);
	assert_true(strstr(text, "mha-dbd end ") < store_term);
	assert_non_null(strstr(text, "mha-stored end "));
	assert_int_equal(count_in("err", "started again"), 0);
	free(text);
}

static void stubborn_child_is_killed_after_ten_seconds(void **state)
{
	int status = 0;
	int64_t took;
	pid_t pid;

	(void)state;
	write_file("mha-stored.stubborn", 0644, "x");
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "mha-stored start ", 1));
	pid = pid_of("mha-stored start ");
	took = ask_parent_to_stop(&status);
	assert_true(took >= 9500 && took < 13000);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(kill(pid, 0), -1);
}

static void children_are_told_when_the_parent_is_killed(void **state)
{
	(void)state;
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "control start ", 1));
	assert_true(wait_for("log", "mha-stored start ", 1));
	kill(parent, SIGKILL);
	(void)exit_code(parent);
	parent = 0;
	assert_true(wait_for("log", "control end ", 1));
	assert_true(wait_for("log", "mha-stored end ", 1));
}

static void second_parent_in_one_run_dir_is_refused(void **state)
{
	char expected[100];
	pid_t second;

	(void)state;
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "control start ", 1));
	second = start_mhad(NULL);
	assert_int_equal(exit_code(second), 1);
	snprintf(expected, sizeof expected, "another mhad (pid %d) serves run_dir", (int)parent);
	assert_int_equal(count_in("err", expected), 1);
	assert_int_equal(count_in("log", "control start "), 1);
}

static void missing_program_is_named_and_nothing_stays(void **state)
{
	(void)state;
	remove_file("mha-dbd");
	assert_int_equal(exit_code(start_mhad(NULL)), 78);
	assert_int_equal(count_in("err", "/mha-dbd\\\" cannot be run"), 1);
	assert_int_equal(count_in("log", "control start "), 0);
}

static void wrong_file_is_one_clear_message(void **state)
{
	(void)state;
	write_file("node.yaml", 0644, "cluster: lab\nnode: n1\naddress: nowhere\nnodes:\n  - {name: n1, address: 127.0.0.1}\n");
	assert_int_equal(exit_code(start_mhad(NULL)), 78);
	assert_int_equal(count_in("err", "\n"), 1);
	assert_int_equal(count_in("err", "\"nowhere\" is not a numeric"), 1);
	assert_int_equal(exit_code(start_mhad((const char *const[]){"--check", NULL})), 78);
}

static void check_reads_the_configuration_and_starts_nothing(void **state)
{
	(void)state;
	assert_int_equal(exit_code(start_mhad((const char *const[]){"--check", NULL})), 0);
	assert_int_equal(exit_code(start_mhad((const char *const[]){"--version", NULL})), 0);
	assert_int_equal(exit_code(start_mhad((const char *const[]){"--nonsense", NULL})), 2);
	assert_int_equal(count_in("log", "start"), 0);
}

static void assert_mode(const char *name, mode_t mode)
{
	char path[200];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, geteuid());
}

static void directories_are_made_with_their_modes(void **state)
{
	(void)state;
	parent = start_mhad(NULL);
	assert_true(wait_for("log", "control start ", 1));
	assert_mode("run", 0755);
	assert_mode("state", 0755);
	assert_mode("state/store", 0700);
	assert_mode("state/dbd/main", 0700);
}

static void service_manager_is_told_when_it_asks(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {20, 0};
	char got[32] = "";

	(void)state;
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/notify", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setenv("NOTIFY_SOCKET", sa.sun_path, 1);
	parent = start_mhad(NULL);
	unsetenv("NOTIFY_SOCKET");
	assert_true(recv(fd, got, sizeof got - 1, 0) > 0);
	assert_string_equal(got, "READY=1");
	close(fd);
}

#define test(f) cmocka_unit_test_setup_teardown(f, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(every_child_is_started_with_its_arguments),
	        test(dead_child_is_started_again_at_once_the_first_time),
	        test(child_that_keeps_dying_is_held_back_longer_each_time),
	        test(wrong_configuration_stops_the_node_with_code_78),
	        test(store_is_stopped_after_the_others),
	        test(stubborn_child_is_killed_after_ten_seconds),
	        test(children_are_told_when_the_parent_is_killed),
	        test(second_parent_in_one_run_dir_is_refused),
	        test(missing_program_is_named_and_nothing_stays),
	        test(wrong_file_is_one_clear_message),
	        test(check_reads_the_configuration_and_starts_nothing),
	        test(directories_are_made_with_their_modes),
	        test(service_manager_is_told_when_it_asks),
	};

	log_init("test_supervise", "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
