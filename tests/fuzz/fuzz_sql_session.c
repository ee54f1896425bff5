/* Whole sessions of the SQL front end: everything a client can send, from the startup packet on, while the store behind it
 * answers, fails, loses its leadership or takes its time. What lies behind the front end (dqlite, the admin's requests, time)
 * is in fuzz_sql_world.c. Input: 16 bytes of script, then the client's bytes. */
#include "tests/fuzz/fuzz_sql_world.h"

#include "store/frontend/internal.h"
#include "store/frontend/session.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TURNS_MAX 400

static uv_loop_t loop;
static uv_pipe_t server;
static struct sockaddr_un address;
static socklen_t address_len = sizeof address;
static struct frontend frontend;
static bool is_unix;

static void connected_cb(uv_stream_t *s, int status)
{
	FUZZ_CHECK(status == 0);
	session_accept(&frontend, s, is_unix);
}

static void open_database(struct database *db, const char *name, bool is_system)
{
	db->name = name;
	db->is_system = is_system;
	db->shadow = shadow_new(name);
}

static void init(void)
{
	int fd;

	if (frontend.loop != NULL)
		return;
	FUZZ_CHECK(uv_loop_init(&loop) == 0);
	frontend.loop = &loop;
	TAILQ_INIT(&frontend.sessions);
	TAILQ_INIT(&frontend.waiting);
	open_database(&frontend.databases[0], "config", false);
	open_database(&frontend.databases[1], "mha", true);
	/* An abstract name that the kernel chooses: no file, no network. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	address.sun_family = AF_UNIX;
	FUZZ_CHECK(bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) == 0);
	FUZZ_CHECK(getsockname(fd, (struct sockaddr *)&address, &address_len) == 0);
	uv_pipe_init(&loop, &server, 0);
	FUZZ_CHECK(uv_pipe_open(&server, fd) == 0);
	FUZZ_CHECK(uv_listen((uv_stream_t *)&server, 8, connected_cb) == 0);
}

/* Answers are read and forgotten. False when the server has hung up. */
static bool drain(int fd)
{
	static char bytes[65536];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
		;
	return n < 0 && errno == EAGAIN;
}

static void run(int fd, const uint8_t *data, size_t size)
{
	bool is_open = true;
	int turn, idle = 0;

	for (turn = 0; turn < TURNS_MAX && idle < 3; turn++) {
		ssize_t n = size > 0 && is_open ? send(fd, data, size < 4096 ? size : 4096, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
		uv_run(&loop, UV_RUN_NOWAIT);
		is_open = drain(fd) && is_open;
		idle = n > 0 || world_turn(&frontend) ? 0 : idle + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t script[WORLD_SCRIPT_SIZE] = {0};
	int fd, turn;

	init();
	(void)fuzz_bytes(&in, script, sizeof script);
	is_unix = (script[0] & 1) != 0;
	world_reset(&frontend, script);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(connect(fd, (struct sockaddr *)&address, address_len) == 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	FUZZ_CHECK(frontend.session_count == 1);
	run(fd, in.data, in.left);
	close(fd);
	/* Whatever was under way, the session ends with its connection, and nothing of it stays. */
	for (turn = 0; turn < TURNS_MAX && frontend.session_count > 0; turn++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		(void)world_turn(&frontend);
	}
	FUZZ_CHECK(frontend.session_count == 0 && TAILQ_EMPTY(&frontend.sessions) && TAILQ_EMPTY(&frontend.waiting));
	FUZZ_CHECK(world_is_idle());
	return 0;
}
