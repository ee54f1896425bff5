/* node remove, keep, move: what is wanted is recorded at once, the controller carries it out. */
#include "core/base/clock.h"
#include "core/base/str.h"
#include "shell/api.h"
#include "shell/confirm.h"
#include "shell/interrupt.h"
#include "shell/shell.h"
#include "shell/states.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 15000
#define LEAVE_MS        120000
#define LOOK_EVERY_US   500000

static int post(struct shell *sh, const char *node, const char *verb, json_t *body, struct err *e)
{
	struct api_call c = {.body = body, .timeout_ms = CALL_TIMEOUT_MS};
	char path[128], text[32];
	json_t *reply;
	int rc;

	snprintf(path, sizeof path, "/v1/nodes/%.64s/%s", node, verb);
	c.path = path;
	rc = api_call(sh, &c, &reply, e);
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else
		shell_say("%s", json_is_string(json_object_get(reply, "text"))
		                        ? json_string_value(json_object_get(reply, "text"))
		                        : api_text(reply, "node", text));
	json_decref(reply);
	return ERR_OK;
}

static const json_t *find_node(const json_t *reply, const char *name)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(reply, "nodes"), i, node)
	{
		const char *s = json_string_value(json_object_get(node, "name"));

		if (s != NULL && strcmp(s, name) == 0)
			return node;
	}
	return NULL;
}

/* Until the node is listed no more; what keeps it is said once. */
static int wait_until_gone(struct shell *sh, const char *name, struct err *e)
{
	int64_t deadline_ms = clock_now_ms() + LEAVE_MS;
	char said[160] = "";
	json_t *reply;

	while (clock_now_ms() < deadline_ms && !interrupt_is_set()) {
		const json_t *node;
		const char *why;
		struct err ignored = ERR_INIT;

		if (api_get(sh, "/v1/nodes", &reply, &ignored) == ERR_OK) {
			node = find_node(reply, name);
			why = json_string_value(json_object_get(node, "reason"));
			if (node == NULL) {
				json_decref(reply);
				shell_say("node %s has left the cluster", name);
				return ERR_OK;
			}
			if (why != NULL && why[0] != '\0' && strcmp(why, said) != 0) {
				shell_say("waiting: %s", why);
				str_copy(said, sizeof said, why);
			}
			json_decref(reply);
		}
		usleep(LOOK_EVERY_US);
	}
	shell_hint(sh, "it goes on; see `mha-shell node list`, or take it back with `mha-shell node keep %s`", name);
	return err_set(e, ERR_TIMEOUT, "node %s has not left yet%s%s", name, said[0] != '\0' ? ": " : "", said);
}

int node_remove(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	struct buf effect = {0};
	int rc;

	buf_printf(&effect,
	           "removal of node %s: it loses its vote, its instances stop, its certificates are revoked\n"
	           "  to come back it needs an empty state directory and a new token (mha-shell node add)\n",
	           args[0]);
	rc = confirm(sh, o, effect.data, NULL, e);
	buf_done(&effect);
	if (rc == ERR_OK)
		rc = post(sh, args[0], "remove", json_object(), e);
	return rc == ERR_OK ? wait_until_gone(sh, args[0], e) : rc;
}

int node_keep(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	(void)o;
	return post(sh, args[0], "keep", json_object(), e);
}

int node_move(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	struct buf effect = {0};
	int rc;

	buf_printf(&effect,
	           "node %s moves to %s: the others look for it there from now on\n"
	           "  change `address` in its node.yaml to the same before mhad is started there\n",
	           args[0], args[1]);
	rc = confirm(sh, o, effect.data, NULL, e);
	buf_done(&effect);
	return rc == ERR_OK ? post(sh, args[0], "move", json_pack("{s:s}", "address", args[1]), e) : rc;
}
