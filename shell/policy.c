/* cluster policy, cluster set: what the whole cluster goes by. */
#include "shell/api.h"
#include "shell/shell.h"
#include "shell/states.h"

#include <stdio.h>

#define CALL_TIMEOUT_MS 15000

int cluster_policy(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	static const char *const keys[] = {"name", "value", "default", "help", NULL};
	const json_t *list, *p;
	char text[32];
	json_t *reply;
	struct table t;
	size_t i, k;
	int rc;

	(void)o;
	(void)args;
	rc = api_get(sh, "/v1/policy", &reply, e);
	if (rc != ERR_OK)
		return rc;
	list = json_object_get(reply, "policies");
	table_init(&t);
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		states_csv(&sh->out, list, keys, true);
	else {
		for (k = 0; keys[k] != NULL; k++)
			table_column(&t, keys[k], false, 0);
		json_array_foreach(list, i, p) for (k = 0; keys[k] != NULL; k++) table_cell(&t, api_text(p, keys[k], text));
		table_print(&t, &sh->out, TABLE_PLAIN, 0);
	}
	table_done(&t);
	json_decref(reply);
	return ERR_OK;
}

int cluster_set(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *body = json_pack("{s:s,s:s}", "name", args[0], "value", args[1]), *reply;
	struct api_call c = {.path = "/v1/policy", .body = body, .timeout_ms = CALL_TIMEOUT_MS};
	int rc = api_call(sh, &c, &reply, e);

	(void)o;
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else
		shell_say("%s is %s now", args[0], json_string_value(json_object_get(reply, "value")));
	json_decref(reply);
	return ERR_OK;
}
