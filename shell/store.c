#include "core/base/spawn.h"
#include "shell/api.h"
#include "shell/shell.h"
#include "shell/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKUP_TIMEOUT_MS 1800000

int store_backup(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *body = json_object(), *reply;
	struct api_call c = {.path = "/v1/store/backup", .body = body, .timeout_ms = BACKUP_TIMEOUT_MS};
	char node[32], path[32], size[16];
	int rc;

	(void)args;
	if (o->to != NULL)
		json_object_set_new(body, "to", json_string(o->to));
	rc = api_call(sh, &c, &reply, e);
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		fprintf(sh->out.stream, "node,path,bytes\n%s,%s,%" PRId64 "\n", api_text(reply, "node", node),
		        api_text(reply, "path", path), api_int(reply, "bytes", 0));
	else
		fprintf(sh->out.stream, "%s on %s, %s, checked\n", api_text(reply, "path", path), api_text(reply, "node", node),
		        text_bytes((uint64_t)api_int(reply, "bytes", 0), size));
	json_decref(reply);
	return ERR_OK;
}

static void print_age(FILE *f, int64_t age_ms)
{
	if (age_ms < 120000)
		fprintf(f, "%" PRId64 " s ago", age_ms / 1000);
	else if (age_ms < 7200000)
		fprintf(f, "%" PRId64 " min ago", age_ms / 60000);
	else
		fprintf(f, "%" PRId64 " h ago", age_ms / 3600000);
}

static void print_backup(const struct out *out, const json_t *status)
{
	const json_t *last = json_object_get(status, "last_backup");
	int64_t now = api_int(status, "now_ms", 0), good = api_int(status, "last_good_ms", 0);
	char text[32];

	fprintf(out->stream, "last backup: ");
	if (good == 0)
		fprintf(out->stream, "never");
	else
		print_age(out->stream, now - good);
	if (json_is_object(last) && strcmp(json_string_value(json_object_get(last, "result")), "ok") == 0)
		fprintf(out->stream, ", %s on %s\n", api_text(last, "path", text),
		        json_string_value(json_object_get(last, "node")));
	else if (json_is_object(last))
		fprintf(out->stream, "; the newest attempt failed: %s\n", json_string_value(json_object_get(last, "reason")));
	else
		fprintf(out->stream, "\n");
	if (api_int(status, "backup_every_s", 0) > 0)
		fprintf(out->stream, "schedule on the leader: every %" PRId64 " s, %" PRId64 " are kept in %s\n",
		        api_int(status, "backup_every_s", 0), api_int(status, "backup_keep", 0),
		        json_string_value(json_object_get(status, "backup_dir")));
	else
		fprintf(out->stream, "schedule: none (backup: {every: ...} in node.yaml)\n");
}

static void print_nodes(const struct out *out, const json_t *status)
{
	const json_t *node;
	struct table t;
	char text[32];
	size_t i;

	table_init(&t);
	table_column(&t, "node", false, 0);
	table_column(&t, "free", true, 0);
	table_column(&t, "%", true, 0);
	table_column(&t, "knows schema", true, 0);
	json_array_foreach(json_object_get(status, "nodes"), i, node)
	{
		table_cell(&t, api_text(node, "node", text));
		table_cell(&t, text_bytes((uint64_t)api_int(node, "free_mb", 0) << 20, text));
		table_cell_uint(&t, (uint64_t)api_int(node, "free_percent", 0));
		table_cell_uint(&t, (uint64_t)api_int(node, "schema_known", 0));
	}
	if (out->format == OUT_CSV)
		table_print_csv(&t, out, true);
	else
		table_print(&t, out, TABLE_PLAIN, 0);
	table_done(&t);
}

int store_status(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *reply;
	int rc = api_get(sh, "/v1/store", &reply, e);

	(void)o;
	(void)args;
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON) {
		out_json(&sh->out, reply);
	} else {
		if (sh->out.format == OUT_TABLE) {
			fprintf(sh->out.stream, "schema version %" PRId64 "\n", api_int(reply, "schema", 0));
			print_backup(&sh->out, reply);
			fputc('\n', sh->out.stream);
		}
		print_nodes(&sh->out, reply);
	}
	json_decref(reply);
	return ERR_OK;
}

/* Beside this program. */
static int find_stored(char *buf, size_t size, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 16);
	char *slash;

	if (n < 0)
		return err_set(e, ERR_IO, "/proc/self/exe cannot be read");
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	str_copy(slash + 1, size - (size_t)(slash + 1 - buf), "mha-stored");
	return ERR_OK;
}

/* Needs no cluster: mha-stored reads the file, which it knows how to. */
int store_verify(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	char program[PATH_MAX];
	const char *argv[] = {program, "--verify", args[0], sh->out.format == OUT_JSON ? "--json" : NULL, NULL};
	struct spawn_opts s = SPAWN_INIT;
	struct spawned child;
	int rc = find_stored(program, sizeof program, e), status = 0;

	(void)o;
	s.argv = argv;
	fflush(sh->out.stream);
	if (rc == ERR_OK)
		rc = spawn_start(&s, &child, e);
	if (rc != ERR_OK)
		return rc;
	if (waitpid(child.pid, &status, 0) != child.pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		rc = err_set(e, ERR_IO, "%s cannot be trusted: take another backup", args[0]);
	close(child.pidfd);
	return rc;
}
