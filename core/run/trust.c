/* This node's own certificate: renewed in time, said aloud when it ends soon. */
#include "core/run/trust.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/tls.h"
#include "core/run/control.h"
#include "core/run/trust_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS       1000
#define ASK_MS        3000 /* from one request to the next while none is answered */
#define SIGN_EVERY_MS 2000 /* for one node, at most */
#define WARN_S        (30LL * 86400)
#define WARN_AGAIN_MS (24LL * 3600 * 1000)
#define BACKDATED_S   3600 /* pki_sign: clocks differ */
#define CONTROLLER_MS 1000 /* a heartbeat of the controller is not older */

struct trust {
	struct control *c;
	bool has_own;
	struct pki_info own, ca;
	int64_t look_ms, asked_ms, warned_ms;
	bool is_wanted;      /* a new certificate was asked for */
	char *key, *request; /* while a request is out; the key stays here until its certificate has come */
	char complaint[512]; /* last one logged */
	int64_t signed_ms[MAX_NODES];
};

struct trust *trust_new(struct control *c)
{
	struct trust *t = mem_alloc(sizeof *t);

	t->c = c;
	return t;
}

static void forget_request(struct trust *t)
{
	if (t->key != NULL)
		explicit_bzero(t->key, strlen(t->key));
	free(t->key);
	free(t->request);
	t->key = t->request = NULL;
}

void trust_free(struct trust *t)
{
	if (t == NULL)
		return;
	forget_request(t);
	free(t);
}

bool trust_is_managed(const struct control *c)
{
	return strcmp(c->config->tls.mode, "managed") == 0;
}

const struct pki_info *trust_own(const struct control *c)
{
	return c->trust->has_own ? &c->trust->own : NULL;
}

bool trust_ca(const struct control *c, struct pki_info *ret)
{
	if (c->trust->ca.serial[0] == '\0')
		return false;
	*ret = c->trust->ca;
	return true;
}

/* --- looking --- */

static void complain(struct trust *t, const char *text)
{
	if (strcmp(t->complaint, text) == 0)
		return;
	str_copy(t->complaint, sizeof t->complaint, text);
	log_warn("tls", "%s", text);
}

static int look_at(const struct trust *t, const char *name, const char *path, struct pki_info *ret, struct err *e)
{
	char *pem = NULL;
	int rc;

	rc = trust_is_managed(t->c) ? trust_files_load(t->c->config, name, &pem, e) : trust_read_file(path, &pem, e);
	if (rc == ERR_OK)
		rc = pki_describe(pem, ret, e);
	free(pem);
	return rc;
}

static void look_at_own(struct trust *t)
{
	const struct config_tls *files = &t->c->config->tls;
	struct err e = ERR_INIT;
	int rc = look_at(t, TRUST_CA, files->ca, &t->ca, &e);

	if (rc == ERR_OK)
		rc = look_at(t, TRUST_CERT, files->cert, &t->own, &e);
	t->has_own = rc == ERR_OK;
	if (rc != ERR_OK && rc != ERR_NOTFOUND)
		complain(t, e.text);
}

/* What is left is counted from the issue, not from the back-dated beginning. */
static bool is_due(const struct trust *t, int64_t now_s)
{
	int64_t lifetime_s = t->own.not_after_s - (t->own.not_before_s + BACKDATED_S);

	return (t->own.not_after_s - now_s) * 3 < lifetime_s;
}

static bool is_alarming(const struct trust *t, int64_t now_s)
{
	int64_t left_s = t->own.not_after_s - now_s;
	int64_t lifetime_s = t->own.not_after_s - (t->own.not_before_s + BACKDATED_S);

	/* One of ours is renewed long before: it alarms when that has failed for half of the time there was for it. */
	if (trust_is_managed(t->c) && left_s * 6 >= lifetime_s)
		return false;
	return left_s < WARN_S;
}

/* --- asking --- */

static int find_controller(const struct control *c)
{
	int64_t now = clock_now_ms();
	int best = NODE_NONE;
	unsigned i;

	if (c->leadership == LEADERSHIP_ACTIVE)
		return c->self;
	for (i = 0; i < c->config->nodes_count; i++) {
		const struct last_heartbeat *l = &c->last[i];

		if ((int)i == c->self || l->json == NULL || l->generation == 0 || now - l->at_ms > CONTROLLER_MS)
			continue;
		if (best == NODE_NONE || l->generation > c->last[best].generation)
			best = (int)i;
	}
	return best;
}

static void send_frame(struct control *c, int node, json_t *o)
{
	char *json = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	if (json != NULL) /* a text that is not UTF-8: the other side asks again */
		effects_send(c, node, json);
}

static void ask_for_new(struct trust *t, int64_t now)
{
	struct err e = ERR_INIT;
	int controller = find_controller(t->c);

	if (controller == NODE_NONE || now - t->asked_ms < ASK_MS)
		return;
	t->asked_ms = now;
	if (t->request == NULL && pki_request_new(t->c->config->node, &t->request, &t->key, &e) != ERR_OK) {
		complain(t, e.text);
		return;
	}
	log_info("tls", "this node's certificate %s is to be renewed: asking %s", t->own.serial,
	         t->c->config->nodes[controller].name);
	send_frame(t->c, controller, json_pack("{s:s,s:s}", "t", "cert-request", "request", t->request));
}

static void say_expiry(struct trust *t, int64_t now)
{
	int64_t left_s = t->own.not_after_s - clock_wall_ms() / 1000;
	int controller = find_controller(t->c);
	char text[200], when[32];

	if (t->warned_ms != 0 && now - t->warned_ms < WARN_AGAIN_MS)
		return;
	clock_format_wall(t->own.not_after_s * 1000, when);
	snprintf(text, sizeof text, "the certificate of node %s (%s) %s at %s: %s", t->c->config->node, t->own.serial,
	         left_s > 0 ? "ends" : "has ended", when,
	         trust_is_managed(t->c) ? "its renewal fails, see the log" : "replace the file, no restart is needed");
	complain(t, text);
	if (controller == NODE_NONE)
		return; /* said again when somebody can write it down */
	t->warned_ms = now;
	send_frame(t->c, controller, json_pack("{s:s,s:s}", "t", "cert-ends", "text", text));
}

void trust_tick(struct control *c)
{
	struct trust *t = c->trust;
	int64_t now = clock_now_ms(), now_s = clock_wall_ms() / 1000;

	if (t->look_ms != 0 && now - t->look_ms < LOOK_MS)
		return;
	t->look_ms = now;
	nodes_look(c);
	if (tls_is_off(c->config))
		return;
	look_at_own(t);
	if (!t->has_own || !c->member.is_member)
		return;
	if (trust_is_managed(c) && (t->is_wanted || is_due(t, now_s)))
		ask_for_new(t, now);
	if (is_alarming(t, now_s))
		say_expiry(t, now);
}

/* --- frames: this node's side --- */

static void new_one_came(struct trust *t, const json_t *o)
{
	const char *cert = json_string_value(json_object_get(o, "cert"));
	struct pki_info info;
	struct err e = ERR_INIT;
	char *ca = NULL;
	int rc;

	if (cert == NULL || t->key == NULL)
		return; /* answered twice */
	rc = trust_files_load(t->c->config, TRUST_CA, &ca, &e);
	if (rc == ERR_OK)
		rc = pki_check(ca, cert, t->key, &e);
	if (rc == ERR_OK)
		rc = pki_describe(cert, &info, &e);
	if (rc == ERR_OK && (info.subject.kind != PKI_NODE || strcmp(info.subject.name, t->c->config->node) != 0))
		rc = err_set(&e, ERR_PROTOCOL, "it is made for \"%s\"", info.subject.name);
	if (rc == ERR_OK)
		rc = trust_files_save_pair(t->c->config, &(struct trust_pair){cert, t->key, ca}, &e);
	free(ca);
	if (rc != ERR_OK) {
		log_error("tls", "the new certificate cannot be used: %s", e.text);
		return;
	}
	log_info("tls", "this node's certificate is renewed: %s takes the place of %s", info.serial, t->own.serial);
	forget_request(t);
	t->own = info;
	t->is_wanted = false;
	t->warned_ms = 0;
	t->complaint[0] = '\0';
}

static void refusal_came(struct trust *t, const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "text"));
	char line[300];

	snprintf(line, sizeof line, "this node's certificate is not renewed: %.200s", text != NULL ? text : "");
	complain(t, line);
}

/* --- frames: the controller's side --- */

struct renewal {
	struct control *c;
	char node[33];
};

static void renewed(void *arg, const struct err *e, const struct trust_issued *issued)
{
	struct renewal *r = arg;
	int node = codec_node(r->c->config, r->node);

	if (node != NODE_NONE && issued != NULL)
		send_frame(r->c, node, json_pack("{s:s,s:s}", "t", "cert", "cert", issued->cert));
	else if (node != NODE_NONE)
		send_frame(r->c, node, json_pack("{s:s,s:s}", "t", "cert-refused", "text", e->text));
	free(r);
}

/* The link has shown that the peer is who it says: it gets a certificate for that name, whatever the request says. */
static void renew_for(struct control *c, int node, const json_t *o)
{
	const struct config_node *n = &c->config->nodes[node];
	struct trust_issue i = {.subject.kind = PKI_NODE};
	int64_t now = clock_now_ms();
	struct renewal *r;
	char event[128];

	i.request = json_string_value(json_object_get(o, "request"));
	if (c->leadership != LEADERSHIP_ACTIVE || !trust_is_managed(c) || i.request == NULL || n->is_removed ||
	    (c->trust->signed_ms[node] != 0 && now - c->trust->signed_ms[node] < SIGN_EVERY_MS))
		return;
	c->trust->signed_ms[node] = now;
	str_copy(i.subject.name, sizeof i.subject.name, n->name);
	str_copy(i.subject.address, sizeof i.subject.address, n->address);
	snprintf(event, sizeof event, "node %s has renewed its certificate", n->name);
	i.event = event;
	r = mem_alloc(sizeof *r);
	r->c = c;
	str_copy(r->node, sizeof r->node, n->name);
	trust_issue(c, &i, renewed, r);
}

static void record_end(struct control *c, int node, const json_t *o)
{
	const char *said = json_string_value(json_object_get(o, "text"));
	char text[240];
	struct buf b = {0};

	if (c->leadership != LEADERSHIP_ACTIVE || said == NULL)
		return;
	snprintf(text, sizeof text, "%.220s", said);
	if (node != c->self)
		log_warn("tls", "%s", text);
	persist_guard(&b, c->generation);
	trust_event_row(c, &b, "warning", text);
	buf_puts(&b, "SELECT 1");
	store_session_query(c->store, b.data, 3000, NULL, NULL);
	buf_done(&b);
}

bool trust_ask_to_rotate(struct control *c, int node)
{
	if (node != c->self && !link_is_up(c->hub, c->config->nodes[node].name))
		return false;
	send_frame(c, node, json_pack("{s:s}", "t", "cert-rotate"));
	return true;
}

bool trust_frame(struct control *c, int node, const char *json, size_t len)
{
	const char *type;
	bool is_ours;
	json_t *o;

	/* Heartbeats pass by here five times a second and node: only what looks like ours is read. */
	if (len < 10 || memmem(json, len < 16 ? len : 16, "\"t\":\"cert", 9) == NULL)
		return false;
	o = json_loadb(json, len, 0, NULL);
	type = json_string_value(json_object_get(o, "t"));
	is_ours = type != NULL && strncmp(type, "cert", 4) == 0;
	if (!is_ours || tls_is_off(c->config))
		;
	else if (strcmp(type, "cert") == 0)
		new_one_came(c->trust, o);
	else if (strcmp(type, "cert-refused") == 0)
		refusal_came(c->trust, o);
	else if (strcmp(type, "cert-rotate") == 0)
		c->trust->is_wanted = true;
	else if (strcmp(type, "cert-request") == 0)
		renew_for(c, node, o);
	else if (strcmp(type, "cert-ends") == 0)
		record_end(c, node, o);
	json_decref(o);
	return is_ours;
}
