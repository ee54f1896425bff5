#include "drivers/guard.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/seqsock.h"
#include "core/base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MS                      CLOCK_NS_PER_MS
#define REPORT_EVERY_MS         200
#define REPORT_NOW_LIMIT_MS     100
#define STOP_FAST_LIMIT_MS      60000
#define STOP_IMMEDIATE_LIMIT_MS 10000
#define STOP_IMMEDIATE_KILL_MS  3000
#define STOP_PROBE_LIMIT_MS     2000

static void close_control(struct guard *g, const char *why)
{
	if (g->control_fd < 0)
		return;
	log_info(g->obj, "the control process is disconnected: %s", why);
	close(g->control_fd);
	g->control_fd = -1;
	g->report_now_seq = 0;
	if (g->verb.type != 0)
		g->verb.seq = 0; /* the verb goes on; nobody is there to be told */
}

void control_accept(struct guard *g)
{
	struct err e = ERR_INIT;
	struct seq_peer peer;
	int fd;

	if (seq_accept(g->listen_fd, &fd, &peer, &e) != ERR_OK || fd < 0)
		return;
	if (peer.uid != 0 && peer.uid != geteuid() && peer.uid != g->control_uid) {
		log_warn(g->obj, "process %d of uid %d may not give orders here: refused", (int)peer.pid, (int)peer.uid);
		close(fd);
		return;
	}
	close_control(g, "another one has connected");
	if (guard_watch(g, fd, GUARD_CONTROL, &e) != ERR_OK) {
		close(fd);
		return;
	}
	g->control_fd = fd;
	log_info(g->obj, "process %d gives the orders now", (int)peer.pid);
	control_report(g);
}

static int32_t age_ms(int64_t since_ns, int64_t now_ns)
{
	int64_t age = (now_ns - since_ns) / MS;

	return age > INT32_MAX ? INT32_MAX : (int32_t)age;
}

/* What the workers saw, completed by what the guard knows at this instant. */
static void fill_report(const struct guard *g, struct dbd_report *r)
{
	const struct lease *l = g->lease.map;
	int64_t now_ns = clock_now_ns();

	*r = g->report;
	r->process = g->server.phase;
	r->verb = (uint8_t)g->verb.type;
	r->verb_seconds = g->verb.type != 0 ? (uint32_t)((now_ns - g->verb.since_ns) / (1000 * MS)) : 0;
	r->probe_age_ms = g->probed_at_ns != 0 ? age_ms(g->probed_at_ns, now_ns) : -1;
	r->received_age_ms = -1;
	if (g->probed_at_ns != 0 && g->received_age_ms >= 0)
		r->received_age_ms = g->received_age_ms + age_ms(g->received_at_ns, now_ns);
	r->epoch = l->seen_epoch;
	r->promoted_epoch = l->promoted_epoch;
	r->sync_since = r->role == DBD_ROLE_PRIMARY ? l->sync_since : 0;
}

static void send_msg(struct guard *g, struct dbd_msg *m)
{
	struct err e = ERR_INIT;

	if (g->control_fd < 0)
		return;
	m->version = DBD_MSG_VERSION;
	fill_report(g, &m->report);
	/* A reader that is behind may lose a report, never a reply: it would wait for ever. */
	if (seq_send(g->control_fd, m, sizeof *m, &e) != ERR_OK && (e.code != ERR_TIMEOUT || m->type == DBD_REPLY))
		close_control(g, e.text);
}

void control_report(struct guard *g)
{
	struct dbd_msg m = {.type = DBD_REPORT};

	g->next_report_ns = clock_now_ns() + REPORT_EVERY_MS * MS;
	send_msg(g, &m);
}

static void reply(struct guard *g, uint32_t seq, int rc, const char *text)
{
	struct dbd_msg m = {.type = DBD_REPLY, .seq = seq, .rc = rc};

	str_copy(m.text, sizeof m.text, text);
	if (seq != 0)
		send_msg(g, &m);
}

void control_verb_done(struct guard *g, int rc, const char *text)
{
	const char *name = driver_verb_name(g->verb.type);
	int32_t took_ms = age_ms(g->verb.since_ns, clock_now_ns());
	uint32_t seq = g->verb.seq;
	char reason[256];

	snprintf(reason, sizeof reason, "%s%s%.220s", rc != ERR_OK ? name : "", rc != ERR_OK ? ": " : "", text);
	memset(&g->verb, 0, sizeof g->verb);
	str_copy(g->report.last_error, sizeof g->report.last_error, rc != ERR_OK ? reason : "");
	if (rc == ERR_OK)
		log_info(g->obj, "%s done in %d ms%s%s", name, took_ms, text[0] != '\0' ? ": " : "", text);
	else
		log_warn(g->obj, "%s failed after %d ms: %s", name, took_ms, text);
	control_report(g);
	reply(g, seq, rc, rc != ERR_OK ? reason : text);
}

static void on_lease(struct guard *g, const struct dbd_msg *m)
{
	struct lease *l = g->lease.map;
	int64_t expires_ns;
	struct err e = ERR_INIT;
	int rc = lease_expiry(m->deadline_ns, m->grace_ms, clock_now_ns(), &expires_ns, &e);

	if (rc == ERR_OK) {
		l->expires_ns = expires_ns;
		server_check_lease(g);
	}
	reply(g, m->seq, rc, e.text);
}

static void on_report_now(struct guard *g, const struct dbd_msg *m)
{
	if (g->report_now_seq != 0)
		reply(g, g->report_now_seq, ERR_OK, "");
	g->report_now_seq = m->seq;
	g->report_now_until_ns = clock_now_ns() + REPORT_NOW_LIMIT_MS * MS;
	g->next_probe_ns = 0;
}

static void on_peers(struct guard *g, const struct dbd_msg *m)
{
	struct peer_list named;
	struct err e = ERR_INIT;
	int rc = peer_list_take(m, &named, &e);

	if (rc == ERR_OK && (!g->has_peers || !peer_list_is_same(&named, &g->peers))) {
		g->peers = named;
		g->has_peers = g->has_peers_due = true;
		g->peers_at_ns = 0;
	}
	reply(g, m->seq, rc, e.text);
}

static void begin_verb(struct guard *g, const struct dbd_msg *m)
{
	g->verb = (struct pending){.type = m->type, .seq = m->seq, .since_ns = clock_now_ns()};
}

/* The one verb that needs no worker, so that it works whatever hangs. */
static void on_stop(struct guard *g, const struct dbd_msg *m)
{
	bool is_fast = m->mode == DBD_STOP_FAST;
	int64_t now_ns = clock_now_ns();

	if (m->mode != DBD_STOP_FAST && m->mode != DBD_STOP_IMMEDIATE) {
		reply(g, m->seq, ERR_INVAL, "stop: the mode is neither fast nor immediate");
		return;
	}
	if (g->verb.type == DBD_STOP)
		control_verb_done(g, ERR_REFUSED, "replaced by a newer stop order");
	else if (g->verb.type != 0) {
		helper_kill(g, &g->worker, "interrupted by a stop order");
		helper_start(g, &g->worker);
	}
	g->run.type = 0;
	begin_verb(g, m);
	g->verb.until_ns = now_ns + (is_fast ? STOP_FAST_LIMIT_MS : STOP_IMMEDIATE_LIMIT_MS) * MS;
	if (g->server.pid == 0) {
		g->verb.is_waiting_probe = true;
		g->next_probe_ns = 0;
	} else {
		server_stop(g, is_fast ? g->driver->fast_signal : g->driver->immediate_signal, GUARD_NEVER,
		            is_fast ? GUARD_NEVER : now_ns + STOP_IMMEDIATE_KILL_MS * MS);
	}
}

/* Before the order goes out: from here on the server may become writable, and its time is limited already. */
static int license_promotion(struct guard *g, const struct dbd_msg *m, struct err *e)
{
	int64_t now_ns = clock_now_ns(), expires_ns;
	int64_t deadline_ns = m->deadline_ns != 0 ? m->deadline_ns : now_ns + m->grace_ms * MS;
	int rc = lease_expiry(deadline_ns, m->deadline_ns != 0 ? m->grace_ms : 0, now_ns, &expires_ns, e);

	if (rc != ERR_OK)
		return rc;
	if (expires_ns <= now_ns)
		return err_set(e, ERR_REFUSED,
		               "the lease that comes with the order has already ended: give a later deadline, or grace_ms");
	g->verb.was_writable = g->lease.map->may_write != 0;
	g->lease.map->expires_ns = expires_ns;
	g->lease.map->may_write = 1;
	server_check_lease(g);
	return ERR_OK;
}

static void on_verb(struct guard *g, const struct dbd_msg *m)
{
	const struct driver_verb *v = driver_verb_of(g->driver, m->type);
	struct work_msg ask = {.type = WORK_VERB};
	struct err e = ERR_INIT;
	char text[128];

	if (g->verb.type != 0) {
		snprintf(text, sizeof text, "busy with %s", driver_verb_name(g->verb.type));
		reply(g, m->seq, ERR_REFUSED, text);
		return;
	}
	if (g->is_exiting) {
		reply(g, m->seq, ERR_REFUSED, "mha-dbd is being stopped");
		return;
	}
	begin_verb(g, m);
	log_info(g->obj, "%s ordered, epoch %llu%s%s", driver_verb_name(m->type), (unsigned long long)m->epoch,
	         m->peer_node[0] != '\0' ? ", peer " : "", m->peer_node);
	if (m->type == DBD_PROMOTE && license_promotion(g, m, &e) != ERR_OK) {
		control_verb_done(g, (int)e.code, e.text);
		return;
	}
	if (!helper_is_up(&g->worker))
		helper_start(g, &g->worker);
	ask.order = *m;
	control_report(g);
	if (!helper_ask(g, &g->worker, &ask, v->limit_ms) && g->verb.type != 0)
		control_verb_done(g, ERR_TIMEOUT, "no worker can be started; see the log of mha-dbd");
}

/* The newest epoch counts from the moment it is heard of. The lease file keeps it if the guard dies, the worker writes it to
 * disk. */
static int check_epoch(struct guard *g, const struct dbd_msg *m, struct err *e)
{
	struct work_msg tell = {.type = WORK_EPOCH};
	struct lease *l = g->lease.map;

	if (m->epoch < l->seen_epoch)
		return err_set(e, ERR_REFUSED, "epoch %llu is older than %llu, the newest seen here",
		               (unsigned long long)m->epoch, (unsigned long long)l->seen_epoch);
	if (m->epoch > l->seen_epoch) {
		l->seen_epoch = m->epoch;
		helper_ask(g, &g->worker, &tell, 0);
	}
	return ERR_OK;
}

static void on_request(struct guard *g, const struct dbd_msg *m)
{
	struct err e = ERR_INIT;

	if (m->version != DBD_MSG_VERSION || m->seq == 0 || !dbd_msg_is_sound(m)) {
		reply(g, m->seq, ERR_PROTOCOL, "a malformed request");
	} else if (m->type == DBD_REPORT_NOW) {
		on_report_now(g, m);
	} else if (m->type == DBD_PEERS) {
		on_peers(g, m);
	} else if (m->type != DBD_LEASE && m->type != DBD_STOP && driver_verb_of(g->driver, m->type) == NULL) {
		reply(g, m->seq, ERR_PROTOCOL, "an unknown type of request");
	} else if (check_epoch(g, m, &e) != ERR_OK) {
		reply(g, m->seq, (int)e.code, e.text);
	} else if (m->type == DBD_LEASE) {
		on_lease(g, m);
	} else if (m->type == DBD_STOP) {
		on_stop(g, m);
	} else {
		on_verb(g, m);
	}
}

void control_on_readable(struct guard *g)
{
	struct err e = ERR_INIT;
	struct dbd_msg m;
	int rc, fd = g->control_fd;

	while (g->control_fd == fd && fd >= 0) {
		rc = seq_recv(fd, &m, sizeof m, &e);
		if (rc == ERR_TIMEOUT)
			return;
		if (rc != ERR_OK)
			close_control(g, e.text);
		else
			on_request(g, &m);
	}
}

void control_tick(struct guard *g, int64_t now_ns)
{
	uint32_t seq = g->report_now_seq;

	if (g->verb.type == DBD_STOP && g->verb.is_waiting_probe && g->verb.until_ns > now_ns + STOP_PROBE_LIMIT_MS * MS)
		g->verb.until_ns = now_ns + STOP_PROBE_LIMIT_MS * MS;
	if (g->verb.type == DBD_STOP && now_ns >= g->verb.until_ns) {
		if (g->verb.is_waiting_probe)
			control_verb_done(g, ERR_OK, "stopped, but its files could not be read yet");
		else
			control_verb_done(g, ERR_TIMEOUT,
			                  "the server has not ended yet: give it longer, or stop it with mode immediate");
	}
	if (seq != 0 && now_ns >= g->report_now_until_ns) {
		g->report_now_seq = 0;
		control_report(g);
		reply(g, seq, ERR_OK, "");
	}
	if (now_ns >= g->next_report_ns)
		control_report(g);
}

int64_t control_due_ns(const struct guard *g)
{
	int64_t due = g->next_report_ns;

	if (g->verb.type == DBD_STOP && g->verb.until_ns < due)
		due = g->verb.until_ns;
	if (g->report_now_seq != 0 && g->report_now_until_ns < due)
		due = g->report_now_until_ns;
	return due;
}
