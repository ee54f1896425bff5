#include "core/base/log.h"
#include "drivers/file.h"
#include "drivers/postgresql/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RELOAD_LIMIT_POLLS 1000
#define ROLE_FILE_MAX      8192

/* A user's settings may replace these. */
static const char defaults[] = "max_wal_senders = 10\n"
                               "max_replication_slots = 10\n"
                               "wal_keep_size = 256MB\n"
                               "log_line_prefix = '%m [%p] '\n"
                               "log_timezone = 'UTC'\n";

/* Not these: failover, fencing or the promise of durability depends on each.
 * restart_after_crash: a server that starts itself again after a crash would be writable without anybody's order; it ends
 * instead, which is reported at once. wal_receiver_timeout also makes an idle replica ask for a sign of life every half of it,
 * which is evidence. */
static const char fixed[] = "listen_addresses = '*'\n"
                            "hot_standby = on\n"
                            "wal_level = replica\n"
                            "wal_log_hints = on\n"
                            "fsync = on\n"
                            "full_page_writes = on\n"
                            "synchronous_commit = on\n"
                            "restart_after_crash = off\n"
                            "recovery_target_timeline = 'latest'\n"
                            "wal_retrieve_retry_interval = 100ms\n"
                            "wal_receiver_status_interval = 1s\n"
                            "wal_receiver_timeout = 3s\n"
                            "wal_sender_timeout = 5s\n"
                            "tcp_user_timeout = 5s\n"
                            "tcp_keepalives_idle = 5\n"
                            "tcp_keepalives_interval = 2\n"
                            "tcp_keepalives_count = 3\n"
                            "logging_collector = off\n"
                            "log_destination = 'stderr'\n"
                            "unix_socket_permissions = 0700\n";

/* What postgresql.auto.conf, which is read last, must not set. */
static const char *const owned[] = {
        "primary_conninfo",
        "primary_slot_name",
        "synchronous_standby_names",
        "recovery_target_timeline",
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
        "recovery_min_apply_delay",
        "promote_trigger_file",
        "hba_file",
        "listen_addresses",
        "port",
        "unix_socket_directories",
        "hot_standby",
        "wal_level",
        "wal_log_hints",
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "restart_after_crash",
        "logging_collector",
        "log_destination",
        "cluster_name",
};

/* 'text' as a value in a configuration file. */
static void add_quoted(struct buf *b, const char *text)
{
	buf_puts(b, "'");
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			buf_puts(b, "'");
		buf_add(b, text, 1);
	}
	buf_puts(b, "'");
}

void pg_role_conninfo(const struct driver_ctx *ctx, const struct pg_role *role, struct buf *out)
{
	if (role->upstream[0] == '\0')
		return;
	buf_printf(out,
	           "host=%s port=%u user=%s application_name=%s connect_timeout=2 tcp_user_timeout=2000 keepalives_idle=2 "
	           "keepalives_interval=1 keepalives_count=3 gssencmode=disable",
	           role->host, role->port, ctx->inst->replication_user, ctx->cfg->node);
}

void pg_role_sync_names(const struct pg_role *role, struct buf *out)
{
	const char *at = role->sync_members;
	size_t len;

	if (*at == '\0')
		return;
	buf_printf(out, "ANY %u (", role->sync_count > 0 ? role->sync_count : 1U);
	for (; *at != '\0'; at += len + (at[len] == ',')) {
		len = strcspn(at, ",");
		buf_printf(out, "%s\"%.*s\"", at == role->sync_members ? "" : ",", (int)len, at);
	}
	buf_puts(out, ")");
}

static void take_value(const char *text, const char *key, char *ret, size_t cap)
{
	const char *at = strstr(text, key);
	size_t len;

	if (at == NULL || (at = strchr(at, '\'')) == NULL)
		return;
	len = strcspn(++at, "'\n");
	if (len < cap) {
		memcpy(ret, at, len);
		ret[len] = '\0';
	}
}

int pg_role_read(const struct driver_ctx *ctx, struct pg_role *ret, struct err *e)
{
	char path[DRIVER_PATH_SIZE], number[16] = "";
	struct pg_role role = {0};
	struct buf text = {0};
	int rc;

	rc = file_read_tail(driver_path(ctx, PG_ROLE_CONF, path), ROLE_FILE_MAX, &text, e);
	if (rc == ERR_OK && text.data != NULL) {
		take_value(text.data, "mha.upstream ", role.upstream, sizeof role.upstream);
		take_value(text.data, "mha.host ", role.host, sizeof role.host);
		take_value(text.data, "mha.port ", number, sizeof number);
		role.port = (uint16_t)strtoul(number, NULL, 10);
		take_value(text.data, "mha.sync_members ", role.sync_members, sizeof role.sync_members);
		take_value(text.data, "mha.sync_count ", number, sizeof number);
		role.sync_count = (uint16_t)strtoul(number, NULL, 10);
	}
	buf_done(&text);
	if (rc == ERR_OK || rc == ERR_NOTFOUND)
		*ret = role;
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

int pg_role_write(struct driver_ctx *ctx, const struct pg_role *role, bool *ret_changed, struct err *e)
{
	struct buf text = {0}, value = {0};
	char path[DRIVER_PATH_SIZE];
	int rc;

	buf_puts(&text, "# Written by mha-dbd with every order; changes are lost.\n");
	buf_printf(&text, "mha.upstream = '%s'\nmha.host = '%s'\nmha.port = '%u'\n", role->upstream, role->host, role->port);
	buf_printf(&text, "mha.sync_members = '%s'\nmha.sync_count = '%u'\n", role->sync_members, role->sync_count);
	pg_role_conninfo(ctx, role, &value);
	buf_puts(&text, "primary_conninfo = ");
	add_quoted(&text, value.data != NULL ? value.data : "");
	buf_clear(&value);
	pg_role_sync_names(role, &value);
	buf_puts(&text, "\nsynchronous_standby_names = ");
	add_quoted(&text, value.data != NULL ? value.data : "");
	buf_puts(&text, "\n");
	rc = file_update(driver_path(ctx, PG_ROLE_CONF, path), text.data, ret_changed, e);
	buf_done(&text);
	buf_done(&value);
	return rc;
}

int pg_role_set_upstream(struct pg_role *role, const struct dbd_msg *order, struct err *e)
{
	if (!str_is_name(order->peer_node) || order->peer_port == 0)
		return err_set(e, ERR_INVAL, "the order names no peer to receive from");
	if (order->peer_host[0] == '\0' ||
	    order->peer_host[strspn(order->peer_host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:-_%")] !=
	            '\0')
		return err_set(e, ERR_INVAL, "\"%s\" is not the address of a peer", order->peer_host);
	str_copy(role->upstream, sizeof role->upstream, order->peer_node);
	str_copy(role->host, sizeof role->host, order->peer_host);
	role->port = order->peer_port;
	return ERR_OK;
}

int pg_role_set_sync(struct pg_role *role, const struct dbd_msg *order, struct err *e)
{
	const char *at = order->sync_members;
	unsigned count = 0;
	size_t len;

	for (; *at != '\0'; at += len + (at[len] == ',')) {
		char name[DBD_NAME_SIZE];

		len = strcspn(at, ",");
		snprintf(name, sizeof name, "%.*s", (int)len, at);
		if (len >= sizeof name || !str_is_name(name))
			return err_set(e, ERR_INVAL, "sync members \"%s\" are not node names with commas between them",
			               order->sync_members);
		count++;
	}
	if (at != order->sync_members && at[-1] == ',')
		return err_set(e, ERR_INVAL, "sync members \"%s\" end in a comma", order->sync_members);
	if (order->sync_count > count)
		return err_set(e, ERR_INVAL, "commits cannot wait for %u of %u members", order->sync_count, count);
	str_copy(role->sync_members, sizeof role->sync_members, order->sync_members);
	role->sync_count = count > 0 && order->sync_count == 0 ? 1 : order->sync_count;
	return ERR_OK;
}

static int write_conf(struct driver_ctx *ctx, struct err *e)
{
	const struct config_instance *inst = ctx->inst;
	char path[DRIVER_PATH_SIZE];
	bool has_changed = false;
	struct buf b = {0};
	unsigned i;
	int rc;

	buf_puts(&b, "# Written by mha-dbd at every start. Put settings into node.yaml (instances: settings) or "
	             "postgresql.conf.\n");
	buf_puts(&b, "include_if_exists ");
	snprintf(path, sizeof path, "%s/postgresql.conf", inst->data_dir);
	add_quoted(&b, path);
	buf_printf(&b, "\n%s", defaults);
	for (i = 0; i < inst->settings_count; i++)
		buf_printf(&b, "%s\n", inst->settings[i]);
	buf_printf(&b, "%sport = %u\ncluster_name = '%s/%s'\nunix_socket_directories = ", fixed, inst->port, inst->group,
	           ctx->cfg->node);
	add_quoted(&b, ctx->socket_dir);
	buf_puts(&b, "\nhba_file = ");
	add_quoted(&b, driver_path(ctx, PG_HBA, path));
	buf_puts(&b, "\ninclude ");
	add_quoted(&b, driver_path(ctx, PG_ROLE_CONF, path));
	buf_puts(&b, "\ninclude_if_exists ");
	add_quoted(&b, driver_path(ctx, PG_NEEDED, path));
	buf_puts(&b, "\n");
	rc = file_update(driver_path(ctx, PG_CONF, path), b.data, &has_changed, e);
	buf_done(&b);
	/* Other settings may need other corrections: they are learnt anew. */
	return rc == ERR_OK && has_changed ? file_remove(driver_path(ctx, PG_NEEDED, path), e) : rc;
}

/* Peers are trusted by address: there is no place for a replication password yet, so the network between the nodes must be
 * private. */
static int write_hba(struct driver_ctx *ctx, struct err *e)
{
	char path[DRIVER_PATH_SIZE];
	struct buf b = {0};
	unsigned i;
	int rc;

	buf_puts(&b,
	         "# Written by mha-dbd at every start and when nodes come or go. Put lines into node.yaml (instances: hba).\n");
	buf_printf(&b, "local all \"%s\" peer\n", pg_of(ctx)->user);
	for (i = 0; i < ctx->peers.count; i++) {
		const char *address = ctx->peers.address[i], *bits = strchr(address, ':') != NULL ? "128" : "32";

		buf_printf(&b, "host replication \"%s\" %s/%s trust\n", ctx->inst->replication_user, address, bits);
		buf_printf(&b, "host postgres \"%s\" %s/%s trust\n", ctx->inst->replication_user, address, bits);
	}
	for (i = 0; i < ctx->inst->hba_count; i++)
		buf_printf(&b, "%s\n", ctx->inst->hba[i]);
	rc = file_update(driver_path(ctx, PG_HBA, path), b.data, NULL, e);
	buf_done(&b);
	return rc;
}

int pg_peers(struct driver_ctx *ctx, struct err *e)
{
	int rc = write_hba(ctx, e);

	/* Also when the file is as it was: the server may not have read it after an attempt that failed in between. */
	if (rc == ERR_OK && ctx->server_pid != 0)
		rc = pg_query(ctx, "SELECT pg_reload_conf()", 2000, NULL, e);
	return rc;
}

static bool is_owned(const char *line)
{
	size_t i, len;

	line += strspn(line, " \t");
	len = strcspn(line, " \t=\n");
	for (i = 0; i < sizeof owned / sizeof owned[0]; i++)
		if (strlen(owned[i]) == len && strncasecmp(line, owned[i], len) == 0)
			return true;
	return false;
}

bool pg_strip_auto_conf(const char *text, struct buf *out)
{
	bool has_removed = false;
	size_t len;

	for (; *text != '\0'; text += len) {
		len = strcspn(text, "\n");
		len += text[len] == '\n';
		if (is_owned(text))
			has_removed = true;
		else
			buf_add(out, text, len);
	}
	return has_removed;
}

static int clean_auto_conf(struct driver_ctx *ctx, struct err *e)
{
	struct buf text = {0}, kept = {0};
	char path[DRIVER_PATH_SIZE];
	int rc;

	snprintf(path, sizeof path, "%s/postgresql.auto.conf", ctx->inst->data_dir);
	rc = file_read_tail(path, 1 << 20, &text, e);
	if (rc == ERR_OK && text.data != NULL && pg_strip_auto_conf(text.data, &kept)) {
		log_warn(ctx->obj, "settings that mha-dbd manages were removed from %s", path);
		rc = file_write(path, kept.data != NULL ? kept.data : "", kept.len, e);
	}
	buf_done(&text);
	buf_done(&kept);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

int pg_settings_write(struct driver_ctx *ctx, struct err *e)
{
	struct pg_role role;
	int rc;

	if ((rc = write_conf(ctx, e)) != ERR_OK || (rc = write_hba(ctx, e)) != ERR_OK ||
	    (rc = clean_auto_conf(ctx, e)) != ERR_OK || (rc = pg_role_read(ctx, &role, e)) != ERR_OK)
		return rc;
	return pg_role_write(ctx, &role, NULL, e);
}

/* DETAIL:  max_connections = 30 is a lower setting than on the primary server, where its value was 100.
 * Every start of ours is a standby's, so a setting that was lowered would keep the server from ever starting again. */
bool pg_learn_needed(struct driver_ctx *ctx, const char *text)
{
	static const char mark[] = "is a lower setting than on the primary server, where its value was ";
	char path[DRIVER_PATH_SIZE], name[64];
	const char *at = strstr(text, mark), *line;
	struct buf b = {0};
	unsigned value;
	int rc;

	if (at == NULL || sscanf(at + strlen(mark), "%u", &value) != 1)
		return false;
	for (line = at; line > text && line[-1] != '\n';)
		line--;
	line = strstr(line, "DETAIL:");
	if (line == NULL || sscanf(line, "DETAIL: %63[a-z_]", name) != 1)
		return false;
	driver_path(ctx, PG_NEEDED, path);
	rc = file_read_tail(path, ROLE_FILE_MAX, &b, NULL);
	buf_printf(&b, "%s = %u\n", name, value);
	if (rc == ERR_OK || rc == ERR_NOTFOUND)
		rc = file_write(path, b.data, b.len, NULL);
	buf_done(&b);
	if (rc == ERR_OK)
		log_warn(ctx->obj, "%s = %u is used instead of the configured value: the database was last written with it",
		         name, value);
	return rc == ERR_OK;
}

static bool has_value(PGresult *r, int column, const struct buf *wanted)
{
	return strcmp(PQgetvalue(r, 0, column), wanted->data != NULL ? wanted->data : "") == 0;
}

static int is_role_in_force(struct driver_ctx *ctx, const struct pg_role *role, bool *ret, struct err *e)
{
	struct buf conninfo = {0}, names = {0};
	PGresult *r;
	int rc;

	rc = pg_query(ctx, "SELECT current_setting('primary_conninfo'), current_setting('synchronous_standby_names')", 2000, &r,
	              e);
	if (rc != ERR_OK)
		return rc;
	pg_role_conninfo(ctx, role, &conninfo);
	pg_role_sync_names(role, &names);
	*ret = has_value(r, 0, &conninfo) && has_value(r, 1, &names);
	PQclear(r);
	buf_done(&conninfo);
	buf_done(&names);
	return ERR_OK;
}

int pg_role_reload(struct driver_ctx *ctx, const struct pg_role *role, struct err *e)
{
	bool is_in_force = false;
	int i, rc = is_role_in_force(ctx, role, &is_in_force, e);

	if (rc == ERR_OK && !is_in_force)
		rc = pg_query(ctx, "SELECT pg_reload_conf()", 2000, NULL, e);
	for (i = 0; rc == ERR_OK && !is_in_force && i < RELOAD_LIMIT_POLLS; i++) {
		usleep(PG_POLL_MS * 1000);
		rc = is_role_in_force(ctx, role, &is_in_force, e);
	}
	if (rc == ERR_OK && !is_in_force)
		return err_set(e, ERR_TIMEOUT,
		               "the server does not take over its new settings: is something wrong in %s/" PG_CONF
		               " or overridden by ALTER SYSTEM? Its log is in the same folder",
		               ctx->state_dir);
	return rc;
}
