#include "shell/api.h"
#include "shell/shell.h"
#include "shell/states.h"

#include <stdio.h>

static const char *heartbeat_text(const json_t *node, char *buf)
{
	int64_t ms = api_int(node, "heartbeat_age_ms", -1);

	if (ms < 0)
		return NULL;
	snprintf(buf, 32, "%.1f s ago", (double)ms / 1000);
	return buf;
}

static void fill_table(struct table *t, const json_t *nodes)
{
	const json_t *node;
	char text[32];
	size_t i;

	table_column(t, "node", false, 0);
	table_column(t, "role", false, 0);
	table_column(t, "state", false, 0);
	table_column(t, "address", false, 0);
	table_column(t, "heartbeat", true, 0);
	table_column(t, "leader", false, 0);
	table_column(t, "id", false, 0);
	json_array_foreach(nodes, i, node)
	{
		table_cell(t, api_text(node, "name", text));
		table_cell(t, api_text(node, "role", text));
		states_cell(t, api_text(node, "state", text));
		table_cell(t, api_text(node, "address", text));
		table_cell(t, heartbeat_text(node, text));
		table_cell(t, api_bool(node, "leader") ? "yes" : "");
		table_cell(t, api_text(node, "id", text));
	}
}

int node_list(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	static const char *const keys[] = {"name", "role", "state", "address", "heartbeat_age_ms", "leader", "id", NULL};
	const json_t *nodes;
	struct table t;
	json_t *reply;
	int rc;

	(void)o;
	(void)args;
	rc = api_get(sh, "/v1/nodes", &reply, e);
	if (rc != ERR_OK)
		return rc;
	nodes = json_object_get(reply, "nodes");
	table_init(&t);
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		states_csv(&sh->out, nodes, keys, true);
	else {
		fill_table(&t, nodes);
		table_print(&t, &sh->out, TABLE_PLAIN, 0);
	}
	table_done(&t);
	json_decref(reply);
	return ERR_OK;
}
