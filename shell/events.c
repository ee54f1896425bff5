#include "core/base/str.h"
#include "shell/api.h"
#include "shell/interrupt.h"
#include "shell/shell.h"
#include "shell/states.h"
#include "shell/text.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define LONG_POLL_SECONDS 25
#define RETRY_SECONDS     1
#define READ_TIMEOUT_MS   10000 /* events are read from the store, which may have to wait for its lease */

static enum cell_colour colour_of_severity(const char *severity)
{
	if (severity != NULL && strcmp(severity, "critical") == 0)
		return COLOUR_BAD;
	return severity != NULL && strcmp(severity, "warning") == 0 ? COLOUR_WARN : COLOUR_NONE;
}

/* Widths stay the same from one batch of --follow to the next. */
static void fill_table(struct table *t, const json_t *events)
{
	const json_t *event;
	const char *severity, *at;
	char text[32], local[40];
	size_t i;

	table_column(t, "id", true, 5);
	table_column(t, "time", false, 23);
	table_column(t, "severity", false, 8);
	table_column(t, "group", false, 8);
	table_column(t, "epoch", true, 5);
	table_column(t, "event", false, 0);
	json_array_foreach(events, i, event)
	{
		table_cell(t, api_text(event, "id", text));
		at = api_text(event, "at", text);
		table_cell(t, at != NULL ? text_local_time(at, local) : NULL);
		severity = api_text(event, "severity", text);
		table_cell_coloured(t, severity, colour_of_severity(severity));
		table_cell(t, api_text(event, "group", text));
		table_cell(t, api_text(event, "epoch", text));
		table_cell(t, api_text(event, "text", text));
	}
}

/* A batch of events. With --follow JSON is one event per line, so that each can be read as it comes. */
static void print_events(struct shell *sh, const json_t *reply, bool is_first, bool is_following)
{
	static const char *const keys[] = {"id", "at", "severity", "group", "epoch", "generation", "rule", "text", NULL};
	const json_t *events = json_object_get(reply, "events"), *event;
	struct out lines = sh->out;
	struct table t;
	size_t i;

	if (sh->out.format == OUT_JSON && !is_following) {
		out_json(&sh->out, reply);
	} else if (sh->out.format == OUT_JSON) {
		lines.is_terminal = false;
		json_array_foreach(events, i, event) out_json(&lines, event);
	} else if (sh->out.format == OUT_CSV) {
		states_csv(&sh->out, events, keys, is_first);
	} else {
		table_init(&t);
		fill_table(&t, events);
		if (is_first)
			table_print(&t, &sh->out, TABLE_PLAIN, 0);
		else
			table_print_rows(&t, &sh->out, TABLE_PLAIN, 0);
		table_done(&t);
	}
	fflush(sh->out.stream);
}

static int64_t last_id(const json_t *reply, int64_t before)
{
	const json_t *event;
	int64_t id;
	size_t i;

	json_array_foreach(json_object_get(reply, "events"), i, event)
	{
		id = api_int(event, "id", 0);
		if (id > before)
			before = id;
	}
	return before;
}

/* Wait for events after `last` and print them until interrupted. A lost connection is said once and tried again: following a
 * failover means that the node one asks may be the one that fails. */
static int follow(struct shell *sh, const struct options *o, int64_t last, struct err *e)
{
	char path[128];
	struct api_call c = {.path = path, .timeout_ms = LONG_POLL_SECONDS * 1000 + READ_TIMEOUT_MS};
	bool is_lost = false;
	json_t *reply;
	int rc;

	for (;;) {
		snprintf(path, sizeof path, "/v1/events?after=%" PRId64 "&limit=%u&wait=%d", last, o->limit, LONG_POLL_SECONDS);
		rc = api_call(sh, &c, &reply, e);
		if (rc == ERR_OK) {
			if (is_lost)
				shell_say("the events go on");
			is_lost = false;
			if (json_array_size(json_object_get(reply, "events")) > 0)
				print_events(sh, reply, false, true);
			last = last_id(reply, last);
			json_decref(reply);
			if (ferror(sh->out.stream))
				return err_set(e, ERR_IO, "cannot write to standard output");
			continue;
		}
		if (interrupt_is_set() || (rc != ERR_UNREACHABLE && rc != ERR_NOQUORUM))
			return interrupt_is_set() ? ERR_OK : rc;
		if (!is_lost)
			shell_say("waiting for a node that answers: %s", e->text);
		is_lost = true;
		sleep(RETRY_SECONDS);
	}
}

int cluster_events(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	char path[96];
	struct api_call c = {.path = path, .timeout_ms = READ_TIMEOUT_MS};
	json_t *reply;
	int64_t last;
	int rc;

	(void)args;
	if ((o->given & OPT_AFTER) != 0)
		snprintf(path, sizeof path, "/v1/events?after=%" PRIu64 "&limit=%u", o->after, o->limit);
	else
		snprintf(path, sizeof path, "/v1/events?limit=%u", o->limit);
	rc = api_call(sh, &c, &reply, e);
	if (rc != ERR_OK)
		return rc;
	print_events(sh, reply, true, o->follow);
	last = last_id(reply, (int64_t)o->after);
	json_decref(reply);
	return o->follow ? follow(sh, o, last, e) : ERR_OK;
}
