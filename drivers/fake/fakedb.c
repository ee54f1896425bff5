/* mha-fakedb DATA_DIR PORT NODE ROLE_FILE: a simulated database server. It counts writes instead of storing rows, replicates
 * the count to servers that pull it, and obeys the same rules as a real one: fenced while DATA_DIR/fenced exists, writes only
 * when promoted, commits wait for the members named in ROLE_FILE. SIGINT stops it cleanly, SIGQUIT at once.
 *
 * Requests are lines over TCP, answers too:
 *   STATUS             role timeline position system_id is_receiving age_ms|sync_members|name:position,...
 *   WRITE              OK position, once enough members have it; ERR reason
 *   PULL name position timeline position system_id     (a replica's request; names what it already has)
 *   PROMOTE RELOAD     OK */
#include "core/base/clock.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS   16
#define MAX_STANDBYS  8
#define PULL_EVERY_MS 20
#define STREAMING_MS  1000 /* a standby that has not pulled for so long is gone */
#define STOP_LIMIT_MS 2000
#define LINE_SIZE     256
#define NAME_SIZE     40

struct client {
	int fd; /* -1: free */
	char line[LINE_SIZE];
	size_t len;
	uint64_t waits_for; /* a WRITE that waits for standbys, 0: none */
};

struct standby {
	char name[NAME_SIZE];
	uint64_t position;
	int64_t seen_ms;
};

static struct {
	const char *node, *role_file;
	bool is_primary;
	unsigned timeline;
	uint64_t position;
	char system_id[NAME_SIZE];
	char upstream_host[64], sync_members[320];
	unsigned upstream_port, sync_count;
	int upstream_fd;
	int64_t received_ms, next_pull_ms;
	bool is_receiving;
	struct standby standbys[MAX_STANDBYS];
	struct client clients[MAX_CLIENTS];
} db = {.upstream_fd = -1};

static volatile sig_atomic_t stop_signal;

static void on_signal(int sig)
{
	if (sig == SIGQUIT)
		_exit(2);
	stop_signal = sig;
}

static void save(const char *state)
{
	FILE *f = fopen("fake_control.tmp", "we");

	if (f == NULL)
		exit(1);
	fprintf(f, "%s %u %" PRIu64 " %s\n", db.system_id, db.timeline, db.position, state);
	fclose(f);
	if (rename("fake_control.tmp", "fake_control") != 0)
		exit(1);
}

static void load(void)
{
	FILE *f = fopen("fake_control", "re");

	if (f == NULL || fscanf(f, "%39s %u %" SCNu64, db.system_id, &db.timeline, &db.position) != 3) {
		fprintf(stderr, "FATAL: no fake_control here\n");
		exit(1);
	}
	fclose(f);
	db.is_primary = access("fenced", F_OK) != 0;
}

static void drop_upstream(void)
{
	if (db.upstream_fd >= 0)
		close(db.upstream_fd);
	db.upstream_fd = -1;
	db.is_receiving = false;
}

/* ROLE_FILE: "host port sync_count sync_members", "-" for none. */
static void load_role(void)
{
	FILE *f = fopen(db.role_file, "re");

	drop_upstream();
	db.upstream_port = db.sync_count = 0;
	db.sync_members[0] = '\0';
	if (f == NULL)
		return;
	if (fscanf(f, "%*s %63s %u %u %319s", db.upstream_host, &db.upstream_port, &db.sync_count, db.sync_members) != 4)
		db.upstream_port = 0;
	if (strcmp(db.sync_members, "-") == 0)
		db.sync_members[0] = '\0';
	fclose(f);
}

static bool is_member(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *at = list;

	while ((at = strstr(at, name)) != NULL) {
		if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
			return true;
		at += len;
	}
	return false;
}

static bool is_durable(uint64_t position)
{
	unsigned have = 0, i;

	if (db.sync_members[0] == '\0')
		return true;
	for (i = 0; i < MAX_STANDBYS; i++)
		have += db.standbys[i].name[0] != '\0' && db.standbys[i].position >= position &&
		        is_member(db.sync_members, db.standbys[i].name);
	return have >= (db.sync_count > 0 ? db.sync_count : 1);
}

static void say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void answer_waiting(void)
{
	char text[64];
	unsigned i;

	for (i = 0; i < MAX_CLIENTS; i++) {
		struct client *c = &db.clients[i];

		if (c->fd < 0 || c->waits_for == 0 || !is_durable(c->waits_for))
			continue;
		snprintf(text, sizeof text, "OK %" PRIu64 "\n", c->waits_for);
		c->waits_for = 0;
		say(c->fd, text);
	}
}

static void note_standby(const char *name, uint64_t position)
{
	struct standby *s = NULL;
	unsigned i;

	for (i = 0; i < MAX_STANDBYS && s == NULL; i++)
		if (strcmp(db.standbys[i].name, name) == 0 || db.standbys[i].name[0] == '\0')
			s = &db.standbys[i];
	if (s == NULL)
		return;
	str_copy(s->name, sizeof s->name, name);
	s->position = position;
	s->seen_ms = clock_now_ms();
	answer_waiting();
}

static void say_status(int fd)
{
	int64_t now_ms = clock_now_ms();
	struct buf b = {0};
	unsigned i;

	buf_printf(&b, "%s %u %" PRIu64 " %s %d %lld|%s|", db.is_primary ? "primary" : "replica", db.timeline, db.position,
	           db.system_id, db.is_receiving, db.received_ms != 0 ? (long long)(now_ms - db.received_ms) : -1LL,
	           db.sync_members);
	for (i = 0; i < MAX_STANDBYS; i++)
		if (db.standbys[i].name[0] != '\0' && now_ms - db.standbys[i].seen_ms < STREAMING_MS)
			buf_printf(&b, "%s:%" PRIu64 ",", db.standbys[i].name, db.standbys[i].position);
	buf_puts(&b, "\n");
	say(fd, b.data);
	buf_done(&b);
}

static void promote(int fd)
{
	if (!db.is_primary) {
		drop_upstream();
		unlink("fenced");
		db.timeline++;
		db.position++;
		db.is_primary = true;
		save("running");
	}
	say(fd, "OK\n");
}

static void handle(struct client *c)
{
	char name[NAME_SIZE], text[128];
	uint64_t position;

	if (strcmp(c->line, "STATUS") == 0) {
		say_status(c->fd);
	} else if (strcmp(c->line, "PROMOTE") == 0) {
		promote(c->fd);
	} else if (strcmp(c->line, "RELOAD") == 0) {
		load_role();
		answer_waiting();
		say(c->fd, "OK\n");
	} else if (strcmp(c->line, "WRITE") == 0 && (!db.is_primary || stop_signal != 0)) {
		say(c->fd, "ERR read-only\n");
	} else if (strcmp(c->line, "WRITE") == 0) {
		c->waits_for = ++db.position;
		save("running");
		answer_waiting();
	} else if (sscanf(c->line, "PULL %39s %" SCNu64, name, &position) == 2) {
		note_standby(name, position);
		snprintf(text, sizeof text, "%u %" PRIu64 " %s\n", db.timeline, db.position, db.system_id);
		say(c->fd, text);
	} else {
		say(c->fd, "ERR unknown request\n");
	}
}

static void close_client(struct client *c)
{
	close(c->fd);
	c->fd = -1;
}

static void read_client(struct client *c)
{
	ssize_t n = recv(c->fd, c->line + c->len, sizeof c->line - 1 - c->len, MSG_DONTWAIT);
	char *nl;

	if (n <= 0) {
		close_client(c);
		return;
	}
	c->len += (size_t)n;
	c->line[c->len] = '\0';
	while ((nl = strchr(c->line, '\n')) != NULL) {
		*nl = '\0';
		handle(c);
		c->len -= (size_t)(nl + 1 - c->line);
		memmove(c->line, nl + 1, c->len + 1);
	}
	if (c->len + 1 >= sizeof c->line)
		close_client(c);
}

/* One exchange with the upstream; short limits, because the loop stands still meanwhile. */
static bool pull(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)db.upstream_port)};
	struct timeval limit = {0, 200000};
	char text[LINE_SIZE], system_id[NAME_SIZE];
	unsigned timeline;
	uint64_t position;
	ssize_t n;

	if (db.upstream_fd < 0) {
		db.upstream_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(db.upstream_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		setsockopt(db.upstream_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		if (inet_pton(AF_INET, db.upstream_host, &sa.sin_addr) != 1 ||
		    connect(db.upstream_fd, (struct sockaddr *)&sa, sizeof sa) != 0)
			return false;
	}
	snprintf(text, sizeof text, "PULL %s %" PRIu64 "\n", db.node, db.position);
	say(db.upstream_fd, text);
	n = recv(db.upstream_fd, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%u %" SCNu64 " %39s", &timeline, &position, system_id) != 3 || strcmp(system_id, db.system_id) != 0 ||
	    timeline < db.timeline || position < db.position)
		return false; /* another database, or one that lacks what this one has */
	if (position != db.position || timeline != db.timeline) {
		db.position = position;
		db.timeline = timeline;
		save("running");
	}
	db.received_ms = clock_now_ms();
	return true;
}

static void tick(void)
{
	int64_t now_ms = clock_now_ms();

	if (db.is_primary || db.upstream_port == 0 || now_ms < db.next_pull_ms)
		return;
	db.next_pull_ms = now_ms + PULL_EVERY_MS;
	db.is_receiving = pull();
	if (!db.is_receiving)
		drop_upstream();
}

static int listen_at(unsigned port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 16) != 0) {
		fprintf(stderr, "FATAL: port %u: %s\n", port, strerror(errno));
		exit(1);
	}
	return fd;
}

static void accept_client(int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	unsigned i;

	for (i = 0; i < MAX_CLIENTS && fd >= 0; i++) {
		if (db.clients[i].fd >= 0)
			continue;
		db.clients[i] = (struct client){.fd = fd};
		return;
	}
	if (fd >= 0)
		close(fd);
}

/* A clean stop hands everything to the standbys that are there. */
static bool are_standbys_current(void)
{
	int64_t now_ms = clock_now_ms();
	unsigned i;

	for (i = 0; db.is_primary && i < MAX_STANDBYS; i++)
		if (db.standbys[i].name[0] != '\0' && now_ms - db.standbys[i].seen_ms < STREAMING_MS &&
		    db.standbys[i].position < db.position)
			return false;
	return true;
}

static void run(int listen_fd)
{
	struct pollfd p[MAX_CLIENTS + 1];
	int64_t until_ms = 0;
	unsigned i;

	while (stop_signal == 0 || (!are_standbys_current() && clock_now_ms() < until_ms)) {
		if (stop_signal == 0)
			until_ms = clock_now_ms() + STOP_LIMIT_MS;
		for (i = 0; i < MAX_CLIENTS; i++)
			p[i] = (struct pollfd){db.clients[i].fd, POLLIN, 0};
		p[MAX_CLIENTS] = (struct pollfd){listen_fd, POLLIN, 0};
		poll(p, MAX_CLIENTS + 1, PULL_EVERY_MS);
		for (i = 0; i < MAX_CLIENTS; i++)
			if (p[i].revents != 0 && db.clients[i].fd >= 0)
				read_client(&db.clients[i]);
		if (p[MAX_CLIENTS].revents != 0)
			accept_client(listen_fd);
		tick();
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	uint64_t port;
	unsigned i;

	if (argc != 5 || chdir(argv[1]) != 0 || str_to_u64(argv[2], "port", 1, 65535, &port, NULL) != ERR_OK) {
		fprintf(stderr, "usage: mha-fakedb DATA_DIR PORT NODE ROLE_FILE\n");
		return 2;
	}
	db.node = argv[3];
	db.role_file = argv[4];
	for (i = 0; i < MAX_CLIENTS; i++)
		db.clients[i].fd = -1;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGQUIT, &sa, NULL);
	load();
	load_role();
	save("running");
	run(listen_at((unsigned)port));
	save("clean");
	return 0;
}
