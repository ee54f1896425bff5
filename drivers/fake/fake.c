#include "drivers/fake/fake.h"

#include "core/base/clock.h"
#include "drivers/file.h"
#include "drivers/procs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK_LIMIT_MS   300
#define START_LIMIT_MS 5000
#define LINE_SIZE      1024
#define ROLE_FILE      "role"

/* What ROLE_FILE holds: "node host port sync_count sync_members", "-" for an empty word. */
struct fake_role {
	char node[DBD_NAME_SIZE], host[DBD_HOST_SIZE];
	unsigned port, sync_count;
	char sync_members[DBD_MAX_STANDBYS * DBD_NAME_SIZE];
};

struct fake_status {
	char role[16], system_id[DBD_NAME_SIZE], sync_members[DBD_MAX_STANDBYS * DBD_NAME_SIZE], standbys[512];
	unsigned timeline;
	uint64_t position;
	int is_receiving;
	long long age_ms;
};

static char *data_path(const struct driver_ctx *ctx, const char *name, char *buf)
{
	snprintf(buf, DRIVER_PATH_SIZE, "%s/%s", ctx->inst->data_dir, name);
	return buf;
}

static bool is_fenced(const struct config_instance *inst)
{
	char path[DRIVER_PATH_SIZE];

	snprintf(path, sizeof path, "%s/fenced", inst->data_dir);
	return file_exists(path);
}

/* One line to a server, one line back. */
static int ask(const char *host, unsigned port, const char *line, char *answer, struct err *e)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval limit = {0, ASK_LIMIT_MS * 1000};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n = -1;

	if (fd < 0)
		return err_sys(e, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (inet_pton(AF_INET, host, &sa.sin_addr) == 1 && connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
	    dprintf(fd, "%s\n", line) > 0)
		n = recv(fd, answer, LINE_SIZE - 1, 0);
	close(fd);
	if (n <= 0)
		return err_set(e, ERR_UNREACHABLE, "the server at %s:%u does not answer", host, port);
	answer[n] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	return ERR_OK;
}

static int ask_own(const struct driver_ctx *ctx, const char *line, char *answer, struct err *e)
{
	return ask("127.0.0.1", ctx->inst->port, line, answer, e);
}

static int read_status(const struct driver_ctx *ctx, struct fake_status *ret, struct err *e)
{
	char line[LINE_SIZE];
	struct fake_status s = {0};
	char *sync, *standbys;
	int rc = ask_own(ctx, "STATUS", line, e);

	if (rc != ERR_OK)
		return rc;
	sync = strchr(line, '|');
	standbys = sync != NULL ? strchr(sync + 1, '|') : NULL;
	if (standbys == NULL || sscanf(line, "%15s %u %" SCNu64 " %39s %d %lld", s.role, &s.timeline, &s.position, s.system_id,
	                               &s.is_receiving, &s.age_ms) != 6)
		return err_set(e, ERR_PROTOCOL, "the server's status is not understood");
	*standbys = '\0';
	str_copy(s.sync_members, sizeof s.sync_members, sync + 1);
	str_copy(s.standbys, sizeof s.standbys, standbys + 1);
	*ret = s;
	return ERR_OK;
}

static void read_role(const struct driver_ctx *ctx, struct fake_role *ret)
{
	char path[DRIVER_PATH_SIZE];
	FILE *f = fopen(driver_path(ctx, ROLE_FILE, path), "re");

	memset(ret, 0, sizeof *ret);
	if (f == NULL)
		return;
	if (fscanf(f, "%39s %63s %u %u %319s", ret->node, ret->host, &ret->port, &ret->sync_count, ret->sync_members) != 5)
		memset(ret, 0, sizeof *ret);
	fclose(f);
	if (strcmp(ret->node, "-") == 0)
		ret->node[0] = '\0';
	if (strcmp(ret->sync_members, "-") == 0)
		ret->sync_members[0] = '\0';
}

static const char *word(const char *s)
{
	return s[0] != '\0' ? s : "-";
}

static int write_role(const struct driver_ctx *ctx, const struct fake_role *r, struct err *e)
{
	char path[DRIVER_PATH_SIZE], text[LINE_SIZE], answer[LINE_SIZE];
	int rc;

	snprintf(text, sizeof text, "%s %s %u %u %s\n", word(r->node), word(r->host), r->node[0] != '\0' ? r->port : 0,
	         r->sync_count, word(r->sync_members));
	rc = file_update(driver_path(ctx, ROLE_FILE, path), text, NULL, e);
	return rc == ERR_OK && ctx->server_pid != 0 ? ask_own(ctx, "RELOAD", answer, e) : rc;
}

static int set_upstream(struct fake_role *r, const struct dbd_msg *order, struct err *e)
{
	if (order->peer_node[0] == '\0' || order->peer_port == 0)
		return err_set(e, ERR_INVAL, "the order names no peer to receive from");
	str_copy(r->node, sizeof r->node, order->peer_node);
	str_copy(r->host, sizeof r->host, order->peer_host);
	r->port = order->peer_port;
	return ERR_OK;
}

static int read_control(const struct driver_ctx *ctx, struct fake_status *ret, bool *ret_clean, struct err *e)
{
	char path[DRIVER_PATH_SIZE], state[16];
	FILE *f = fopen(data_path(ctx, "fake_control", path), "re");
	int n;

	if (f == NULL)
		return err_set(e, ERR_REFUSED, "\"%s\" holds no database: create or rebuild this instance",
		               ctx->inst->data_dir);
	n = fscanf(f, "%39s %u %" SCNu64 " %15s", ret->system_id, &ret->timeline, &ret->position, state);
	fclose(f);
	*ret_clean = n == 4 && strcmp(state, "clean") == 0;
	return n == 4 ? ERR_OK : err_set(e, ERR_IO, "\"%s\" is damaged", path);
}

static int write_control(const struct driver_ctx *ctx, const struct fake_status *s, struct err *e)
{
	char path[DRIVER_PATH_SIZE], text[128];

	snprintf(text, sizeof text, "%s %u %" PRIu64 " clean\n", s->system_id, s->timeline, s->position);
	return file_write(data_path(ctx, "fake_control", path), text, strlen(text), e);
}

static int check_system_id(const struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct fake_status s;
	bool is_clean;
	int rc;

	if (order->system_id[0] == '\0')
		return ERR_OK;
	rc = read_control(ctx, &s, &is_clean, e);
	if (rc == ERR_OK && strcmp(s.system_id, order->system_id) != 0)
		return err_set(e, ERR_REFUSED,
		               "data directory \"%s\" belongs to another database (system identifier %s, the group's is %s)",
		               ctx->inst->data_dir, s.system_id, order->system_id);
	return rc;
}

static int set_fenced(const struct driver_ctx *ctx, struct err *e)
{
	char path[DRIVER_PATH_SIZE];

	return file_update(data_path(ctx, "fenced", path), "", NULL, e);
}

/* In bin_dir, or beside this program when bin_dir exists without it (its default belongs to PostgreSQL). */
static int find_program(const struct driver_ctx *ctx, char *buf, struct err *e)
{
	char self[DRIVER_PATH_SIZE] = "";
	char *slash;

	snprintf(buf, DRIVER_PATH_SIZE, "%s/mha-fakedb", ctx->inst->bin_dir);
	if (access(buf, X_OK) == 0)
		return ERR_OK;
	if (file_exists(ctx->inst->bin_dir) && readlink("/proc/self/exe", self, sizeof self - 1) > 0 &&
	    (slash = strrchr(self, '/')) != NULL) {
		*slash = '\0';
		snprintf(buf, DRIVER_PATH_SIZE, "%.*s/mha-fakedb", DRIVER_PATH_SIZE - 16, self);
		if (access(buf, X_OK) == 0)
			return ERR_OK;
	}
	return err_set(e, ERR_NOTFOUND,
	               "program \"%s/mha-fakedb\" is missing: set bin_dir of the instance of group \"%s\" in node.yaml",
	               ctx->inst->bin_dir, ctx->inst->group);
}

static int require_role(const struct driver_ctx *ctx, const char *wanted, struct err *e)
{
	struct fake_status s;
	int rc;

	if (ctx->server_pid == 0)
		return err_set(e, ERR_REFUSED, "the server is stopped");
	rc = read_status(ctx, &s, e);
	if (rc == ERR_OK && strcmp(s.role, wanted) != 0)
		return err_set(e, ERR_REFUSED, "the server is running as a %s: stop it first", s.role);
	return rc;
}

static int wait_answering(const struct driver_ctx *ctx, struct err *e)
{
	int64_t until_ms = clock_now_ms() + START_LIMIT_MS;
	struct fake_status s;
	int rc;

	while ((rc = read_status(ctx, &s, e)) != ERR_OK && clock_now_ms() < until_ms) {
		if (!procs_is_server(ctx->server_pid, ctx->inst->data_dir, "mha-fakedb") && kill(ctx->server_pid, 0) != 0)
			return err_set(e, ERR_IO, "the server ended while it was starting: see %s/server.log", ctx->state_dir);
		usleep(5000);
	}
	return rc;
}

static int start(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char program[DRIVER_PATH_SIZE], port[8], role_path[DRIVER_PATH_SIZE];
	const char *argv[] = {program, ctx->inst->data_dir, port, ctx->cfg->node, role_path, NULL};
	struct fake_role r;
	int rc;

	if (ctx->server_pid != 0) {
		rc = require_role(ctx, "replica", e);
		if (rc != ERR_OK || order->peer_node[0] == '\0')
			return rc;
	}
	read_role(ctx, &r);
	r.node[0] = '\0';
	if ((rc = find_program(ctx, program, e)) != ERR_OK || (rc = check_system_id(ctx, order, e)) != ERR_OK ||
	    (order->type != DBD_PROMOTE && order->peer_node[0] != '\0' && (rc = set_upstream(&r, order, e)) != ERR_OK) ||
	    (rc = write_role(ctx, &r, e)) != ERR_OK || ctx->server_pid != 0 || (rc = set_fenced(ctx, e)) != ERR_OK)
		return rc;
	snprintf(port, sizeof port, "%u", ctx->inst->port);
	driver_path(ctx, ROLE_FILE, role_path);
	rc = ctx->run_server(ctx, argv, e);
	return rc == ERR_OK ? wait_answering(ctx, e) : rc;
}

static int follow(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	if (order->peer_node[0] == '\0')
		return err_set(e, ERR_INVAL, "the order names no peer to receive from");
	return start(ctx, order, e);
}

static int create(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char program[DRIVER_PATH_SIZE], path[DRIVER_PATH_SIZE];
	struct fake_status s = {.timeline = 1, .position = 1};
	uint64_t id;
	int rc;

	if (ctx->server_pid != 0)
		return err_set(e, ERR_REFUSED, "the server is running: stop it first");
	if ((rc = find_program(ctx, program, e)) != ERR_OK || (rc = file_make_dirs(ctx->inst->data_dir, 0700, e)) != ERR_OK)
		return rc;
	if (file_exists(data_path(ctx, "fake_control", path)))
		return (rc = check_system_id(ctx, order, e)) == ERR_OK ? set_fenced(ctx, e) : rc;
	if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
		return err_sys(e, errno, "getrandom");
	snprintf(s.system_id, sizeof s.system_id, "%" PRIu64, id);
	rc = set_fenced(ctx, e);
	return rc == ERR_OK ? write_control(ctx, &s, e) : rc;
}

static int set_sync(struct driver_ctx *ctx, const struct dbd_msg *order, bool is_promotion, struct err *e)
{
	struct fake_role r;

	read_role(ctx, &r);
	if (is_promotion)
		r.node[0] = '\0';
	str_copy(r.sync_members, sizeof r.sync_members, order->sync_members);
	r.sync_count = order->sync_count;
	return write_role(ctx, &r, e);
}

static int note_since(struct driver_ctx *ctx, struct err *e)
{
	struct fake_status s;
	int rc = read_status(ctx, &s, e);

	if (rc == ERR_OK)
		ctx->sync_since = s.position;
	return rc;
}

static int promote(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char answer[LINE_SIZE];
	int rc = ctx->server_pid == 0 ? start(ctx, order, e) : check_system_id(ctx, order, e);

	if (rc != ERR_OK || (rc = set_sync(ctx, order, true, e)) != ERR_OK)
		return rc;
	ctx->is_committed = true;
	rc = ask_own(ctx, "PROMOTE", answer, e);
	return rc == ERR_OK ? note_since(ctx, e) : rc;
}

static int sync_set(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	int rc = require_role(ctx, "primary", e);

	if (rc == ERR_OK)
		rc = set_sync(ctx, order, false, e);
	return rc == ERR_OK ? note_since(ctx, e) : rc;
}

static int detach(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	struct fake_role r;
	int rc = require_role(ctx, "replica", e);

	(void)order;
	read_role(ctx, &r);
	r.node[0] = '\0';
	return rc == ERR_OK ? write_role(ctx, &r, e) : rc;
}

static int checkpoint(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	(void)order;
	return ctx->server_pid != 0 ? ERR_OK : err_set(e, ERR_REFUSED, "the server is stopped");
}

/* Rewind and rebuild come to the same here: take over the peer's state. */
static int copy_peer(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	char line[LINE_SIZE];
	struct fake_status s = {0};
	struct fake_role r;
	int rc;

	if (ctx->server_pid != 0)
		return err_set(e, ERR_REFUSED, "the server is running: stop it first");
	read_role(ctx, &r);
	if ((rc = set_upstream(&r, order, e)) != ERR_OK ||
	    (rc = ask(order->peer_host, order->peer_port, "STATUS", line, e)) != ERR_OK)
		return rc;
	if (sscanf(line, "%15s %u %" SCNu64 " %39s", s.role, &s.timeline, &s.position, s.system_id) != 4)
		return err_set(e, ERR_PROTOCOL, "node \"%s\": its status is not understood", order->peer_node);
	if (order->system_id[0] != '\0' && strcmp(s.system_id, order->system_id) != 0)
		return err_set(e, ERR_REFUSED, "node \"%s\" serves another database (system identifier %s, the group's is %s)",
		               order->peer_node, s.system_id, order->system_id);
	if ((rc = file_make_dirs(ctx->inst->data_dir, 0700, e)) != ERR_OK || (rc = set_fenced(ctx, e)) != ERR_OK ||
	    (rc = write_control(ctx, &s, e)) != ERR_OK)
		return rc;
	return write_role(ctx, &r, e);
}

static int rewind_copy(struct driver_ctx *ctx, const struct dbd_msg *order, struct err *e)
{
	int rc = check_system_id(ctx, order, e);

	return rc == ERR_OK ? copy_peer(ctx, order, e) : rc;
}

static void take_standbys(char *list, const char *sync_members, struct dbd_report *ret)
{
	char *save = NULL, *item;

	for (item = strtok_r(list, ",", &save); item != NULL && ret->standby_count < DBD_MAX_STANDBYS;
	     item = strtok_r(NULL, ",", &save)) {
		struct dbd_standby *s = &ret->standbys[ret->standby_count];

		if (sscanf(item, "%39[^:]:%" SCNu64, s->name, &s->flushed) != 2)
			continue;
		s->is_streaming = 1;
		s->is_sync = strstr(sync_members, s->name) != NULL;
		ret->standby_count++;
	}
}

static void probe_running(struct driver_ctx *ctx, const struct fake_role *r, struct dbd_report *ret)
{
	struct fake_status s;

	if (read_status(ctx, &s, NULL) != ERR_OK)
		return;
	ret->is_accepting = 1;
	ret->role = strcmp(s.role, "primary") == 0 ? DBD_ROLE_PRIMARY : DBD_ROLE_REPLICA;
	ret->position = s.position;
	ret->timeline = s.timeline;
	str_copy(ret->system_id, sizeof ret->system_id, s.system_id);
	if (ret->role == DBD_ROLE_REPLICA) {
		ret->is_receiving = s.is_receiving != 0;
		ret->received_age_ms = s.age_ms >= 0 && s.is_receiving ? (int32_t)s.age_ms : -1;
		ret->is_detached = r->node[0] == '\0';
	} else {
		str_copy(ret->sync_members, sizeof ret->sync_members, s.sync_members);
		take_standbys(s.standbys, s.sync_members, ret);
	}
}

static void probe(struct driver_ctx *ctx, struct dbd_report *ret)
{
	struct fake_status s;
	struct fake_role r;
	bool is_clean;

	read_role(ctx, &r);
	str_copy(ret->upstream, sizeof ret->upstream, r.node);
	if (ctx->server_pid != 0) {
		probe_running(ctx, &r, ret);
	} else if (read_control(ctx, &s, &is_clean, NULL) == ERR_OK) {
		ret->process = DBD_PROC_STOPPED;
		ret->position = s.position;
		ret->timeline = s.timeline;
		ret->is_clean = is_clean;
		str_copy(ret->system_id, sizeof ret->system_id, s.system_id);
	} else {
		ret->process = DBD_PROC_ABSENT;
	}
	snprintf(ret->position_text, sizeof ret->position_text, "%" PRIu64, ret->position);
}

static int open_driver(struct driver_ctx *ctx, struct err *e)
{
	(void)ctx;
	(void)e;
	return ERR_OK;
}

static void close_driver(struct driver_ctx *ctx)
{
	(void)ctx;
}

const struct driver driver_fake = {
        .name = "fake",
        .fast_signal = SIGINT,
        .immediate_signal = SIGQUIT,
        .program = "mha-fakedb",
        .is_fenced = is_fenced,
        .open = open_driver,
        .close = close_driver,
        .probe = probe,
        .create = {create, 10000},
        .start = {start, 10000},
        .promote = {promote, 10000},
        .follow = {follow, 10000},
        .detach = {detach, 10000},
        .sync_set = {sync_set, 10000},
        .checkpoint = {checkpoint, 10000},
        .rewind = {rewind_copy, 10000},
        .rebuild = {copy_peer, 10000},
};
