/* Two hubs in two network namespaces, and a packet filter that swallows everything between them for a while. */
#include "link_fixture.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define ROUNDS 3

static const char *const addresses[] = {"10.231.77.1", "10.231.77.2"};

struct host {
	char netns[32];
	char device[16];
	pid_t pid;
	int events; /* 'U' and 'D', one byte each */
};
static struct host hosts[2];

static int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *fmt, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	return system(command);
}

static void remove_network(void)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		run("ip netns del %s 2>/dev/null", hosts[i].netns);
}

static bool make_network(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		snprintf(hosts[i].netns, sizeof hosts[i].netns, "mhalink%d-%u", (int)getpid(), i);
		snprintf(hosts[i].device, sizeof hosts[i].device, "ml%d-%u", (int)getpid() % 100000, i);
		if (run("ip netns add %s 2>/dev/null", hosts[i].netns) != 0)
			return false;
	}
	if (run("ip -n %s link add %s type veth peer name %s netns %s", hosts[0].netns, hosts[0].device, hosts[1].device,
	        hosts[1].netns) != 0)
		return false;
	for (i = 0; i < 2; i++)
		if (run("ip -n %s addr add %s/24 dev %s && ip -n %s link set %s up && ip -n %s link set lo up", hosts[i].netns,
		        addresses[i], hosts[i].device, hosts[i].netns, hosts[i].device, hosts[i].netns) != 0)
			return false;
	return true;
}

struct member {
	struct fixture_node node;
	unsigned told_ups, told_downs;
	int out;
	const char *peer;
};

static void on_heartbeat(uv_timer_t *timer)
{
	struct member *m = timer->data;

	link_send(m->node.hub, m->peer, "{\"heartbeat\":1}", 15);
}

static void on_look(uv_timer_t *timer)
{
	struct member *m = timer->data;

	for (; m->told_downs < m->node.downs; m->told_downs++)
		if (write(m->out, "D", 1) != 1)
			_exit(1);
	for (; m->told_ups < m->node.ups; m->told_ups++)
		if (write(m->out, "U", 1) != 1)
			_exit(1);
}

static _Noreturn void run_member(unsigned self, int out)
{
	char path[64];
	struct member m = {.out = out, .peer = self == 0 ? "n2" : "n1"};
	uv_timer_t heartbeat, look;
	uv_loop_t loop;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof path, "/run/netns/%s", hosts[self].netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		_exit(1);
	uv_loop_init(&loop);
	fixture_config(&m.node, self, NULL, addresses, 2);
	fixture_start(&m.node, &loop);
	uv_timer_init(&loop, &heartbeat);
	uv_timer_init(&loop, &look);
	heartbeat.data = look.data = &m;
	uv_timer_start(&heartbeat, on_heartbeat, 0, 200);
	uv_timer_start(&look, on_look, 0, 2);
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(0);
}

static void start_member(unsigned self)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	(void)fixture_port(); /* chosen before the fork: the same for both */
	hosts[self].pid = fork();
	if (hosts[self].pid == 0)
		run_member(self, ends[1]);
	close(ends[1]);
	hosts[self].events = ends[0];
}

/* Wait for this event of this host; events come in pairs, so nothing else may come before it. */
static void expect(unsigned host, char event)
{
	struct pollfd p = {hosts[host].events, POLLIN, 0};
	char got = '?';

	if (poll(&p, 1, FIXTURE_LIMIT_MS) != 1 || read(p.fd, &got, 1) != 1 || got != event)
		fail_msg("host %u: expected '%c', got '%c'", host, event, got);
}

static void link_is_back_soon_after_a_partition_heals(void **state)
{
	unsigned i, round;

	(void)state;
	if (geteuid() != 0 || !make_network()) {
		remove_network();
		print_message("SKIPPED: network namespaces need root and the `ip` program\n");
		skip();
	}
	for (i = 0; i < 2; i++)
		start_member(i);
	expect(0, 'U');
	expect(1, 'U');
	for (round = 0; round < ROUNDS; round++) {
		int64_t at = clock_now_ms();

		assert_int_equal(
		        run("ip netns exec %s nft 'add table inet cut; add chain inet cut in { type filter hook input priority "
		            "0; policy drop; }; add chain inet cut out { type filter hook output priority 0; policy drop; }'",
		            hosts[1].netns),
		        0);
		expect(0, 'D');
		expect(1, 'D');
		print_message("cut: both down after %d ms; ", (int)(clock_now_ms() - at));
		usleep(1000 * (1000 + round * 130)); /* heal at different points of the dialling */
		assert_int_equal(run("ip netns exec %s nft delete table inet cut", hosts[1].netns), 0);
		at = clock_now_ms();
		expect(0, 'U');
		expect(1, 'U');
		print_message("healed: both up after %d ms\n", (int)(clock_now_ms() - at));
		assert_true(clock_now_ms() - at < 2000);
	}
}

static int end_network(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++)
		if (hosts[i].pid > 0) {
			kill(hosts[i].pid, SIGKILL);
			waitpid(hosts[i].pid, NULL, 0);
		}
	remove_network();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_teardown(link_is_back_soon_after_a_partition_heals, end_network),
	};

	log_init("test_link_partition", "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
