#include "shell/api.h"
#include "shell/shell.h"
#include "shell/states.h"
#include "shell/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define INIT_TIMEOUT_MS    60000
#define RESTORE_TIMEOUT_MS 3600000

int cluster_init(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *body = json_object(), *reply;
	/* The first node only: when it is down, making a second cluster of the next one would be the worst answer. */
	struct api_call c = {.path = "/v1/cluster/init", .body = body, .timeout_ms = INIT_TIMEOUT_MS, .is_first_only = true};
	char name[32], uuid[32];
	int rc;

	(void)args;
	if (o->restore != NULL) {
		char path[PATH_MAX];

		json_object_set_new(body, "restore", json_string(realpath(o->restore, path) != NULL ? path : o->restore));
		c.timeout_ms = RESTORE_TIMEOUT_MS;
		shell_say("loading %s; the node's log says how far it is", o->restore);
	}
	rc = api_call(sh, &c, &reply, e);
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		fprintf(sh->out.stream, "cluster,uuid\n%s,%s\n", api_text(reply, "cluster", name),
		        api_text(reply, "uuid", uuid));
	else
		fprintf(sh->out.stream, "cluster %s is made, uuid %s\n", api_text(reply, "cluster", name),
		        api_text(reply, "uuid", uuid));
	json_decref(reply);
	return ERR_OK;
}

static void print_headline(const struct out *o, const json_t *status)
{
	char name[32], leader[32];
	const char *who = api_text(status, "leader", leader);
	bool quorum = api_bool(status, "quorum");
	const char *on = o->has_colour ? out_sgr(quorum ? COLOUR_GOOD : COLOUR_BAD) : "";

	fprintf(o->stream, "cluster %s: %s%s%s, ", api_text(status, "cluster", name), on, quorum ? "quorum" : "NO QUORUM",
	        o->has_colour ? out_sgr(COLOUR_NONE) : "");
	if (who != NULL)
		fprintf(o->stream, "leader %s, generation %" PRId64 "\n", who, api_int(status, "generation", 0));
	else
		fprintf(o->stream, "no leader\n");
}

static void print_nodes(const struct out *o, const json_t *status)
{
	const char *leader = json_string_value(json_object_get(status, "leader"));
	struct table t;
	const json_t *node;
	char text[32];
	const char *name;
	size_t i;

	table_init(&t);
	table_column(&t, "node", false, 0);
	table_column(&t, "role", false, 0);
	table_column(&t, "state", false, 0);
	table_column(&t, "address", false, 0);
	table_column(&t, "", false, 0);
	json_array_foreach(json_object_get(status, "nodes"), i, node)
	{
		name = api_text(node, "name", text);
		table_cell(&t, name);
		table_cell(&t, api_text(node, "role", text));
		states_cell(&t, api_text(node, "state", text));
		table_cell(&t, api_text(node, "address", text));
		table_cell(&t, leader != NULL && name != NULL && strcmp(leader, name) == 0 ? "leader" : "");
	}
	fputc('\n', o->stream);
	table_print(&t, o, TABLE_PLAIN, 0);
	table_done(&t);
}

/* What an instance complains about, below the table, which has no room for sentences. */
static void print_errors(const struct out *o, const json_t *group)
{
	const json_t *instance;
	const char *error, *node;
	char text[32], name[32], prefix[64];
	size_t i;

	json_array_foreach(json_object_get(group, "instances"), i, instance)
	{
		error = api_text(instance, "error", text);
		node = api_text(instance, "node", name);
		if (error == NULL || node == NULL)
			continue;
		snprintf(prefix, sizeof prefix, "  %.40s: ", node);
		out_wrapped(o, prefix, error);
	}
}

static void print_group(const struct out *o, const json_t *group)
{
	char name[32], engine[32], state[32], primary[32], durability[32], reason[32];
	const char *who = api_text(group, "primary", primary), *why = api_text(group, "reason", reason);
	const char *is = api_text(group, "state", state), *sync = api_text(group, "durability", durability);
	struct table t;

	fprintf(o->stream, "\ngroup %s: %s, ", api_text(group, "name", name), api_text(group, "engine", engine));
	states_print(o, is != NULL ? is : "state not known");
	if (who != NULL)
		fprintf(o->stream, ", primary %s", who);
	else
		fprintf(o->stream, ", no primary");
	fprintf(o->stream, ", epoch %" PRId64 "%s%s%s\n", api_int(group, "epoch", 0), sync != NULL ? ", " : "",
	        sync != NULL ? sync : "", api_bool(group, "paused") ? ", paused" : "");
	if (why != NULL)
		out_wrapped(o, "  reason: ", why);
	table_init(&t);
	states_instances(&t, group);
	if (table_rows(&t) > 0)
		table_print(&t, o, TABLE_PLAIN, 2);
	table_done(&t);
	print_errors(o, group);
}

static void print_status(const struct out *o, const json_t *status)
{
	const json_t *group;
	struct table t;
	size_t i;

	print_headline(o, status);
	print_nodes(o, status);
	table_init(&t);
	states_vips(&t, status);
	if (table_rows(&t) > 0) {
		fputc('\n', o->stream);
		table_print(&t, o, TABLE_PLAIN, 0);
	}
	table_done(&t);
	json_array_foreach(json_object_get(status, "groups"), i, group) print_group(o, group);
}

/* One line per instance, with what its group and cluster say. */
static void print_status_csv(const struct out *o, const json_t *status)
{
	static const char *const of_group[] = {"name", "state", "reason", "epoch", "primary", NULL};
	static const char *const of_instance[] = {"node", "role", "state", "position", "lag_bytes", "sync", NULL};
	const json_t *group, *instance;
	char text[32];
	size_t i, j, k;
	struct table t;

	table_init(&t);
	for (k = 0; of_group[k] != NULL; k++)
		table_column(&t, k == 0 ? "group" : k == 1 ? "group_state" : of_group[k], false, 0);
	for (k = 0; of_instance[k] != NULL; k++)
		table_column(&t, of_instance[k], false, 0);
	json_array_foreach(json_object_get(status, "groups"), i, group)
	{
		json_array_foreach(json_object_get(group, "instances"), j, instance)
		{
			for (k = 0; of_group[k] != NULL; k++)
				table_cell(&t, api_text(group, of_group[k], text));
			for (k = 0; of_instance[k] != NULL; k++)
				table_cell(&t, api_text(instance, of_instance[k], text));
		}
	}
	table_print_csv(&t, o, true);
	table_done(&t);
}

int cluster_status(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *status;
	int rc;

	(void)o;
	(void)args;
	rc = api_get(sh, "/v1/status", &status, e);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, status);
	else if (sh->out.format == OUT_CSV)
		print_status_csv(&sh->out, status);
	else
		print_status(&sh->out, status);
	if (!api_bool(status, "quorum"))
		rc = err_set(e, ERR_NOQUORUM,
		             "the cluster has no quorum: what is shown is the last that was known, and nothing is decided");
	json_decref(status);
	return rc;
}
