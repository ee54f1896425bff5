/* What is left after sandbox_enter, tried by children that are sacrificed. Needs the two capabilities. */
#include "vipd/sandbox.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void work(void)
{
	if (write(STDERR_FILENO, "", 0) != 0)
		_exit(3);
}

static void open_a_file(void)
{
	if (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		_exit(0);
}

static void start_a_program(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void make_a_socket(void)
{
	if (socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0)
		_exit(0);
}

static int run(void (*what)(void))
{
	const struct rlimit none = {0, 0};
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		if (sandbox_enter(NULL) != ERR_OK)
			_exit(2);
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void whatever_the_loop_does_not_need_kills_the_process(void **state)
{
	static void (*const forbidden[])(void) = {open_a_file, start_a_program, make_a_socket};
	size_t i;
	int status;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip();
#endif
	if (sandbox_check_capabilities(NULL) != ERR_OK)
		skip();
	assert_int_equal(run(work), 0);
	for (i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
		status = run(forbidden[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(whatever_the_loop_does_not_need_kills_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
