/* node add: the token goes to stdout alone, so that it can be piped to the new host; what to do with it goes to stderr. */
#include "core/base/str.h"
#include "shell/api.h"
#include "shell/shell.h"
#include "shell/text.h"

#include <stdio.h>
#include <string.h>

#define CALL_TIMEOUT_MS 15000
#define TTL_MAX_S       (7 * 86400)

/* "90", "90s", "30m", "1h", "2d". */
static int parse_ttl(const char *text, uint64_t *ret_s, struct err *e)
{
	static const char units[] = "smhd";
	static const uint64_t factors[] = {1, 60, 3600, 86400};
	size_t len = strlen(text);
	const char *unit = len > 1 ? strchr(units, text[len - 1]) : NULL;
	uint64_t factor = unit != NULL ? factors[unit - units] : 1, n;
	char digits[16];
	int rc;

	if (!str_copy(digits, sizeof digits, text))
		return err_set(e, ERR_INVAL, "--ttl: \"%.20s...\" is no time", text);
	if (unit != NULL)
		digits[len - 1] = '\0';
	rc = str_to_u64(digits, "--ttl", 1, TTL_MAX_S / factor, &n, e);
	if (rc == ERR_OK)
		*ret_s = n * factor;
	return rc;
}

static void explain(const json_t *reply)
{
	char node[40], role[32], until[40], iso[40];
	const char *name = api_text(reply, "node", node);

	shell_say("on the new host, as root:  mhad join - [--address ITS-ADDRESS]   (it reads the token from its standard "
	          "input)");
	shell_say("the token lets one host in, once, as node %s (%s), until %s; keep it as secret as a password", name,
	          api_text(reply, "role", role), text_local_time(api_text(reply, "expires_at", iso), until));
}

int node_add(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *body = json_pack("{s:s,s:s}", "name", args[0], "role", o->role != NULL ? o->role : "data"), *reply;
	struct api_call c = {.path = "/v1/nodes", .body = body, .timeout_ms = CALL_TIMEOUT_MS};
	uint64_t ttl_s = 0;
	int rc = ERR_OK;

	if (o->ttl != NULL)
		rc = parse_ttl(o->ttl, &ttl_s, e);
	if (rc == ERR_OK && ttl_s > 0)
		json_object_set_new(body, "ttl_s", json_integer((json_int_t)ttl_s));
	if (rc == ERR_OK)
		rc = api_call(sh, &c, &reply, e);
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else
		fprintf(sh->out.stream, "%s\n", json_string_value(json_object_get(reply, "token")));
	explain(reply);
	json_decref(reply);
	return ERR_OK;
}
