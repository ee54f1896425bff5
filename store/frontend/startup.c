#include "store/frontend/startup.h"

#include "store/frontend/gate.h"
#include "store/frontend/relay.h"
#include "store/frontend/session.h"

#include <string.h>

#define CONTROL_NAME "mha-control"

static void refuse(struct session *s, const char *sqlstate, const char *text)
{
	struct sqlerr e = SQLERR_INIT;

	sqlerr_set(&e, sqlstate, "%s", text);
	session_end(s, &e);
}

/* --- the greeting --- */

static void greet(struct session *s)
{
	size_t start = msg_begin(&s->out, 'R');

	msg_put_i32(&s->out, 0); /* authenticated */
	msg_end(&s->out, start);
	settings_report(&s->settings, &s->out);
	start = msg_begin(&s->out, 'K');
	msg_put_i32(&s->out, s->pid);
	msg_put_i32(&s->out, s->secret);
	msg_end(&s->out, start);
	session_timer_stop(s);
	s->phase = SESSION_READY;
	session_ready(s);
	session_resume(s);
}

/* --- here or relayed --- */

static void route_gate_cb(struct session *s, bool is_open);

static void route(struct session *s)
{
	const struct node_leader *l = node_leader(s->f->node);

	if (s->is_admin || gate_is_open(s, GATE_LEADER))
		greet(s);
	else if (l->id != 0 && !l->is_self && !s->was_relayed && node_cluster_uuid(s->f->node)[0] != '\0')
		relay_start(s);
	else
		gate_wait(s, s->was_relayed ? GATE_LEADER : GATE_KNOWN, FRONTEND_WAIT_MS, route_gate_cb);
}

static void route_gate_cb(struct session *s, bool is_open)
{
	struct sqlerr e = SQLERR_INIT;

	if (is_open) {
		route(s);
		return;
	}
	gate_error(s, GATE_LEADER | GATE_KNOWN, &e);
	session_end(s, &e);
}

/* --- the startup packet --- */

static struct database *find_database(struct frontend *f, const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(f->databases) / sizeof(f->databases[0]); i++)
		if (strcmp(f->databases[i].name, name) == 0)
			return &f->databases[i];
	return NULL;
}

/* One name and value. False when the session has ended over it. */
static bool take_parameter(struct session *s, const char *name, const char *value, const char **ret_database)
{
	struct sqlerr e = SQLERR_INIT;
	bool is_reported;

	if (strcmp(name, "user") == 0) {
		str_copy(s->user, sizeof(s->user), value);
	} else if (strcmp(name, "database") == 0) {
		*ret_database = value;
	} else if (strcmp(name, "replication") == 0) {
		refuse(s, "0A000", "replication connections are not supported: the store replicates by itself");
		return false;
	} else if (strcmp(name, "options") != 0 && strncmp(name, "_pq_.", 5) != 0 &&
	           settings_set(&s->settings, name, value, &is_reported, &e) != ERR_OK) {
		session_end(s, &e);
		return false;
	}
	return true;
}

static void set_identity(struct session *s)
{
	struct sqlerr e = SQLERR_INIT;
	bool is_reported;

	/* The control process: the same user, over the unix socket (store/admin.h, DESIGN section 2). */
	s->is_control =
	        s->is_unix && s->is_own_user && strcmp(settings_get(&s->settings, "application_name"), CONTROL_NAME) == 0;
	if (settings_set(&s->settings, "session_authorization", s->user, &is_reported, &e) != ERR_OK ||
	    settings_set(&s->settings, "is_superuser", s->is_admin ? "on" : "off", &is_reported, &e) != ERR_OK)
		refuse(s, "28000", "the user name cannot be used");
}

static void begin(struct session *s, struct msg_in *m, const char *raw, size_t size)
{
	const char *database = NULL, *name;
	struct sqlerr e = SQLERR_INIT;

	while (m->len > 1 && !m->is_bad) {
		name = msg_get_string(m);
		if (name[0] == '\0')
			break;
		if (!take_parameter(s, name, msg_get_string(m), &database))
			return;
	}
	if (m->is_bad || s->user[0] == '\0') {
		refuse(s, m->is_bad ? "08P01" : "28000",
		       m->is_bad ? "the startup packet is cut short" : "the startup packet names no user");
		return;
	}
	if (database == NULL || database[0] == '\0')
		database = s->user;
	s->db = find_database(s->f, database);
	if (s->db == NULL) {
		sqlerr_set(&e, "3D000",
		           "database \"%.64s\" does not exist: connect to \"config\" (or \"mha\", the cluster's own)",
		           database);
		session_end(s, &e);
		return;
	}
	set_identity(s);
	if (s->phase >= SESSION_ENDING)
		return;
	s->startup = mem_alloc(size);
	memcpy(s->startup, raw, size);
	s->startup_len = size;
	s->phase = SESSION_ROUTING;
	s->is_busy = true;
	session_timer_stop(s); /* what follows has limits of its own */
	route(s);
}

/* CancelRequest: no answer, whatever it does. */
static void cancel(struct session *s, struct msg_in *m)
{
	int32_t pid = msg_get_i32(m), secret = msg_get_i32(m);
	struct session *other, *found = NULL;

	TAILQ_FOREACH(other, &s->f->sessions, link)
	if (!m->is_bad && other->phase == SESSION_READY && other->pid == pid && other->secret == secret)
		found = other;
	session_close(s);
	if (found != NULL)
		exec_cancel(found);
}

void startup_handle(struct session *s, struct msg_in *m, const char *raw, size_t size)
{
	int32_t code = msg_get_i32(m);

	if (code == MSG_SSL || code == MSG_GSSENC) {
		buf_add(&s->out, "N", 1);
		session_flush(s);
	} else if (code == MSG_CANCEL) {
		cancel(s, m);
	} else if (code == MSG_STARTUP_V3) {
		begin(s, m, raw, size);
	} else {
		refuse(s, "0A000", "this frontend protocol is not supported: use version 3.0");
	}
}
