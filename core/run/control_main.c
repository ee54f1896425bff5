/* The control process: builds its parts, runs the loop, turns what arrives into events. */
#include "core/run/control_main.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/save.h"
#include "core/base/vip_msg.h"
#include "core/run/control.h"
#include "core/run/restart.h"
#include "core/run/trust.h"
#include "core/run/trust_files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define EXIT_CONFIG     78
#define HOUSEKEEPING_MS 100
#define ALONE_MS        10000
#define STOP_LIMIT_MS   8000

static bool is_same_machine_vip(const struct config *c)
{
	return c->vips_count > 0 || c->instances_count > 0;
}

static uint64_t random_u64(void)
{
	uint64_t v = 0;

	while (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v)
		;
	return v & INT64_MAX; /* it travels as a JSON integer */
}

/* --- voter set on disk: a restarted control process starts from the newest set it ever knew --- */

static void voters_path(const struct control *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s/store/voters", c->config->state_dir);
}

static void load_voters(struct control *c)
{
	char path[512], line[1024] = "", names[900];
	struct voter_set v = {0};
	FILE *f;

	voters_path(c, path, sizeof path);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(line, sizeof line, f) != NULL && sscanf(line, "%" SCNu64 " %899s", &v.number, names) == 2) {
		if (codec_set_parse(c->config, names, &v.members))
			agent_set_voters(c->agent, &v);
	}
	fclose(f);
}

bool control_save_voters(struct control *c)
{
	const struct voter_set *v = agent_voters(c->agent);
	char names[900], line[960], path[512];
	struct err e = ERR_INIT;

	voters_path(c, path, sizeof path);
	snprintf(line, sizeof line, "%" PRIu64 " %s\n", v->number,
	         codec_set_format(c->config, v->members, names, sizeof names));
	if (v->number == 0 || save_file(path, line, strlen(line), 0640, &e) == ERR_OK)
		return true;
	if (c->is_set_saved)
		log_error("membership", "voter set %" PRIu64 " cannot be kept: %s -> this node grants no leases until it can",
		          v->number, e.text);
	return false;
}

/* --- this node as a member --- */

void control_set_hello(struct control *c)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s}", "cluster", c->config->cluster, "node", c->config->node, "address",
	                      c->config->address, "uuid", c->member.uuid);
	char *json = json_dumps(o, JSON_COMPACT);

	link_set_hello(c->hub, json);
	free(json);
	json_decref(o);
}

static void start_agent(struct control *c)
{
	struct agent_node nodes[MAX_NODES];
	struct agent_instance *instances = mem_alloc((c->config->instances_count + 1) * sizeof *instances);
	struct agent_setup s = {.profile = c->member.profile,
	                        .self = c->self,
	                        .node_count = (int)c->config->nodes_count,
	                        .nodes = nodes,
	                        .instance_count = (int)c->config->instances_count,
	                        .instances = instances,
	                        .incarnation = random_u64(),
	                        .has_vipd = c->vipd != NULL};
	unsigned i;

	nodes_fill_agent(c, nodes);
	for (i = 0; i < c->config->instances_count; i++) {
		str_copy(instances[i].group, sizeof instances[i].group, c->config->instances[i].group);
		instances[i].port = c->config->instances[i].port;
	}
	c->agent = agent_new(&s, clock_now_ms());
	c->is_set_saved = true;
	free(instances);
	load_voters(c);
}

static void tell_agent_what_is_up(struct control *c)
{
	struct agent_event e = {.now_ms = clock_now_ms()};
	unsigned i;

	for (i = 0; i < c->config->instances_count; i++) {
		if (!child_sock_is_up(c->dbds[i].sock))
			continue;
		e.type = AGENT_DBD_UP;
		e.u.dbd.instance = (int)i;
		effects_agent(c, &e);
	}
	if (c->vipd != NULL && child_sock_is_up(c->vipd)) {
		e.type = AGENT_VIPD_UP;
		effects_agent(c, &e);
	}
}

bool control_load_member(struct control *c, struct err *e)
{
	char path[512];
	const char *uuid, *id, *profile, *address, *state;
	json_t *o;

	snprintf(path, sizeof path, "%s/store/node.json", c->config->state_dir);
	o = json_load_file(path, 0, NULL);
	if (o == NULL) {
		(void)err_set(e, ERR_NOTFOUND, "%s is not there yet", path);
		return false;
	}
	uuid = json_string_value(json_object_get(o, "cluster_uuid"));
	id = json_string_value(json_object_get(o, "id"));
	profile = json_string_value(json_object_get(o, "profile"));
	address = json_string_value(json_object_get(o, "address"));
	str_copy(c->member.raft_id, sizeof c->member.raft_id, id != NULL ? id : "");
	if (address != NULL)
		str_copy(c->member.raft_address, sizeof c->member.raft_address, address);
	else
		snprintf(c->member.raft_address, sizeof c->member.raft_address, "%s:%u", c->config->address,
		         c->config->ports.raft);
	/* "initialising": a backup may still be loaded, and when that fails the node is fresh again. */
	state = json_string_value(json_object_get(o, "state"));
	if (!c->member.is_member && (state == NULL || strcmp(state, "initialising") != 0) && uuid != NULL && uuid[0] != '\0' &&
	    profile != NULL && profile_find(profile) != NULL) {
		str_copy(c->member.uuid, sizeof c->member.uuid, uuid);
		c->member.profile = profile_find(profile);
		c->member.is_member = true;
		log_info("node", "member of cluster %s (%s), profile %s", c->config->cluster, uuid, profile);
		control_set_hello(c);
		start_agent(c);
		tell_agent_what_is_up(c);
	}
	json_decref(o);
	return c->member.is_member;
}

/* --- what arrives --- */

static void frame_came(void *arg, const char *peer, const char *json, size_t len)
{
	if (!forward_frame(arg, peer, json, len))
		effects_frame(arg, peer, json, len);
}

/* --- helpers on this host --- */

static void dbd_up(void *arg, pid_t pid)
{
	struct dbd_client *d = arg;
	struct agent_event e = {.type = AGENT_DBD_UP, .now_ms = clock_now_ms()};

	(void)pid;
	e.u.dbd.instance = d->index;
	nodes_tell_dbd(d->owner, d->index);
	effects_agent(d->owner, &e);
}

static void dbd_down(void *arg, const char *reason)
{
	struct dbd_client *d = arg;
	struct agent_event e = {.type = AGENT_DBD_DOWN, .now_ms = clock_now_ms()};

	log_warn("mha-dbd", "is away: %s", reason);
	e.u.dbd.instance = d->index;
	effects_agent(d->owner, &e);
}

static void dbd_message(void *arg, const void *msg)
{
	struct dbd_client *d = arg;
	const struct dbd_msg *m = msg;
	struct agent_event e = {.type = AGENT_DBD, .now_ms = clock_now_ms()};

	if (m->version != DBD_MSG_VERSION || !dbd_msg_is_sound(m))
		return;
	if (m->type == DBD_REPLY && m->rc != 0)
		log_debug("mha-dbd", "%s", m->text);
	e.u.dbd.instance = d->index;
	e.u.dbd.msg = m;
	effects_agent(d->owner, &e);
}

static void vipd_up(void *arg, pid_t pid)
{
	struct control *c = arg;
	struct agent_event e = {.type = AGENT_VIPD_UP, .now_ms = clock_now_ms()};
	struct vip_msg m;

	(void)pid;
	nodes_tell_vipd(c); /* before the first lease: replicas must reach a primary whose port opens */
	effects_agent(c, &e);
	memset(&m, 0, sizeof m);
	m.version = VIP_MSG_VERSION;
	m.type = VIP_STATUS;
	m.seq = 0x80000000U | ++c->vip_seq;
	str_copy(m.owner, sizeof m.owner, "leader");
	(void)child_sock_send(c->vipd, &m);
}

static void vipd_down(void *arg, const char *reason)
{
	struct control *c = arg;
	struct agent_event e = {.type = AGENT_VIPD_DOWN, .now_ms = clock_now_ms()};

	log_warn("mha-vipd", "is away: %s", reason);
	effects_agent(c, &e);
}

static void vipd_message(void *arg, const void *msg)
{
	struct control *c = arg;
	const struct vip_msg *m = msg;
	struct agent_event e = {.type = AGENT_VIP_REPLY, .now_ms = clock_now_ms()};

	if (m->version != VIP_MSG_VERSION)
		return;
	if (m->type == VIP_EVENT) {
		log_warn("vip", "%s: %s", m->owner, m->text);
		return;
	}
	if (m->owner[0] == '\0') { /* the list of peers */
		if (m->rc != 0)
			log_error("vip", "%s", m->text);
		return;
	}
	if (m->rc != 0)
		log_error("vip", "%s: %s", m->owner, m->text);
	e.u.vip.seq = m->seq;
	e.u.vip.rc = m->rc;
	e.u.vip.flags = m->flags;
	e.u.vip.owner = m->owner;
	e.u.vip.epoch = m->epoch;
	effects_agent(c, &e);
}

static void connect_helpers(struct control *c)
{
	struct child_handlers vh = {c, vipd_up, vipd_down, vipd_message};
	char path[108];
	unsigned i;

	c->dbds = mem_alloc((c->config->instances_count + 1) * sizeof *c->dbds);
	for (i = 0; i < c->config->instances_count; i++) {
		struct child_handlers dh = {&c->dbds[i], dbd_up, dbd_down, dbd_message};

		c->dbds[i].owner = c;
		c->dbds[i].index = (int)i;
		c->dbds[i].sock = child_sock_new(c->loop, config_path_dbd(c->config, c->config->instances[i].group, path),
		                                 sizeof(struct dbd_msg), &dh);
	}
	if (is_same_machine_vip(c->config))
		c->vipd = child_sock_new(c->loop, config_path_vipd(c->config, path), sizeof(struct vip_msg), &vh);
}

/* --- store --- */

static void store_connected(void *arg)
{
	struct control *c = arg;

	store_session_query(c->store, "LISTEN mha_leader", 5000, NULL, NULL);
	nodes_tell_store(c);
	upgrade_connected(c);
}

static void store_disconnected(void *arg, const char *reason)
{
	struct control *c = arg;

	log_warn("store", "the session is gone: %s", reason);
	c->is_leader = false;
	c->leader_change = 0;
	if (c->leadership != LEADERSHIP_NONE)
		leadership_lost(c, "the store's session is gone");
}

static void store_notified(void *arg, const char *channel, const char *payload)
{
	if (strcmp(channel, "mha_leader") == 0)
		leadership_notified(arg, payload);
}

/* --- time --- */

/* A node that nobody links with waits for ever; the administrator should not have to guess why. */
static void say_alone(struct control *c, int64_t now)
{
	unsigned i;

	if (c->is_alone_said || c->config->nodes_count < 2 || now - c->start_ms < ALONE_MS)
		return;
	c->is_alone_said = true;
	for (i = 0; i < c->config->nodes_count; i++)
		if (link_is_up(c->hub, c->config->nodes[i].name))
			return;
	if (c->member.is_member)
		log_warn("node",
		         "no other node has linked with this one: are they up, is this host cut off, or was node %s removed "
		         "from the "
		         "cluster meanwhile?",
		         c->config->node);
	else
		log_warn("node", "no other node has linked with this one: are they up, and do they know %s at %s?",
		         c->config->node, c->config->address);
}

static void work_time(struct control *c)
{
	struct agent_event ae = {.type = AGENT_TICK, .now_ms = clock_now_ms()};
	struct event ce = {.type = EVENT_TICK, .now_ms = ae.now_ms};

	if (!c->member.is_member) {
		if (!control_load_member(c, NULL))
			effects_fresh_heartbeat(c);
	} else {
		effects_agent(c, &ae);
		if (!c->is_set_saved)
			c->is_set_saved = control_save_voters(c);
	}
	say_alone(c, ae.now_ms);
	if (peers_is_outcast(c, ae.now_ms))
		control_exit(c, EXIT_CONFIG);
	effects_controller(c, &ce);
	leadership_tick(c);
	if (!c->is_stopping)
		store_watch_tick(&c->store_watch, c->config, ae.now_ms);
	membership_tick(c->membership);
	nodes_tick(c);
	trust_tick(c);
	upgrade_tick(c);
	disk_tick(c);
	backups_tick(c->backups);
	forward_tick(c, ae.now_ms);
	if (c->is_stopping && (c->agent == NULL || agent_is_stopped(c->agent) || ae.now_ms - c->stop_ms > STOP_LIMIT_MS))
		uv_stop(c->loop);
}

static void timer_fired(uv_timer_t *t)
{
	struct control *c = t->data;

	work_time(c);
	control_arm(c);
}

void control_arm(struct control *c)
{
	int64_t now = clock_now_ms(), when = now + HOUSEKEEPING_MS;

	if (c->agent != NULL && agent_deadline(c->agent) < when)
		when = agent_deadline(c->agent);
	if (c->ctl != NULL && ctl_deadline(c->ctl) < when)
		when = ctl_deadline(c->ctl);
	if (c->is_leader && c->leadership == LEADERSHIP_NONE && c->retry_ms > now && c->retry_ms < when)
		when = c->retry_ms;
	uv_update_time(c->loop);
	uv_timer_start(&c->timer, timer_fired, when > now ? (uint64_t)(when - now) : 0, 0);
}

void control_exit(struct control *c, int code)
{
	c->exit_code = code;
	uv_stop(c->loop);
}

void control_stop(struct control *c, int code)
{
	struct agent_event e = {.type = AGENT_STOP, .now_ms = clock_now_ms()};

	if (c->is_stopping)
		return;
	log_info("node", "stopping");
	c->exit_code = code;
	c->is_stopping = true;
	c->stop_ms = e.now_ms;
	effects_agent(c, &e);
	if (c->leadership != LEADERSHIP_NONE)
		leadership_lost(c, "this node stops");
	control_arm(c);
}

static void stop_asked(uv_signal_t *s, int signum)
{
	(void)signum;
	control_stop(s->data, 0);
}

static int start(struct control *c, struct err *e)
{
	struct link_handlers lh = {c, frame_came, peers_up, peers_down, peers_refused, peers_hello, api_request};
	struct store_handlers sh = {c, store_connected, store_disconnected, store_notified};
	int rc;

	uv_timer_init(c->loop, &c->timer);
	uv_signal_init(c->loop, &c->sigterm);
	uv_signal_init(c->loop, &c->sigint);
	c->timer.data = c->sigterm.data = c->sigint.data = c;
	c->membership = membership_new(c);
	c->trust = trust_new(c);
	trust_files_repair(c->config);
	c->backups = backups_new(c);
	nodes_start(c);
	c->forwards = forwards_new();
	rc = link_start(c->loop, c->config, &lh, &c->hub, e);
	if (rc != ERR_OK)
		return rc;
	control_set_hello(c);
	connect_helpers(c);
	(void)control_load_member(c, NULL);
	c->store = store_session_new(c->loop, c->config, "mha", &sh);
	uv_signal_start(&c->sigterm, stop_asked, SIGTERM);
	uv_signal_start(&c->sigint, stop_asked, SIGINT);
	control_arm(c);
	return ERR_OK;
}

static void finish(struct control *c)
{
	unsigned i;

	ctl_free(c->ctl);
	agent_free(c->agent);
	agent_update_done(&c->agent_update);
	membership_free(c->membership);
	store_watch_done(&c->store_watch);
	trust_free(c->trust);
	backups_free(c->backups);
	forwards_free(c->forwards);
	for (i = 0; i < c->config->nodes_count; i++)
		free(c->last[i].json);
	free(c->revoked);
	free(c->dbds);
	free(c);
}

int control_main(struct config *config)
{
	struct control *c = mem_alloc(sizeof *c);
	struct err e = ERR_INIT;
	int code;

	signal(SIGPIPE, SIG_IGN);
	c->config = config;
	c->loop = uv_default_loop();
	c->store_watch = (struct store_watch)STORE_WATCH_INIT;
	restart_open();
	c->self = codec_node(config, config->node);
	c->self_tail = &c->self_head;
	c->start_ms = clock_now_ms();
	if (start(c, &e) != ERR_OK) {
		log_error("node", "%s", e.text);
		return e.code == ERR_INVAL ? EXIT_CONFIG : 1; /* waiting does not make the files fit */
	}
	uv_run(c->loop, UV_RUN_DEFAULT);
	if (c->hub != NULL)
		link_stop(c->hub);
	store_session_close(c->store);
	code = c->exit_code;
	finish(c);
	return code;
}
