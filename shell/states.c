#include "shell/states.h"

#include "shell/api.h"
#include "shell/text.h"

#include <string.h>

static const struct {
	const char *state;
	enum cell_colour colour;
} colours[] = {
        {"online", COLOUR_GOOD}, {"running", COLOUR_GOOD}, {"steady", COLOUR_GOOD},     {"streaming", COLOUR_GOOD},
        {"offline", COLOUR_BAD}, {"down", COLOUR_BAD},     {"failed", COLOUR_BAD},      {"blocked", COLOUR_BAD},
        {"absent", COLOUR_BAD},  {"stopped", COLOUR_BAD},  {"unreachable", COLOUR_BAD},
};

enum cell_colour states_colour(const char *state)
{
	size_t i;

	for (i = 0; i < sizeof colours / sizeof colours[0]; i++)
		if (strcmp(colours[i].state, state) == 0)
			return colours[i].colour;
	return COLOUR_WARN;
}

void states_cell(struct table *t, const char *state)
{
	table_cell_coloured(t, state, state != NULL ? states_colour(state) : COLOUR_NONE);
}

void states_print(const struct out *o, const char *state)
{
	fputs(o->has_colour ? out_sgr(states_colour(state)) : "", o->stream);
	fputs(state, o->stream);
	fputs(o->has_colour ? out_sgr(COLOUR_NONE) : "", o->stream);
}

void states_instances(struct table *t, const json_t *group)
{
	const json_t *instance;
	char text[32], lag[16];
	int64_t lag_bytes;
	size_t i;

	table_column(t, "instance", false, 0);
	table_column(t, "role", false, 0);
	table_column(t, "state", false, 0);
	table_column(t, "position", false, 0);
	table_column(t, "lag", true, 0);
	table_column(t, "sync", false, 0);
	json_array_foreach(json_object_get(group, "instances"), i, instance)
	{
		table_cell(t, api_text(instance, "node", text));
		table_cell(t, api_text(instance, "role", text));
		states_cell(t, api_text(instance, "state", text));
		table_cell(t, api_text(instance, "position", text));
		lag_bytes = api_int(instance, "lag_bytes", -1);
		table_cell(t, lag_bytes >= 0 ? text_bytes((uint64_t)lag_bytes, lag) : NULL);
		table_cell(t, api_text(instance, "sync", text));
	}
}

void states_vips(struct table *t, const json_t *reply)
{
	const json_t *vip;
	const char *holder;
	char text[32];
	size_t i;

	table_column(t, "vip", false, 0);
	table_column(t, "owner", false, 0);
	table_column(t, "holder", false, 0);
	json_array_foreach(json_object_get(reply, "vips"), i, vip)
	{
		table_cell(t, api_text(vip, "address", text));
		table_cell(t, api_text(vip, "owner", text));
		holder = api_text(vip, "holder", text);
		table_cell_coloured(t, holder, holder != NULL ? COLOUR_NONE : COLOUR_BAD);
	}
}

void states_csv(const struct out *o, const json_t *array, const char *const *keys, bool with_titles)
{
	const json_t *object;
	char text[32];
	size_t i, k;
	struct table t;

	table_init(&t);
	for (k = 0; keys[k] != NULL; k++)
		table_column(&t, keys[k], false, 0);
	json_array_foreach(array, i, object) for (k = 0; keys[k] != NULL; k++) table_cell(&t, api_text(object, keys[k], text));
	table_print_csv(&t, o, with_titles);
	table_done(&t);
}
