/* Who the nodes are. The roster in the store is the truth; the controller reads it, every node keeps it on disk and passes it
 * on: to a peer as the first frame of a link, to all peers when it has changed. So no frame ever names a node that its receiver
 * has not been told of. With it goes the list of revoked certificates. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/save.h"
#include "core/base/vip_msg.h"
#include "core/run/control.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATEMENT_MS 3000
#define EX_CONFIG    78
#define FAREWELL_MS  500
#define FRAME_HEAD   "{\"t\":\"roster\""
#define REVOKED_MAX  4096 /* serials */

/* --- what the other programs of this host make of it --- */

static void fill_peers(const struct control *c, struct dbd_msg *d, struct vip_msg *v)
{
	unsigned i;

	for (i = 0; i < c->config->nodes_count && d->peer_count < DBD_MAX_PEERS; i++) {
		const struct config_node *n = &c->config->nodes[i];

		if (n->is_removed || strcmp(n->role, "arbiter") == 0)
			continue;
		str_copy(d->peers[d->peer_count++], sizeof d->peers[0], n->address);
		control_fill_address(&v->addrs[v->addr_count++], n->address);
	}
}

static void make_peers(struct control *c, struct dbd_msg *d, struct vip_msg *v)
{
	memset(d, 0, sizeof *d);
	memset(v, 0, sizeof *v);
	d->version = DBD_MSG_VERSION;
	d->type = DBD_PEERS;
	v->version = VIP_MSG_VERSION;
	v->type = VIP_PEERS;
	d->seq = v->seq = 0x80000000U | ++c->vip_seq; /* a number space that the agent does not use */
	fill_peers(c, d, v);
}

void nodes_tell_dbd(struct control *c, int index)
{
	struct dbd_msg d;
	struct vip_msg v;

	make_peers(c, &d, &v);
	(void)child_sock_send(c->dbds[index].sock, &d); /* a guard that is away is told when it is back */
}

void nodes_tell_vipd(struct control *c)
{
	struct dbd_msg d;
	struct vip_msg v;

	make_peers(c, &d, &v);
	(void)child_sock_send(c->vipd, &v);
}

void nodes_tell_store(struct control *c)
{
	if (c->store != NULL && c->roster.number > 0)
		store_session_query(c->store, "CALL mha_roster()", STATEMENT_MS, NULL, NULL);
}

static void tell_host(struct control *c)
{
	unsigned i;

	for (i = 0; c->dbds != NULL && i < c->config->instances_count; i++)
		if (child_sock_is_up(c->dbds[i].sock))
			nodes_tell_dbd(c, (int)i);
	if (c->vipd != NULL && child_sock_is_up(c->vipd))
		nodes_tell_vipd(c);
	nodes_tell_store(c);
}

void nodes_fill_agent(const struct control *c, struct agent_node *nodes)
{
	unsigned i;

	memset(nodes, 0, MAX_NODES * sizeof *nodes);
	for (i = 0; i < c->config->nodes_count; i++) {
		str_copy(nodes[i].name, sizeof nodes[i].name, c->config->nodes[i].name);
		str_copy(nodes[i].host, sizeof nodes[i].host, c->config->nodes[i].address);
		nodes[i].is_arbiter = strcmp(c->config->nodes[i].role, "arbiter") == 0;
	}
}

/* --- the frame --- */

static char *make_frame(const struct control *c)
{
	char *roster = roster_format(&c->roster);
	struct buf b = {0};

	buf_printf(&b, FRAME_HEAD ",\"roster\":%s,\"revoked\":%s}", roster, c->revoked != NULL ? c->revoked : "[]");
	free(roster);
	return b.data;
}

void nodes_link_up(struct control *c, const char *peer)
{
	char *frame;

	if (c->roster.number == 0)
		return;
	frame = make_frame(c);
	(void)link_send(c->hub, peer, frame, strlen(frame));
	free(frame);
}

static void tell_peers(struct control *c)
{
	unsigned i;

	for (i = 0; c->hub != NULL && i < c->config->nodes_count; i++)
		if (link_is_up(c->hub, c->config->nodes[i].name))
			nodes_link_up(c, c->config->nodes[i].name);
}

/* --- revoked certificates: <state_dir>/tls/revoked, one serial a line --- */

static bool is_serial(const char *s)
{
	return s != NULL && s[0] != '\0' && strlen(s) < 48 && strspn(s, "0123456789abcdef") == strlen(s);
}

static void write_revoked(const struct control *c, const json_t *list)
{
	char dir[512], path[528];
	struct err e = ERR_INIT;
	struct buf b = {0};
	const json_t *o;
	size_t i;

	snprintf(dir, sizeof dir, "%s/tls", c->config->state_dir);
	snprintf(path, sizeof path, "%s/revoked", dir);
	json_array_foreach(list, i, o) buf_printf(&b, "%s\n", json_string_value(o));
	if (access(dir, X_OK) == 0 && save_file(path, b.data != NULL ? b.data : "", b.len, 0640, &e) != ERR_OK)
		log_error("trust", "%s", e.text);
	buf_done(&b);
}

static bool take_revoked(struct control *c, const json_t *list)
{
	const json_t *o;
	size_t i;
	char *text;
	bool is_new;

	if (!json_is_array(list) || json_array_size(list) > REVOKED_MAX)
		return false;
	json_array_foreach(list, i, o) if (!is_serial(json_string_value(o))) return false;
	text = json_dumps(list, JSON_COMPACT);
	is_new = c->revoked == NULL || strcmp(text, c->revoked) != 0;
	free(c->revoked);
	c->revoked = text;
	if (is_new)
		write_revoked(c, list);
	return is_new;
}

/* --- taking one over --- */

static void log_changes(const struct control *c, const struct roster *r)
{
	unsigned i;

	for (i = 0; i < r->count; i++) {
		const struct config_node *n = config_find_node(c->config, r->nodes[i].name);

		if (n == NULL && !r->nodes[i].is_removed)
			log_info("membership", "node %s at %s belongs to the cluster", r->nodes[i].name, r->nodes[i].address);
		else if (n != NULL && !n->is_removed && r->nodes[i].is_removed)
			log_info("membership", "node %s was removed from the cluster", n->name);
		else if (n != NULL && strcmp(n->address, r->nodes[i].address) != 0 && strcmp(n->name, c->config->node) != 0)
			log_info("membership", "node %s is at %s now", n->name, r->nodes[i].address);
	}
}

static void leave_if_removed(struct control *c)
{
	if (c->self < 0 || !c->config->nodes[c->self].is_removed || c->is_stopping)
		return;
	log_error("membership",
	          "this node was removed from cluster \"%s\": it stops; to come back, empty %s and join with a new token",
	          c->config->cluster, c->config->state_dir);
	control_stop(c, EX_CONFIG);
}

static void apply(struct control *c, const struct roster *r)
{
	struct agent_node nodes[MAX_NODES];
	struct err e = ERR_INIT;

	log_changes(c, r);
	if (roster_merge(r, c->config, &e) != ERR_OK) {
		log_error("membership", "%s", e.text);
		return;
	}
	c->roster = *r;
	if (roster_save(c->config, r, &e) != ERR_OK)
		log_error("membership", "%s: after a restart this node knows the nodes of before", e.text);
	nodes_fill_agent(c, nodes);
	if (c->agent != NULL)
		agent_set_nodes(c->agent, nodes, (int)c->config->nodes_count);
}

static bool is_removed_linked(const struct control *c)
{
	unsigned i;

	for (i = 0; c->hub != NULL && i < c->config->nodes_count; i++)
		if (c->config->nodes[i].is_removed && link_is_up(c->hub, c->config->nodes[i].name))
			return true;
	return false;
}

void nodes_tick(struct control *c)
{
	if (c->relink_ms == 0 || clock_now_ms() < c->relink_ms || c->hub == NULL)
		return;
	c->relink_ms = 0;
	link_peers_changed(c->hub);
}

static void take(struct control *c, const struct roster *r, const json_t *revoked)
{
	bool is_newer = r->number > c->roster.number;
	bool is_revoked_new = take_revoked(c, revoked);

	if (is_newer)
		apply(c, r);
	if (!is_newer && !is_revoked_new)
		return;
	tell_peers(c);
	/* A node that was removed shall get to read that before its link goes. */
	c->relink_ms = clock_now_ms() + (is_removed_linked(c) ? FAREWELL_MS : 0);
	nodes_tick(c);
	tell_host(c);
	leave_if_removed(c);
}

bool nodes_frame(struct control *c, const char *peer, const char *json, size_t len)
{
	struct err e = ERR_INIT;
	struct roster *r;
	char *text;
	json_t *o;
	int rc;

	if (len < sizeof FRAME_HEAD || memcmp(json, FRAME_HEAD, sizeof FRAME_HEAD - 1) != 0)
		return false;
	o = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	text = json_dumps(json_object_get(o, "roster"), JSON_COMPACT);
	r = mem_alloc(sizeof *r);
	rc = roster_parse(text != NULL ? text : "", r, &e);
	free(text);
	if (rc == ERR_OK && c->member.is_member && strcmp(r->uuid, c->member.uuid) != 0)
		rc = err_set(&e, ERR_REFUSED, "it is of another cluster");
	if (rc != ERR_OK)
		log_warn("peer", "%s sent a list of nodes that is not taken: %s", peer, e.text);
	else if (r->number >= c->roster.number) /* an old one says nothing about what is revoked now either */
		take(c, r, json_object_get(o, "revoked"));
	free(r);
	json_decref(o);
	return true;
}

/* --- the controller's side --- */

void nodes_read(struct control *c, const json_t *all)
{
	char *text = json_dumps(json_object_get(all, "roster"), JSON_COMPACT);
	struct roster *r = mem_alloc(sizeof *r);
	struct err e = ERR_INIT;

	if (text == NULL || roster_parse(text, r, &e) != ERR_OK) {
		if (json_is_object(json_object_get(all, "roster")))
			log_error("membership", "the roster in the store cannot be read: %s", e.text);
	} else {
		take(c, r, json_object_get(all, "revoked"));
	}
	free(text);
	free(r);
}

static void refreshed(void *arg, enum store_outcome outcome, const PGresult *res, const char *sqlstate, const char *message)
{
	struct control *c = arg;
	json_t *all;

	if (outcome != STORE_DONE || res == NULL || PQntuples(res) != 1) {
		log_warn("membership", "the roster was not read: %s %s", sqlstate, message);
		return;
	}
	all = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	nodes_read(c, all);
	json_decref(all);
}

void roster_refresh(struct control *c)
{
	store_session_query(c->store, "SELECT json_object(" NODES_SQL ")", STATEMENT_MS, refreshed, c);
}

void nodes_look(struct control *c)
{
	struct roster *r;

	if (c->member.is_member || c->roster.number > 0)
		return;
	r = mem_alloc(sizeof *r);
	if (roster_load(c->config, r, NULL) == ERR_OK)
		take(c, r, NULL);
	free(r);
}

void nodes_start(struct control *c)
{
	char path[512], line[64];
	json_t *list = json_array();
	struct err e = ERR_INIT;
	FILE *f;

	if (roster_load(c->config, &c->roster, &e) != ERR_OK && e.code != ERR_NOTFOUND)
		log_error("membership", "%s", e.text);
	snprintf(path, sizeof path, "%s/tls/revoked", c->config->state_dir);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		json_array_append_new(list, json_string(line));
	}
	if (f != NULL)
		fclose(f);
	c->revoked = json_dumps(list, JSON_COMPACT);
	json_decref(list);
}
