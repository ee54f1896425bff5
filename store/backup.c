#include "store/backup.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "store/backup_job.h"
#include "store/dq.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DUMP_TIMEOUT_MS 600000
#define COMMAND_MS      900000

struct backup {
	uv_loop_t *loop;
	const struct config *config;
	const struct node *node;
	struct dq *dq;
	bool (*is_valid)(void *arg);
	void *judge_arg;
	struct backup_status status;
	struct backup_job *job; /* while one runs */
	unsigned dumped;        /* databases */
	int64_t start_ms;
	uv_work_t work;
	uv_process_t process; /* the operator's command */
	uv_timer_t limit;     /* of the command */
	bool is_timed_out;
	bool is_closing;
	unsigned parts_open;
	void (*done)(void *arg);
	void *done_arg;
};

const char *backup_state_name(enum backup_state s)
{
	static const char *const names[] = {"none", "running", "ok", "failed"};

	return names[s];
}

const struct backup_status *backup_status(const struct backup *b)
{
	return &b->status;
}

void backup_set_judge(struct backup *b, bool (*is_valid)(void *arg), void *arg)
{
	b->is_valid = is_valid;
	b->judge_arg = arg;
}

/* --- end --- */

static void part_closed(struct backup *b)
{
	if (--b->parts_open > 0)
		return;
	if (b->done != NULL)
		b->done(b->done_arg);
	free(b);
}

static void timer_closed_cb(uv_handle_t *h)
{
	part_closed(h->data);
}

static void dq_closed_cb(void *arg)
{
	part_closed(arg);
}

static void close_all(struct backup *b)
{
	b->parts_open = 2;
	uv_close((uv_handle_t *)&b->limit, timer_closed_cb);
	dq_close(b->dq, dq_closed_cb, b);
}

static void end(struct backup *b, const struct err *e)
{
	struct backup_status *s = &b->status;
	struct backup_job *j = b->job;

	s->took_ms = clock_now_ms() - b->start_ms;
	s->state = e->code == 0 ? BACKUP_OK : BACKUP_FAILED;
	str_copy(s->reason, sizeof s->reason, e->code == 0 ? "" : e->text);
	if (e->code == 0)
		log_info("backup", "%s: %" PRIu64 " bytes, checked, in %" PRId64 " ms; %u old ones removed", s->path, s->bytes,
		         s->took_ms, j->removed);
	else
		log_error("backup", "failed: %s", e->text);
	for (unsigned i = 0; i < BACKUP_PARTS; i++)
		free(j->data[i]);
	free(j);
	b->job = NULL;
	if (b->is_closing)
		close_all(b);
}

/* --- the operator's command --- */

static void process_closed_cb(uv_handle_t *h)
{
	struct backup *b = h->data;
	struct err e = b->job->e;

	end(b, &e);
}

static void exit_cb(uv_process_t *p, int64_t status, int number)
{
	struct backup *b = p->data;

	uv_timer_stop(&b->limit);
	if (b->is_timed_out)
		err_set(&b->job->e, ERR_TIMEOUT, "%s is written, but backup.command did not end within %d min and was killed",
		        b->status.path, COMMAND_MS / 60000);
	else if (number != 0)
		err_set(&b->job->e, ERR_IO, "%s is written, but backup.command ended with signal %d", b->status.path, number);
	else if (status != 0)
		err_set(&b->job->e, ERR_IO, "%s is written, but backup.command ended with exit status %d: see the log",
		        b->status.path, (int)status);
	uv_close((uv_handle_t *)p, process_closed_cb);
}

static void limit_cb(uv_timer_t *t)
{
	struct backup *b = t->data;

	b->is_timed_out = true;
	(void)kill(-b->process.pid, SIGKILL); /* its whole session */
}

static void run_command(struct backup *b)
{
	char *command = b->config->backup.command;
	const char *slash = strrchr(b->status.path, '/');
	char *argv[] = {(char *)"/bin/sh", (char *)"-c", command, (char *)"mha-backup", (char *)slash + 1, NULL};
	int fd = open(b->status.path, O_RDONLY | O_CLOEXEC);
	uv_stdio_container_t stdio[] = {{.flags = UV_INHERIT_FD, .data.fd = fd},
	                                {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
	                                {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}};
	uv_process_options_t o = {.file = argv[0],
	                          .args = argv,
	                          .exit_cb = exit_cb,
	                          .stdio = stdio,
	                          .stdio_count = 3,
	                          .flags = UV_PROCESS_DETACHED};
	int rc;

	b->is_timed_out = false;
	b->process.data = b;
	rc = fd < 0 ? UV_EIO : uv_spawn(b->loop, &b->process, &o);
	if (fd >= 0)
		close(fd);
	if (rc == 0) {
		uv_timer_start(&b->limit, limit_cb, COMMAND_MS, 0);
		return;
	}
	err_set(&b->job->e, ERR_IO, "%s is written, but backup.command could not be started: %s", b->status.path,
	        uv_strerror(rc));
	uv_close((uv_handle_t *)&b->process, process_closed_cb);
}

/* --- the file --- */

static void work_cb(uv_work_t *w)
{
	struct backup *b = w->data;

	backup_job_run(b->job);
}

static void worked_cb(uv_work_t *w, int status)
{
	struct backup *b = w->data;
	struct err e = b->job->e;

	(void)status;
	if (e.code == 0) {
		b->status.bytes = b->job->bytes;
		str_copy(b->status.path, sizeof b->status.path, b->job->path);
	}
	if (e.code == 0 && b->config->backup.command != NULL && !b->is_closing)
		run_command(b);
	else
		end(b, &e);
}

/* --- the databases --- */

static void fail(struct backup *b, int code, const char *text)
{
	struct err e = ERR_INIT;

	err_set(&e, code, "%s", text);
	end(b, &e);
}

static int take_dump(struct backup *b, const struct dq_result *r, struct err *e)
{
	struct backup_part *p = &b->job->info.parts[b->dumped];
	const struct dq_value *data = r->row_count > 0 ? &r->values[1] : NULL;

	if (r->code == DQ_NO_DATABASE) {
		b->job->data[b->dumped] = mem_alloc(1); /* as empty as a new one */
		return 0;
	}
	if (r->code != 0)
		return err_set(e, ERR_SQL, "database %s cannot be read: %s (code %d)", p->name, r->message, r->code);
	if (data == NULL || strcmp(r->values[0].u.s.data, p->name) != 0)
		return err_set(e, ERR_PROTOCOL, "database %s: the store node sent something else", p->name);
	/* The second file is the write-ahead log. dqlite folds it into the first one. */
	if (r->row_count > 1 && r->values[3].u.s.len > 0)
		return err_set(e, ERR_PROTOCOL,
		               "database %s came with a write-ahead log of %zu bytes, which this version cannot take", p->name,
		               r->values[3].u.s.len);
	b->job->data[b->dumped] = malloc(data->u.s.len + 1);
	if (b->job->data[b->dumped] == NULL)
		return err_set(e, ERR_NOMEM, "database %s has %zu bytes: there is not enough memory", p->name, data->u.s.len);
	memcpy(b->job->data[b->dumped], data->u.s.data, data->u.s.len);
	p->bytes = data->u.s.len;
	return 0;
}

static void dumped_cb(void *arg, const struct dq_result *r)
{
	struct backup *b = arg;
	struct err e = ERR_INIT;

	if (b->is_closing) {
		fail(b, ERR_REFUSED, "the store is stopping");
		return;
	}
	if (take_dump(b, r, &e) != 0) {
		end(b, &e);
		return;
	}
	if (++b->dumped < BACKUP_PARTS) {
		dq_dump(b->dq, b->job->info.parts[b->dumped].name, dumped_cb, b);
		return;
	}
	b->status.dump_ms = clock_now_ms() - b->start_ms;
	/* A deposed leader's databases may lack acknowledged writes. */
	if (b->is_valid != NULL && !b->is_valid(b->judge_arg)) {
		fail(b, ERR_REFUSED, "this node lost the controller's lease while its databases were read: run it again");
		return;
	}
	b->work.data = b;
	uv_queue_work(b->loop, &b->work, work_cb, worked_cb);
}

static struct backup_job *job_new(const struct backup *b, uint64_t revision)
{
	struct backup_job *j = mem_alloc(sizeof *j);
	struct backup_info *i = &j->info;

	j->config = b->config;
	str_copy(i->cluster, sizeof i->cluster, b->config->cluster);
	str_copy(i->uuid, sizeof i->uuid, node_cluster_uuid(b->node));
	str_copy(i->node, sizeof i->node, node_name(b->node));
	str_copy(i->program, sizeof i->program, MHA_VERSION);
	str_copy(i->parts[0].name, sizeof i->parts[0].name, "config");
	str_copy(i->parts[1].name, sizeof i->parts[1].name, "mha");
	i->revision = revision;
	i->at_ms = clock_wall_ms();
	return j;
}

int backup_start(struct backup *b, const char *to, uint64_t revision, struct err *e)
{
	struct backup_job *j;
	int rc;

	if (b->job != NULL)
		return err_set(e, ERR_REFUSED, "a backup is being made already: wait for its end (mha-shell store status)");
	if (b->is_valid != NULL && !b->is_valid(b->judge_arg))
		return err_set(e, ERR_REFUSED, "this node does not hold the controller's lease: ask the leader's node");
	j = job_new(b, revision);
	rc = backup_job_place(j, to, e);
	if (rc != 0) {
		free(j);
		return rc;
	}
	b->job = j;
	b->dumped = 0;
	b->start_ms = clock_now_ms();
	b->status = (struct backup_status){.state = BACKUP_RUNNING, .revision = revision, .at_ms = j->info.at_ms};
	dq_dump(b->dq, j->info.parts[0].name, dumped_cb, b);
	return 0;
}

/* --- life --- */

struct backup *backup_new(uv_loop_t *loop, const struct config *c, const struct node *n)
{
	struct backup *b = mem_alloc(sizeof *b);

	b->loop = loop;
	b->config = c;
	b->node = n;
	b->dq = dq_new(loop, node_local_address(n), NULL);
	dq_set_timeout(b->dq, DUMP_TIMEOUT_MS);
	uv_timer_init(loop, &b->limit);
	b->limit.data = b;
	return b;
}

void backup_close(struct backup *b, void (*done)(void *arg), void *arg)
{
	b->is_closing = true;
	b->done = done;
	b->done_arg = arg;
	if (b->job == NULL)
		close_all(b);
	else if (uv_is_active((uv_handle_t *)&b->limit))
		limit_cb(&b->limit);
	else if (b->dumped < BACKUP_PARTS)
		dq_reset(b->dq); /* the DUMP fails, and with it the backup */
}
