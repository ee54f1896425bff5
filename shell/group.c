#include "core/base/str.h"
#include "shell/api.h"
#include "shell/confirm.h"
#include "shell/shell.h"
#include "shell/states.h"
#include "shell/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_GROUPS 64
/* The API gives up waiting itself, with the number of the operation; ours is only the outer limit. */
#define OPERATION_TIMEOUT_MS 180000
#define QUICK_TIMEOUT_MS     15000

/* "9: failover to n2, promoting, 3 s", as far as it is told; NULL when nothing is in progress. b is cleared first. */
static const char *operation_text(const json_t *group, struct buf *b)
{
	const json_t *op = json_object_get(group, "operation");
	int64_t seconds = api_int(op, "seconds", -1);
	const char *word;
	char text[32];

	buf_clear(b);
	word = api_text(op, "kind", text);
	if (word == NULL)
		return NULL;
	buf_printf(b, "%" PRId64 ": %s", api_int(op, "id", 0), word);
	word = api_text(op, "to", text);
	if (word != NULL)
		buf_printf(b, " to %s", word);
	word = api_text(op, "phase", text);
	if (word != NULL)
		buf_printf(b, ", %s", word);
	if (seconds >= 0)
		buf_printf(b, ", %" PRId64 " s", seconds);
	return b->data;
}

static void fill_list(struct table *t, const json_t *groups)
{
	static const char *const titles[] = {"group", "engine",     "state",  "primary",
	                                     "epoch", "durability", "paused", "operation"};
	const json_t *group;
	struct buf operation = {0};
	char text[32];
	size_t i, k;

	for (k = 0; k < sizeof titles / sizeof titles[0]; k++)
		table_column(t, titles[k], strcmp(titles[k], "epoch") == 0, 0);
	json_array_foreach(groups, i, group)
	{
		table_cell(t, api_text(group, "name", text));
		table_cell(t, api_text(group, "engine", text));
		states_cell(t, api_text(group, "state", text));
		table_cell(t, api_text(group, "primary", text));
		table_cell(t, api_text(group, "epoch", text));
		table_cell(t, api_text(group, "durability", text));
		table_cell_coloured(t, api_text(group, "paused", text), api_bool(group, "paused") ? COLOUR_WARN : COLOUR_NONE);
		table_cell(t, operation_text(group, &operation));
	}
	buf_done(&operation);
}

static void print_list(const struct out *o, const json_t *groups)
{
	const json_t *group;
	const char *reason;
	char text[32], prefix[64];
	struct table t;
	size_t i;

	table_init(&t);
	fill_list(&t, groups);
	table_print(&t, o, TABLE_PLAIN, 0);
	table_done(&t);
	json_array_foreach(groups, i, group)
	{
		reason = api_text(group, "reason", text);
		if (reason == NULL)
			continue;
		snprintf(prefix, sizeof prefix, "%.40s: ", json_string_value(json_object_get(group, "name")));
		out_wrapped(o, prefix, reason);
	}
}

int group_list(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	static const char *const keys[] = {"name",    "engine",     "state",      "reason", "epoch",
	                                   "primary", "durability", "on_failure", "paused", NULL};
	const json_t *groups;
	json_t *reply;
	int rc;

	(void)o;
	(void)args;
	rc = api_get(sh, "/v1/groups", &reply, e);
	if (rc != ERR_OK)
		return rc;
	groups = json_object_get(reply, "groups");
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		states_csv(&sh->out, groups, keys, true);
	else
		print_list(&sh->out, groups);
	json_decref(reply);
	return ERR_OK;
}

/* Say that there is no such member `name` of an array of objects with `key`, and what was probably meant. */
static int refuse_name(const char *what, const char *name, const json_t *array, const char *key, struct err *e)
{
	const char *names[MAX_GROUPS + 1], *near;
	const json_t *object;
	struct buf b = {0};
	size_t i, n = 0;
	int rc;

	json_array_foreach(array, i, object)
	{
		if (n == MAX_GROUPS || json_string_value(json_object_get(object, key)) == NULL)
			continue;
		names[n] = json_string_value(json_object_get(object, key));
		buf_printf(&b, "%s%s", n > 0 ? ", " : "", names[n]);
		n++;
	}
	names[n] = NULL;
	near = text_nearest(name, names);
	if (near != NULL)
		rc = err_set(e, ERR_NOTFOUND, "there is no %s \"%s\": did you mean %s?", what, name, near);
	else
		rc = err_set(e, ERR_NOTFOUND, "there is no %s \"%s\"; there is %s", what, name, n > 0 ? b.data : "none at all");
	buf_done(&b);
	return rc;
}

static const json_t *find_object(const json_t *array, const char *key, const char *name)
{
	const json_t *object;
	const char *value;
	size_t i;

	json_array_foreach(array, i, object)
	{
		value = json_string_value(json_object_get(object, key));
		if (value != NULL && strcmp(value, name) == 0)
			return object;
	}
	return NULL;
}

/* The group as the controller knows it; asking for it also finds the node that has a quorum before anything is ordered. *ret is
 * returned. */
static int get_group(struct shell *sh, const char *name, const char *to, json_t **ret, struct err *e)
{
	const json_t *groups, *group;
	json_t *reply;
	int rc;

	rc = api_get(sh, "/v1/groups", &reply, e);
	if (rc != ERR_OK)
		return rc;
	groups = json_object_get(reply, "groups");
	group = find_object(groups, "name", name);
	if (group == NULL)
		rc = refuse_name("group", name, groups, "name", e);
	else if (to != NULL && find_object(json_object_get(group, "instances"), "node", to) == NULL)
		rc = refuse_name("instance of this group on node", to, json_object_get(group, "instances"), "node", e);
	else
		*ret = json_deep_copy(group);
	json_decref(reply);
	return rc;
}

static void describe_switchover(struct buf *b, const json_t *group, const char *to)
{
	char primary[32], name[32];
	const char *from = api_text(group, "primary", primary);

	buf_printf(b, "switchover of group %s: %s hands over to %s\n", api_text(group, "name", name),
	           from != NULL ? from : "nobody", to != NULL ? to : "the best replica");
	buf_puts(b, "  clients are disconnected and writes stop for a moment; open transactions are rolled back\n"
	            "  nothing acknowledged is lost; if a step fails before the hand-over, the old primary goes on\n");
}

/* What the chosen target, or the best replica, is known to lack. */
static void describe_loss(struct buf *b, const json_t *group, const char *to)
{
	const json_t *instance;
	const char *node, *role;
	char text[32], lag[16];
	int64_t lag_bytes;
	size_t i;

	json_array_foreach(json_object_get(group, "instances"), i, instance)
	{
		node = json_string_value(json_object_get(instance, "node"));
		role = api_text(instance, "role", text);
		if (node == NULL || role == NULL || strcmp(role, "replica") != 0 || (to != NULL && strcmp(to, node) != 0))
			continue;
		lag_bytes = api_int(instance, "lag_bytes", -1);
		buf_printf(b, "  %s: %s behind the primary as last heard, %s\n", node,
		           lag_bytes >= 0 ? text_bytes((uint64_t)lag_bytes, lag) : "unknown bytes",
		           api_bool(instance, "sync") ? "synchronous: it has everything acknowledged" : "not synchronous");
	}
}

static void describe_failover(struct buf *b, const json_t *group, const struct options *o)
{
	char primary[32], name[32], durability[32];
	const char *from = api_text(group, "primary", primary), *sync = api_text(group, "durability", durability);

	buf_printf(b, "failover of group %s: %s is fenced, %s becomes the primary without its help\n",
	           api_text(group, "name", name), from != NULL ? from : "the old primary",
	           o->to != NULL ? o->to : "the best replica");
	buf_puts(b, "  clients are disconnected; open transactions are rolled back\n");
	if (o->force)
		buf_puts(b,
		         "  FORCED: a replica may be promoted that lacks acknowledged transactions; those are LOST for good\n");
	else if (sync != NULL && strcmp(sync, "sync") == 0)
		buf_puts(b, "  only a replica that has every acknowledged transaction can be promoted\n");
	else
		buf_puts(b, "  the group is asynchronous: transactions that the new primary has not received are LOST\n");
	describe_loss(b, group, o->to);
}

static void print_done(struct shell *sh, const char *group, const json_t *reply)
{
	static const char *const keys[] = {"operation", "primary", "seconds", NULL};
	char primary[32], seconds[32], operation[32];
	json_t *one;

	if (sh->out.format == OUT_JSON) {
		out_json(&sh->out, reply);
	} else if (sh->out.format == OUT_CSV) {
		one = json_pack("[O]", reply);
		states_csv(&sh->out, one, keys, true);
		json_decref(one);
	} else {
		fprintf(sh->out.stream, "group %s: primary is now %s", group, api_text(reply, "primary", primary));
		if (api_text(reply, "seconds", seconds) != NULL)
			fprintf(sh->out.stream, ", after %s s", seconds);
		if (api_text(reply, "operation", operation) != NULL)
			fprintf(sh->out.stream, " (operation %s)", operation);
		fputc('\n', sh->out.stream);
	}
}

static int change_primary(struct shell *sh, const struct options *o, const char *name, bool is_failover, struct err *e)
{
	const char *verb = is_failover ? "failover" : "switchover";
	struct api_call c = {.timeout_ms = OPERATION_TIMEOUT_MS};
	json_t *group, *body, *reply;
	struct buf effect = {0};
	char path[128];
	int rc;

	rc = get_group(sh, name, o->to, &group, e);
	if (rc != ERR_OK)
		return rc;
	if (is_failover)
		describe_failover(&effect, group, o);
	else
		describe_switchover(&effect, group, o->to);
	json_decref(group);
	rc = confirm(sh, o, effect.data, o->force ? name : NULL, e);
	buf_done(&effect);
	if (rc != ERR_OK)
		return rc;
	body = json_object();
	if (o->to != NULL)
		json_object_set_new(body, "to", json_string(o->to));
	if (is_failover)
		json_object_set_new(body, "force", json_boolean(o->force));
	if (sh->out.is_terminal)
		shell_say("group %s: %s is under way; Ctrl-C stops waiting, not the operation", name, verb);
	snprintf(path, sizeof path, "/v1/groups/%s/%s", name, verb);
	c.path = path;
	c.body = body;
	rc = api_call(sh, &c, &reply, e);
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	print_done(sh, name, reply);
	json_decref(reply);
	return ERR_OK;
}

int group_switchover(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	return change_primary(sh, o, args[0], false, e);
}

int group_failover(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	return change_primary(sh, o, args[0], true, e);
}

/* Nothing is interrupted by these two, so they do not ask. */
static int set_paused(struct shell *sh, const char *name, bool paused, struct err *e)
{
	char path[128];
	json_t *group, *body = json_object(), *reply;
	struct api_call c = {.path = path, .body = body, .timeout_ms = QUICK_TIMEOUT_MS};
	int rc;

	rc = get_group(sh, name, NULL, &group, e);
	if (rc == ERR_OK) {
		json_decref(group);
		snprintf(path, sizeof path, "/v1/groups/%s/%s", name, paused ? "pause" : "resume");
		rc = api_call(sh, &c, &reply, e);
	}
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (paused)
		shell_say("group %s is paused: no failover happens by itself until `mha-shell group resume %s`", name, name);
	else
		shell_say("group %s is resumed: the controller decides about it again", name);
	json_decref(reply);
	return ERR_OK;
}

int group_pause(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	(void)o;
	return set_paused(sh, args[0], true, e);
}

int group_resume(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	(void)o;
	return set_paused(sh, args[0], false, e);
}
