#include "store/backup_verify.h"

#include "core/base/clock.h"
#include "core/base/str.h"
#include "store/backup_check.h"
#include "store/backup_file.h"

#include <inttypes.h>
#include <jansson.h>

static int check_part(const char *path, const struct backup_info *info, unsigned i, struct backup_counts *ret, struct err *e)
{
	const struct backup_part *p = &info->parts[i];
	struct backup_db d;
	void *data;
	int rc = backup_file_read_part(path, info, i, &data, e);

	if (rc != 0)
		return rc;
	rc = backup_db_open(data, p->bytes, &d, e);
	if (rc == 0) {
		rc = backup_db_check(&d, e);
		if (rc == 0)
			rc = backup_db_count(&d, ret, e);
		backup_db_close(&d);
	}
	return rc == 0 ? 0 : err_wrap(e, "%s: database %s", path, p->name);
}

static void print_json(const char *path, const struct backup_info *info, const struct backup_counts *counts, FILE *out)
{
	char at[32];
	json_t *list = json_array();
	json_t *o =
	        json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "version", 1, "file", path, "cluster", info->cluster, "uuid",
	                  info->uuid, "node", info->node, "program", info->program, "at", clock_format_wall(info->at_ms, at),
	                  "revision", (json_int_t)info->revision, "schema_version", (json_int_t)info->schema_version);

	for (unsigned i = 0; i < BACKUP_PARTS; i++)
		json_array_append_new(list,
		                      json_pack("{s:s,s:I,s:I,s:i,s:I,s:I}", "name", info->parts[i].name, "bytes",
		                                (json_int_t)info->parts[i].bytes, "stored_bytes",
		                                (json_int_t)info->parts[i].stored_bytes, "tables", (int)counts[i].tables,
		                                "rows", (json_int_t)counts[i].rows, "orphans", (json_int_t)counts[i].orphans));
	json_object_set_new(o, "databases", list);
	json_dumpf(o, out, JSON_COMPACT | JSON_PRESERVE_ORDER);
	fputc('\n', out);
	json_decref(o);
}

static void print_text(const char *path, const struct backup_info *info, const struct backup_counts *counts, FILE *out)
{
	char at[32];

	fprintf(out,
	        "%s: ok\n  cluster %s (%s), node %s, %s\n  revision %" PRIu64 ", schema version %" PRId64 ", written by %s\n",
	        path, info->cluster, info->uuid, info->node, clock_format_wall(info->at_ms, at), info->revision,
	        info->schema_version, info->program);
	for (unsigned i = 0; i < BACKUP_PARTS; i++) {
		fprintf(out, "  database %s: %u tables, %" PRId64 " rows, %" PRIu64 " bytes (%" PRIu64 " in the file)\n",
		        info->parts[i].name, counts[i].tables, counts[i].rows, info->parts[i].bytes,
		        info->parts[i].stored_bytes);
		if (counts[i].orphans > 0)
			fprintf(out, "    note: %" PRId64 " rows break a foreign key, the first of them in table %s\n",
			        counts[i].orphans, counts[i].orphan_table);
	}
}

int backup_verify(const char *path, bool is_json, FILE *out, struct err *e)
{
	struct backup_counts counts[BACKUP_PARTS];
	struct backup_info info;
	int rc = backup_file_read(path, &info, e);

	for (unsigned i = 0; rc == 0 && i < BACKUP_PARTS; i++)
		rc = check_part(path, &info, i, &counts[i], e);
	if (rc == 0)
		(is_json ? print_json : print_text)(path, &info, counts, out);
	return rc;
}
