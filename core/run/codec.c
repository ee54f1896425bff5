#include "core/run/codec.h"

#include "core/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int codec_node(const struct config *c, const char *name)
{
	unsigned i;

	for (i = 0; i < c->nodes_count; i++)
		if (strcmp(c->nodes[i].name, name) == 0)
			return (int)i;
	return NODE_NONE;
}

char *codec_set_format(const struct config *c, node_set s, char *buf, size_t size)
{
	size_t len = 0;
	unsigned i;

	buf[0] = '\0';
	for (i = 0; i < c->nodes_count && len < size; i++)
		if ((s & node_bit((int)i)) != 0)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len > 0 ? "," : "", c->nodes[i].name);
	return buf;
}

bool codec_set_parse(const struct config *c, const char *names, node_set *ret)
{
	node_set s = 0;

	while (*names != '\0') {
		char name[NAME_SIZE];
		size_t len = strcspn(names, ",");
		int node;

		snprintf(name, sizeof name, "%.*s", (int)len, names);
		node = codec_node(c, name);
		if (node == NODE_NONE)
			return false;
		s |= node_bit(node);
		names += len + (names[len] == ',' ? 1 : 0);
	}
	*ret = s;
	return true;
}

static const char *node_name(const struct config *c, int node)
{
	return node < 0 || (unsigned)node >= c->nodes_count ? "" : c->nodes[node].name;
}

/* Numbers of 64 bits: JSON's integers are signed. Epochs, positions and generations stay below 2^63 for ever. */
static void put_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_str(json_t *o, const char *key, const char *s)
{
	char *utf8;

	if (s[0] == '\0')
		return;
	utf8 = str_utf8(s);
	json_object_set_new(o, key, json_string(utf8));
	free(utf8);
}

static void put_bool(json_t *o, const char *key, bool b)
{
	if (b)
		json_object_set_new(o, key, json_true());
}

static void put_set(json_t *o, const char *key, const struct config *c, node_set s)
{
	char names[MAX_NODES * NAME_SIZE];

	put_str(o, key, codec_set_format(c, s, names, sizeof names));
}

static void put_voters(json_t *o, const struct config *c, const struct voter_set *v)
{
	put_u64(o, "set", v->number);
	put_set(o, "voters", c, v->members);
}

static json_t *standbys_json(const struct config *c, const struct instance_report *r)
{
	json_t *list = json_array();
	int i;

	for (i = 0; i < r->standby_count; i++) {
		json_t *o = json_object();

		put_str(o, "node", node_name(c, r->standbys[i].node));
		put_bool(o, "streaming", r->standbys[i].is_streaming);
		put_u64(o, "flushed", r->standbys[i].flushed);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *report_json(const struct config *c, const struct instance_report *r)
{
	json_t *o = json_object();

	put_str(o, "group", r->group);
	put_u64(o, "process", r->process);
	put_u64(o, "role", r->role);
	put_bool(o, "accepting", r->is_accepting);
	put_bool(o, "receiving", r->is_receiving);
	put_bool(o, "detached", r->is_detached);
	put_bool(o, "clean", r->is_clean);
	put_bool(o, "leased", r->is_leased);
	put_bool(o, "checkpointed", r->is_checkpointed);
	put_str(o, "upstream", node_name(c, r->upstream));
	json_object_set_new(o, "probe_age", json_integer(r->probe_age_ms));
	json_object_set_new(o, "received_age", json_integer(r->received_age_ms));
	put_u64(o, "timeline", r->timeline);
	put_u64(o, "position", r->position);
	put_u64(o, "epoch", r->epoch);
	put_u64(o, "promoted", r->promoted_epoch);
	put_u64(o, "lease_epoch", r->lease_epoch);
	put_u64(o, "detach_epoch", r->detach_epoch);
	put_u64(o, "step", r->step);
	put_u64(o, "generation", r->generation);
	put_u64(o, "answers", r->answers);
	put_u64(o, "sync_since", r->sync_since);
	put_set(o, "sync", c, r->sync_members);
	json_object_set_new(o, "standbys", standbys_json(c, r));
	put_str(o, "verb", r->verb);
	put_str(o, "position_text", r->position_text);
	put_str(o, "system_id", r->system_id);
	put_str(o, "error", r->error);
	return o;
}

static char *dump(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	if (text == NULL)
		abort();
	return text;
}

char *codec_heartbeat(const struct config *c, const struct heartbeat *hb, const struct hb_extra *x)
{
	json_t *o = json_object(), *asks = json_array(), *reports = json_array();
	size_t i;

	put_str(o, "t", "hb");
	put_u64(o, "number", hb->number);
	put_u64(o, "incarnation", hb->incarnation);
	put_voters(o, c, &hb->voters);
	put_bool(o, "arbiter", hb->is_arbiter);
	put_bool(o, "stopping", hb->is_stopping);
	put_u64(o, "generation", hb->generation);
	for (i = 0; i < hb->ask_count; i++)
		json_array_append_new(asks,
		                      json_pack("{s:s,s:I}", "r", hb->asks[i].resource, "v", (json_int_t)hb->asks[i].value));
	json_object_set_new(o, "asks", asks);
	for (i = 0; i < hb->report_count; i++)
		json_array_append_new(reports, report_json(c, &hb->reports[i]));
	json_object_set_new(o, "reports", reports);
	put_str(o, "uuid", x->cluster_uuid);
	put_str(o, "raft_id", x->raft_id);
	put_str(o, "raft_address", x->raft_address);
	put_str(o, "profile", x->profile);
	put_u64(o, "schema", x->schema);
	put_u64(o, "schema_store", x->schema_store);
	put_u64(o, "disk_free_mb", x->disk_free_mb);
	put_u64(o, "disk_percent", x->disk_percent);
	return dump(o);
}

char *codec_reply(const struct config *c, const struct lease_reply *r)
{
	json_t *o = json_object();

	put_str(o, "t", "reply");
	put_u64(o, "number", r->number);
	put_str(o, "resource", r->resource);
	put_u64(o, "value", r->value);
	put_u64(o, "answer", r->answer);
	json_object_set_new(o, "busy", json_integer(r->busy_ms));
	put_voters(o, c, &r->voters);
	return dump(o);
}

char *codec_order(const struct config *c, const struct order *r)
{
	json_t *o = json_object(), *vips = json_array();
	int i;

	put_str(o, "t", "order");
	put_str(o, "group", r->group);
	put_u64(o, "generation", r->generation);
	put_u64(o, "epoch", r->epoch);
	put_u64(o, "answers", r->answers);
	put_u64(o, "incarnation", r->answers_incarnation);
	put_u64(o, "step", r->step);
	put_u64(o, "role", r->role);
	put_bool(o, "bring_up", r->is_bring_up);
	put_bool(o, "rejoin", r->is_rejoin);
	put_bool(o, "create", r->is_create);
	put_bool(o, "early", r->is_early);
	put_bool(o, "checkpoint", r->is_checkpoint);
	put_bool(o, "fast", r->is_fast);
	put_bool(o, "sync", r->is_sync);
	put_str(o, "primary", node_name(c, r->primary));
	put_set(o, "sync_members", c, r->sync_members);
	put_str(o, "system_id", r->system_id);
	for (i = 0; i < r->vip_count; i++)
		json_array_append_new(vips, json_string(r->vips[i]));
	json_object_set_new(o, "vips", vips);
	return dump(o);
}

char *codec_release(const char *resource, uint64_t value)
{
	json_t *o = json_object();

	put_str(o, "t", "release");
	put_str(o, "resource", resource);
	put_u64(o, "value", value);
	return dump(o);
}

/* Reading: a missing key is its zero value; a key of the wrong type, a negative number or an unknown node is an error, kept in
 * the cursor. */
struct cursor {
	const struct config *c;
	struct err *e;
	int rc;
};

static void fail(struct cursor *k, const char *key)
{
	if (k->rc == ERR_OK)
		k->rc = err_set(k->e, ERR_PROTOCOL, "field \"%s\" is not as it should be", key);
}

static uint64_t get_u64(struct cursor *k, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (v == NULL)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0) {
		fail(k, key);
		return 0;
	}
	return (uint64_t)json_integer_value(v);
}

static uint32_t get_u32(struct cursor *k, const json_t *o, const char *key)
{
	uint64_t v = get_u64(k, o, key);

	if (v > UINT32_MAX)
		fail(k, key);
	return (uint32_t)v;
}

static unsigned get_enum(struct cursor *k, const json_t *o, const char *key, unsigned count)
{
	uint64_t v = get_u64(k, o, key);

	if (v >= count)
		fail(k, key);
	return v < count ? (unsigned)v : 0;
}

static int get_age(struct cursor *k, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < -1) {
		fail(k, key);
		return -1;
	}
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

static bool get_bool(struct cursor *k, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (v != NULL && !json_is_boolean(v))
		fail(k, key);
	return json_is_true(v);
}

static void get_str(struct cursor *k, const json_t *o, const char *key, char *buf, size_t size)
{
	const json_t *v = json_object_get(o, key);

	buf[0] = '\0';
	if (v == NULL)
		return;
	if (!json_is_string(v) || !str_copy(buf, size, json_string_value(v)))
		fail(k, key);
}

static int get_node(struct cursor *k, const json_t *o, const char *key)
{
	char name[NAME_SIZE];

	get_str(k, o, key, name, sizeof name);
	return name[0] == '\0' ? NODE_NONE : codec_node(k->c, name);
}

static node_set get_set(struct cursor *k, const json_t *o, const char *key)
{
	char names[MAX_NODES * NAME_SIZE];
	node_set s = 0;

	get_str(k, o, key, names, sizeof names);
	if (!codec_set_parse(k->c, names, &s))
		fail(k, key);
	return s;
}

static void get_voters(struct cursor *k, const json_t *o, struct voter_set *v)
{
	char names[MAX_NODES * NAME_SIZE];

	/* The number counts although a member may be unknown here yet; nobody takes over a set without members. */
	v->number = get_u64(k, o, "set");
	get_str(k, o, "voters", names, sizeof names);
	if (!codec_set_parse(k->c, names, &v->members))
		v->members = 0;
}

/* A name that is not known here is left out: its node may just have been taken in. */
static void read_standbys(struct cursor *k, const json_t *list, struct instance_report *r)
{
	size_t i;

	for (i = 0; i < json_array_size(list) && r->standby_count < MAX_NODES; i++) {
		const json_t *o = json_array_get(list, i);
		struct standby_report s = {0};

		s.node = get_node(k, o, "node");
		s.is_streaming = get_bool(k, o, "streaming");
		s.flushed = get_u64(k, o, "flushed");
		if (s.node != NODE_NONE)
			r->standbys[r->standby_count++] = s;
	}
}

static void read_report(struct cursor *k, const json_t *o, struct instance_report *r)
{
	memset(r, 0, sizeof *r);
	get_str(k, o, "group", r->group, sizeof r->group);
	r->process = (enum inst_process)get_enum(k, o, "process", PROC_STOPPING + 1);
	r->role = (enum inst_role)get_enum(k, o, "role", ROLE_REPLICA + 1);
	r->is_accepting = get_bool(k, o, "accepting");
	r->is_receiving = get_bool(k, o, "receiving");
	r->is_detached = get_bool(k, o, "detached");
	r->is_clean = get_bool(k, o, "clean");
	r->is_leased = get_bool(k, o, "leased");
	r->is_checkpointed = get_bool(k, o, "checkpointed");
	r->upstream = get_node(k, o, "upstream");
	r->probe_age_ms = get_age(k, o, "probe_age");
	r->received_age_ms = get_age(k, o, "received_age");
	r->timeline = get_u32(k, o, "timeline");
	r->position = get_u64(k, o, "position");
	r->epoch = get_u64(k, o, "epoch");
	r->promoted_epoch = get_u64(k, o, "promoted");
	r->lease_epoch = get_u64(k, o, "lease_epoch");
	r->detach_epoch = get_u64(k, o, "detach_epoch");
	r->step = get_u64(k, o, "step");
	r->generation = get_u64(k, o, "generation");
	r->answers = get_u64(k, o, "answers");
	r->sync_since = get_u64(k, o, "sync_since");
	r->sync_members = get_set(k, o, "sync");
	read_standbys(k, json_object_get(o, "standbys"), r);
	get_str(k, o, "verb", r->verb, sizeof r->verb);
	get_str(k, o, "position_text", r->position_text, sizeof r->position_text);
	get_str(k, o, "system_id", r->system_id, sizeof r->system_id);
	get_str(k, o, "error", r->error, sizeof r->error);
}

/* A node of an older build does not say it. */
static uint64_t optional_u64(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

static void read_heartbeat(struct cursor *k, const json_t *o, struct frame *f)
{
	struct heartbeat *hb = &f->heartbeat;
	const json_t *asks = json_object_get(o, "asks"), *reports = json_object_get(o, "reports");
	size_t i;

	f->type = FRAME_HEARTBEAT;
	memset(hb, 0, sizeof *hb);
	hb->number = get_u64(k, o, "number");
	hb->incarnation = get_u64(k, o, "incarnation");
	get_voters(k, o, &hb->voters);
	hb->is_arbiter = get_bool(k, o, "arbiter");
	hb->is_stopping = get_bool(k, o, "stopping");
	hb->generation = get_u64(k, o, "generation");
	hb->asks = f->asks;
	hb->reports = f->reports;
	for (i = 0; i < json_array_size(asks) && i < sizeof f->asks / sizeof f->asks[0]; i++) {
		get_str(k, json_array_get(asks, i), "r", f->asks[i].resource, sizeof f->asks[i].resource);
		f->asks[i].value = get_u64(k, json_array_get(asks, i), "v");
		hb->ask_count++;
	}
	for (i = 0; i < json_array_size(reports) && i < sizeof f->reports / sizeof f->reports[0]; i++)
		read_report(k, json_array_get(reports, i), &f->reports[hb->report_count++]);
	get_str(k, o, "uuid", f->extra.cluster_uuid, sizeof f->extra.cluster_uuid);
	get_str(k, o, "raft_id", f->extra.raft_id, sizeof f->extra.raft_id);
	get_str(k, o, "raft_address", f->extra.raft_address, sizeof f->extra.raft_address);
	get_str(k, o, "profile", f->extra.profile, sizeof f->extra.profile);
	f->extra.schema = optional_u64(o, "schema");
	f->extra.schema_store = optional_u64(o, "schema_store");
	f->extra.disk_free_mb = optional_u64(o, "disk_free_mb");
	f->extra.disk_percent = optional_u64(o, "disk_percent");
}

static void read_reply(struct cursor *k, const json_t *o, struct frame *f)
{
	struct lease_reply *r = &f->reply;

	f->type = FRAME_REPLY;
	r->number = get_u64(k, o, "number");
	get_str(k, o, "resource", r->resource, sizeof r->resource);
	r->value = get_u64(k, o, "value");
	r->answer = (enum lease_answer)get_enum(k, o, "answer", LEASE_OLD_SET + 1);
	r->busy_ms = get_age(k, o, "busy");
	get_voters(k, o, &r->voters);
}

static void read_order(struct cursor *k, const json_t *o, struct frame *f)
{
	struct order *r = &f->order;
	const json_t *vips = json_object_get(o, "vips");
	size_t i;

	f->type = FRAME_ORDER;
	memset(r, 0, sizeof *r);
	get_str(k, o, "group", r->group, sizeof r->group);
	r->generation = get_u64(k, o, "generation");
	r->epoch = get_u64(k, o, "epoch");
	r->answers = get_u64(k, o, "answers");
	r->answers_incarnation = get_u64(k, o, "incarnation");
	r->step = get_u64(k, o, "step");
	r->role = (enum order_role)get_enum(k, o, "role", ORDER_STOP + 1);
	r->is_bring_up = get_bool(k, o, "bring_up");
	r->is_rejoin = get_bool(k, o, "rejoin");
	r->is_create = get_bool(k, o, "create");
	r->is_early = get_bool(k, o, "early");
	r->is_checkpoint = get_bool(k, o, "checkpoint");
	r->is_fast = get_bool(k, o, "fast");
	r->is_sync = get_bool(k, o, "sync");
	r->primary = get_node(k, o, "primary");
	r->sync_members = get_set(k, o, "sync_members");
	get_str(k, o, "system_id", r->system_id, sizeof r->system_id);
	for (i = 0; i < json_array_size(vips) && i < MAX_VIPS; i++) {
		const char *vip = json_string_value(json_array_get(vips, i));

		if (vip == NULL || !str_copy(r->vips[r->vip_count++], sizeof r->vips[0], vip))
			fail(k, "vips");
	}
}

static void read_release(struct cursor *k, const json_t *o, struct frame *f)
{
	f->type = FRAME_RELEASE;
	get_str(k, o, "resource", f->release.resource, sizeof f->release.resource);
	f->release.value = get_u64(k, o, "value");
}

int codec_decode(const struct config *c, const char *peer, const char *json, size_t len, struct frame *ret, struct err *e)
{
	struct cursor k = {c, e, ERR_OK};
	json_error_t je;
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &je);
	const char *type = json_string_value(json_object_get(o, "t"));
	int from = codec_node(c, peer);

	if (!json_is_object(o) || type == NULL)
		k.rc = err_set(e, ERR_PROTOCOL, "a frame of %zu bytes is no JSON object with a type: %s", len,
		               o == NULL ? je.text : "t");
	else if (strcmp(type, "hb") == 0)
		read_heartbeat(&k, o, ret);
	else if (strcmp(type, "reply") == 0)
		read_reply(&k, o, ret);
	else if (strcmp(type, "order") == 0)
		read_order(&k, o, ret);
	else if (strcmp(type, "release") == 0)
		read_release(&k, o, ret);
	else
		k.rc = err_set(e, ERR_PROTOCOL, "frame type \"%s\" is not known", type);
	json_decref(o);
	ret->heartbeat.node = ret->reply.voter = from;
	return k.rc;
}
