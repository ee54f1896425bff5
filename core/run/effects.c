/* From decisions to deeds: the only place where the pure cores' actions meet sockets. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/vip_msg.h"
#include "core/run/control.h"
#include "core/run/restart.h"
#include "core/run/trust.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENT_MS 2000

static void deliver(struct control *c, const char *peer, const char *json, size_t len);

/* Frames to this node itself go the same way as all others, one after the other, never from inside a step. */
static void drain_self(struct control *c)
{
	if (c->is_delivering)
		return;
	c->is_delivering = true;
	while (c->self_head != NULL) {
		struct self_frame *f = c->self_head;

		c->self_head = f->next;
		if (c->self_head == NULL)
			c->self_tail = &c->self_head;
		deliver(c, c->config->node, f->json, strlen(f->json));
		free(f->json);
		free(f);
	}
	c->is_delivering = false;
}

void effects_send(struct control *c, int node, char *json)
{
	if (node == c->self) {
		struct self_frame *f = mem_alloc(sizeof *f);

		f->json = json;
		*c->self_tail = f;
		c->self_tail = &f->next;
		return;
	}
	/* A peer that cannot be reached misses this frame; the next heartbeat says it all again. */
	(void)link_send(c->hub, c->config->nodes[node].name, json, strlen(json));
	free(json);
}

static void send_to_all(struct control *c, const char *json)
{
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++)
		effects_send(c, (int)i, mem_strdup(json));
}

static void fill_extra(const struct control *c, struct hb_extra *x)
{
	memset(x, 0, sizeof *x);
	if (c->member.is_member)
		str_copy(x->cluster_uuid, sizeof x->cluster_uuid, c->member.uuid);
	if (c->member.profile != NULL)
		str_copy(x->profile, sizeof x->profile, c->member.profile->name);
	str_copy(x->raft_id, sizeof x->raft_id, c->member.raft_id);
	str_copy(x->raft_address, sizeof x->raft_address, c->member.raft_address);
	x->schema = c->schema.known;
	x->schema_store = c->schema.store;
	x->disk_free_mb = c->disk.free_mb;
	x->disk_percent = c->disk.percent;
}

static void send_heartbeat(struct control *c, const struct heartbeat *hb)
{
	struct hb_extra x;
	char *json;

	fill_extra(c, &x);
	json = codec_heartbeat(c->config, hb, &x);
	send_to_all(c, json);
	free(json);
}

void effects_fresh_heartbeat(struct control *c)
{
	struct heartbeat hb = {.node = c->self, .is_arbiter = config_is_arbiter(c->config)};

	send_heartbeat(c, &hb);
}

void control_fill_address(struct vip_addr *a, const char *text)
{
	struct in_addr v4;

	memset(a, 0, sizeof *a);
	if (inet_pton(AF_INET, text, &v4) == 1) {
		a->ip[10] = a->ip[11] = 0xff;
		memcpy(a->ip + 12, &v4, sizeof v4);
		return;
	}
	if (inet_pton(AF_INET6, text, a->ip) != 1)
		log_error("vip", "address \"%s\" is no address", text);
}

static void send_vip(struct control *c, const struct agent_action *x)
{
	struct vip_msg m;
	int i;

	memset(&m, 0, sizeof m);
	m.version = VIP_MSG_VERSION;
	m.type = x->type == AGENT_SEND_VIP_LEASE ? VIP_LEASE : VIP_RELEASE;
	m.seq = x->seq;
	m.epoch = x->value;
	m.deadline_ns = x->deadline_ms * CLOCK_NS_PER_MS;
	str_copy(m.owner, sizeof m.owner, x->resource);
	if (m.type == VIP_LEASE) {
		m.addr_count = (uint16_t)x->u.vip.addr_count;
		m.port_count = (uint16_t)x->u.vip.port_count;
		for (i = 0; i < x->u.vip.addr_count; i++)
			control_fill_address(&m.addrs[i], x->u.vip.addrs[i]);
		for (i = 0; i < x->u.vip.port_count; i++)
			m.ports[i] = x->u.vip.ports[i];
	}
	if (c->vipd != NULL)
		(void)child_sock_send(c->vipd, &m); /* an unanswered request is noticed by the agent */
}

void effects_leader_vips(struct control *c, uint64_t generation, int64_t deadline_ms)
{
	struct vip_msg m;
	int i;

	if (c->leader_vip_count == 0 || c->vipd == NULL)
		return;
	memset(&m, 0, sizeof m);
	m.version = VIP_MSG_VERSION;
	m.type = deadline_ms > 0 ? VIP_LEASE : VIP_RELEASE;
	m.seq = 0x80000000U | ++c->vip_seq;
	m.epoch = generation;
	m.deadline_ns = deadline_ms * CLOCK_NS_PER_MS;
	str_copy(m.owner, sizeof m.owner, "leader");
	m.addr_count = deadline_ms > 0 ? (uint16_t)c->leader_vip_count : 0;
	for (i = 0; i < m.addr_count; i++)
		control_fill_address(&m.addrs[i], c->leader_vips[i]);
	(void)child_sock_send(c->vipd, &m);
}

static void store_lease(struct control *c, const struct agent_action *x)
{
	char sql[128];

	if (c->leadership != LEADERSHIP_ACTIVE || x->value != c->generation)
		return;
	snprintf(sql, sizeof sql, "SET mha.lease = '%" PRIu64 " %" PRId64 "'", x->value, x->deadline_ms * CLOCK_NS_PER_MS);
	store_session_query(c->store, sql, STATEMENT_MS, NULL, NULL);
	effects_leader_vips(c, x->value, x->deadline_ms);
}

static void kill_helper(const char *name, const struct child_sock *sock)
{
	restart_ask(name, sock != NULL ? child_sock_peer(sock) : 0, "does not answer");
}

static void kill_dbd(const struct control *c, int index)
{
	char name[56];

	snprintf(name, sizeof name, "dbd %s", c->config->instances[index].group);
	kill_helper(name, c->dbds[index].sock);
}

static void agent_effect(struct control *c, const struct agent_action *x)
{
	switch (x->type) {
	case AGENT_SEND_HEARTBEAT:
		send_heartbeat(c, agent_heartbeat(c->agent));
		break;
	case AGENT_SAVE_VOTERS:
		c->is_set_saved = control_save_voters(c);
		break;
	case AGENT_SEND_REPLY:
		if (c->is_set_saved)
			effects_send(c, x->node, codec_reply(c->config, &x->u.reply));
		break;
	case AGENT_SEND_RELEASE: {
		char *json = codec_release(x->resource, x->value);

		send_to_all(c, json);
		free(json);
		break;
	}
	case AGENT_SEND_DBD:
		(void)child_sock_send(c->dbds[x->index].sock, &x->u.dbd); /* a guard that is away is reported down */
		break;
	case AGENT_SEND_VIP_LEASE:
	case AGENT_SEND_VIP_RELEASE:
		send_vip(c, x);
		break;
	case AGENT_STORE_LEASE:
		store_lease(c, x);
		break;
	case AGENT_KILL_VIPD:
		kill_helper("vipd", c->vipd);
		break;
	case AGENT_KILL_DBD:
		kill_dbd(c, x->index);
		break;
	case AGENT_LOG: {
		char obj[NAME_SIZE + 8];

		snprintf(obj, sizeof obj, "group %.*s", NAME_SIZE - 1, x->resource);
		log_info(obj, "%s", x->u.text);
		break;
	}
	}
}

void effects_agent(struct control *c, const struct agent_event *e)
{
	size_t i;

	if (c->agent == NULL)
		return;
	agent_step(c->agent, e, &c->agent_update);
	for (i = 0; i < c->agent_update.count; i++)
		agent_effect(c, &c->agent_update.actions[i]);
	drain_self(c);
	control_arm(c);
}

static void controller_effect(struct control *c, const struct action *a)
{
	switch (a->type) {
	case ACTION_ORDER:
		effects_send(c, a->node, codec_order(c->config, &a->order));
		break;
	case ACTION_REPLY:
		api_reply(c, a);
		break;
	case ACTION_TRANSFER:
		leadership_transfer(c, a->node, "the primary is there");
		break;
	}
}

void effects_controller(struct control *c, const struct event *e)
{
	const struct update *u = &c->ctl_update;
	size_t i;

	if (c->ctl == NULL)
		return;
	ctl_step(c->ctl, e, &c->ctl_update);
	for (i = 0; i < u->commit_count; i++)
		persist_commit(c, &u->commits[i]);
	for (i = 0; i < u->action_count && c->ctl != NULL; i++)
		controller_effect(c, &u->actions[i]);
	drain_self(c);
	control_arm(c);
}

static void keep_last(struct control *c, int node, const char *json, size_t len)
{
	struct last_heartbeat *l = &c->last[node];

	free(l->json);
	l->json = mem_alloc(len + 1);
	memcpy(l->json, json, len);
	l->at_ms = clock_now_ms();
	l->generation = c->frame.heartbeat.generation;
	l->extra = c->frame.extra;
	if (l->incarnation != c->frame.heartbeat.incarnation) {
		l->incarnation = c->frame.heartbeat.incarnation;
		l->incarnation_since_ms = l->at_ms;
	}
}

static void heartbeat_came(struct control *c, int node, const char *json, size_t len)
{
	int64_t now = clock_now_ms();
	struct agent_event ae = {.type = AGENT_HEARTBEAT, .now_ms = now};
	struct event ce = {.type = EVENT_HEARTBEAT, .now_ms = now};

	keep_last(c, node, json, len);
	/* A node that is not a member yet has nothing to vote on and no instances. */
	if (c->frame.extra.cluster_uuid[0] == '\0' || !c->member.is_member)
		return;
	upgrade_heard(c, node);
	ce.u.heartbeat = &c->frame.heartbeat;
	effects_controller(c, &ce);
	ae.u.heartbeat = &c->frame.heartbeat;
	effects_agent(c, &ae);
}

static bool is_join_frame(struct control *c, const char *json, size_t len)
{
	json_t *o = json_loadb(json, len, 0, NULL);
	const char *type = json_string_value(json_object_get(o, "t"));
	bool is_join = type != NULL && strcmp(type, "join") == 0;
	const char *uuid = json_string_value(json_object_get(o, "uuid"));
	const char *profile = json_string_value(json_object_get(o, "profile"));

	if (is_join && uuid != NULL && profile != NULL)
		membership_joined(c, uuid, profile);
	json_decref(o);
	return is_join;
}

static void deliver(struct control *c, const char *peer, const char *json, size_t len)
{
	struct agent_event e = {.now_ms = clock_now_ms()};
	int node = codec_node(c->config, peer);
	struct err err = ERR_INIT;

	if (node == NODE_NONE)
		return;
	if (nodes_frame(c, peer, json, len) || trust_frame(c, node, json, len) ||
	    (!c->member.is_member && is_join_frame(c, json, len)))
		return;
	if (codec_decode(c->config, peer, json, len, &c->frame, &err) != ERR_OK) {
		log_warn("peer", "%s sent a frame that cannot be read: %s", peer, err.text);
		return;
	}
	switch (c->frame.type) {
	case FRAME_HEARTBEAT:
		heartbeat_came(c, node, json, len);
		return;
	case FRAME_REPLY:
		e.type = AGENT_LEASE_REPLY;
		e.u.reply = &c->frame.reply;
		break;
	case FRAME_ORDER:
		e.type = AGENT_ORDER;
		e.u.order = &c->frame.order;
		break;
	case FRAME_RELEASE:
		e.type = AGENT_RELEASE;
		memcpy(e.u.release.resource, c->frame.release.resource, sizeof e.u.release.resource);
		e.u.release.value = c->frame.release.value;
		break;
	}
	effects_agent(c, &e);
}

void effects_frame(struct control *c, const char *peer, const char *json, size_t len)
{
	deliver(c, peer, json, len);
	drain_self(c);
}
