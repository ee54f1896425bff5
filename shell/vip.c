#include "shell/api.h"
#include "shell/shell.h"
#include "shell/states.h"

int vip_list(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	struct table t;
	json_t *reply;
	int rc;

	(void)o;
	(void)args;
	rc = api_get(sh, "/v1/vips", &reply, e);
	if (rc != ERR_OK)
		return rc;
	table_init(&t);
	states_vips(&t, reply);
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		table_print_csv(&t, &sh->out, true);
	else
		table_print(&t, &sh->out, TABLE_PLAIN, 0);
	table_done(&t);
	json_decref(reply);
	return ERR_OK;
}
