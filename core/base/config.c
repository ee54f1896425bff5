#include "core/base/config.h"

#include "core/base/str.h"

#include <arpa/inet.h>
#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPT_STR(key, type, member)                                                                                             \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, CYAML_UNLIMITED)
#define REQ_STR(key, type, member)  CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, CYAML_UNLIMITED)
#define OPT_PORT(key, type, member) CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)

static const cyaml_schema_field_t ports_fields[] = {
        OPT_PORT("peer", struct config_ports, peer),
        OPT_PORT("raft", struct config_ports, raft),
        OPT_PORT("sql", struct config_ports, sql),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t sql_fields[] = {
        OPT_STR("auth", struct config_sql, auth),
        OPT_STR("listen", struct config_sql, listen),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t tls_fields[] = {
        OPT_STR("mode", struct config_tls, mode),
        OPT_STR("ca", struct config_tls, ca),
        OPT_STR("cert", struct config_tls, cert),
        OPT_STR("key", struct config_tls, key),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t api_fields[] = {
        OPT_STR("health", struct config_api, health),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t backup_fields[] = {
        OPT_STR("dir", struct config_backup, dir),
        OPT_STR("every", struct config_backup, every),
        OPT_STR("command", struct config_backup, command),
        CYAML_FIELD_UINT("keep", CYAML_FLAG_OPTIONAL, struct config_backup, keep),
        CYAML_FIELD_END,
};

static const cyaml_schema_field_t node_fields[] = {
        REQ_STR("name", struct config_node, name),
        REQ_STR("address", struct config_node, address),
        OPT_STR("role", struct config_node, role),
        OPT_STR("failure_domain", struct config_node, failure_domain),
        OPT_PORT("peer_port", struct config_node, peer_port),
        OPT_PORT("raft_port", struct config_node, raft_port),
        OPT_PORT("sql_port", struct config_node, sql_port),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t node_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_node, node_fields)};

static const cyaml_schema_field_t vip_fields[] = {
        REQ_STR("address", struct config_vip, address),
        REQ_STR("owner", struct config_vip, owner),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t vip_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_vip, vip_fields)};

static const cyaml_schema_value_t line_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t instance_fields[] = {
        REQ_STR("group", struct config_instance, group),
        REQ_STR("engine", struct config_instance, engine),
        REQ_STR("data_dir", struct config_instance, data_dir),
        OPT_STR("bin_dir", struct config_instance, bin_dir),
        OPT_STR("os_user", struct config_instance, os_user),
        OPT_STR("durability", struct config_instance, durability),
        OPT_STR("on_failure", struct config_instance, on_failure),
        OPT_STR("replication_user", struct config_instance, replication_user),
        OPT_PORT("port", struct config_instance, port),
        CYAML_FIELD_SEQUENCE_COUNT("hba", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_instance, hba, hba_count,
                                   &line_schema, 0, CYAML_UNLIMITED),
        CYAML_FIELD_SEQUENCE_COUNT("settings", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_instance, settings,
                                   settings_count, &line_schema, 0, CYAML_UNLIMITED),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t instance_schema = {
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_instance, instance_fields)};

static const cyaml_schema_field_t config_fields[] = {
        REQ_STR("cluster", struct config, cluster),
        REQ_STR("node", struct config, node),
        OPT_STR("role", struct config, role),
        REQ_STR("address", struct config, address),
        OPT_STR("state_dir", struct config, state_dir),
        OPT_STR("run_dir", struct config, run_dir),
        OPT_STR("user", struct config, user),
        OPT_STR("profile", struct config, profile),
        OPT_STR("vip_allow", struct config, vip_allow),
        OPT_STR("failure_domain", struct config, failure_domain),
        CYAML_FIELD_MAPPING("ports", CYAML_FLAG_OPTIONAL, struct config, ports, ports_fields),
        CYAML_FIELD_MAPPING("sql", CYAML_FLAG_OPTIONAL, struct config, sql, sql_fields),
        CYAML_FIELD_MAPPING("tls", CYAML_FLAG_OPTIONAL, struct config, tls, tls_fields),
        CYAML_FIELD_MAPPING("api", CYAML_FLAG_OPTIONAL, struct config, api, api_fields),
        CYAML_FIELD_MAPPING("backup", CYAML_FLAG_OPTIONAL, struct config, backup, backup_fields),
        CYAML_FIELD_SEQUENCE_COUNT("nodes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, nodes, nodes_count,
                                   &node_schema, 0, CONFIG_NODES_MAX),
        CYAML_FIELD_SEQUENCE_COUNT("vips", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, vips, vips_count,
                                   &vip_schema, 0, 8),
        CYAML_FIELD_SEQUENCE_COUNT("instances", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, instances,
                                   instances_count, &instance_schema, 0, 64),
        CYAML_FIELD_END,
};
static const cyaml_schema_value_t config_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields)};

/* libcyaml explains itself through its log: the first error line names the key, the backtrace names the place. */
struct explanation {
	char text[320];
	size_t len;
	unsigned lines;
};

static void collect_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct explanation *x = ctx;
	char line[160];

	if (level < CYAML_LOG_ERROR || x->lines++ > 3)
		return;
	vsnprintf(line, sizeof line, fmt, args);
	line[strcspn(line, "\n")] = '\0';
	if (strstr(line, "Backtrace") != NULL)
		return;
	x->len += (size_t)snprintf(x->text + x->len, sizeof x->text - x->len, "%s%s", x->len > 0 ? "; " : "",
	                           line + strspn(line, " "));
	if (x->len >= sizeof x->text)
		x->len = sizeof x->text - 1;
}

static const cyaml_config_t *loader(struct explanation *x, cyaml_config_t *c)
{
	memset(c, 0, sizeof *c);
	c->log_fn = collect_log;
	c->log_ctx = x;
	c->mem_fn = cyaml_mem;
	c->log_level = CYAML_LOG_ERROR;
	return c;
}

static void default_str(char **s, const char *value)
{
	if (*s == NULL)
		*s = mem_strdup(value);
}

static void default_port(uint16_t *port, uint16_t value)
{
	if (*port == 0)
		*port = value;
}

/* Room for all nodes there may ever be, and an entry of this node's own. */
static void settle_nodes(struct config *c)
{
	c->nodes = mem_resize(c->nodes, CONFIG_NODES_MAX * sizeof *c->nodes);
	if (config_find_node(c, c->node) == NULL && c->nodes_count == 0)
		(void)config_add_node(c, c->node, c->address, c->role);
}

struct config_node *config_add_node(struct config *c, const char *name, const char *address, const char *role)
{
	struct config_node *n = &c->nodes[c->nodes_count];

	if (c->nodes_count == CONFIG_NODES_MAX)
		return NULL;
	memset(n, 0, sizeof *n);
	n->name = mem_strdup(name);
	n->address = mem_strdup(address);
	n->role = mem_strdup(role);
	n->failure_domain = mem_strdup("");
	n->peer_port = c->ports.peer;
	n->raft_port = c->ports.raft;
	n->sql_port = c->ports.sql;
	c->nodes_count++;
	return n;
}

static void fill_defaults(struct config *c)
{
	unsigned i;

	default_str(&c->role, "data");
	default_str(&c->state_dir, "/var/lib/mha4rdb");
	default_str(&c->run_dir, "/run/mha4rdb");
	default_str(&c->profile, "default");
	default_str(&c->vip_allow, "/etc/mha4rdb/vip.allow");
	default_str(&c->failure_domain, "");
	default_str(&c->tls.mode, "managed");
	default_port(&c->ports.peer, 7400);
	default_port(&c->ports.raft, 7401);
	default_port(&c->ports.sql, 5433);
	if (c->sql.auth != NULL)
		default_str(&c->sql.listen, "0.0.0.0");
	settle_nodes(c);
	for (i = 0; i < c->nodes_count; i++) {
		default_str(&c->nodes[i].role, "data");
		default_str(&c->nodes[i].failure_domain, "");
		default_port(&c->nodes[i].peer_port, c->ports.peer);
		default_port(&c->nodes[i].raft_port, c->ports.raft);
		default_port(&c->nodes[i].sql_port, c->ports.sql);
	}
	for (i = 0; i < c->instances_count; i++) {
		default_str(&c->instances[i].durability, "sync");
		default_str(&c->instances[i].on_failure, "failover");
		default_str(&c->instances[i].replication_user, "replicator");
		default_str(&c->instances[i].bin_dir, "/usr/lib/postgresql/15/bin");
		default_port(&c->instances[i].port, 5432);
	}
}

static int check_choice(const char *key, const char *value, const char *const *choices, struct err *e)
{
	struct buf list = {0};
	unsigned i;
	int rc;

	for (i = 0; choices[i] != NULL; i++) {
		if (strcmp(value, choices[i]) == 0) {
			buf_done(&list);
			return ERR_OK;
		}
		buf_printf(&list, "%s%s", i > 0 ? ", " : "", choices[i]);
	}
	rc = err_set(e, ERR_INVAL, "%s: \"%s\" is not one of %s", key, value, list.data);
	buf_done(&list);
	return rc;
}

static int check_address(const char *key, const char *address, struct err *e)
{
	unsigned char ip[16];

	if (inet_pton(AF_INET, address, ip) == 1 || inet_pton(AF_INET6, address, ip) == 1)
		return ERR_OK;
	return err_set(e, ERR_INVAL, "%s: \"%s\" is not a numeric IPv4 or IPv6 address", key, address);
}

static int check_name(const char *key, const char *name, struct err *e)
{
	if (str_is_name(name))
		return ERR_OK;
	return err_set(e, ERR_INVAL,
	               "%s: \"%s\" is not a name: use 1 to 32 of a-z, 0-9, - and _, starting with a letter or digit", key,
	               name);
}

static const char *const roles[] = {"data", "arbiter", NULL};

static int check_nodes(const struct config *c, struct err *e)
{
	const struct config_node *self = config_find_node(c, c->node);
	unsigned i, j;
	int rc;

	if (c->nodes_count > 1 && strcmp(c->tls.mode, "managed") == 0)
		return err_set(e, ERR_INVAL,
		               "nodes: with tls mode managed a host joins by the token that `mha-shell node add` prints: leave nodes "
		               "out, or give certificates of your own (tls: {mode: files, ...})");
	for (i = 0; i < c->nodes_count; i++) {
		if ((rc = check_name("nodes: name", c->nodes[i].name, e)) != ERR_OK ||
		    (rc = check_address("nodes: address", c->nodes[i].address, e)) != ERR_OK ||
		    (rc = check_choice("nodes: role", c->nodes[i].role, roles, e)) != ERR_OK)
			return rc;
		for (j = 0; j < i; j++)
			if (strcmp(c->nodes[i].name, c->nodes[j].name) == 0)
				return err_set(e, ERR_INVAL,
				               "nodes: two nodes are named \"%s\" (%s and %s): give each host a name of its "
				               "own",
				               c->nodes[i].name, c->nodes[j].address, c->nodes[i].address);
	}
	if (self == NULL)
		return err_set(e, ERR_INVAL, "nodes: this node \"%s\" is not listed: add {name: %s, address: %s}", c->node,
		               c->node, c->address);
	if (strcmp(self->address, c->address) != 0)
		return err_set(e, ERR_INVAL, "address: %s differs from %s under nodes for \"%s\": make them the same",
		               c->address, self->address, c->node);
	if (strcmp(self->role, c->role) != 0)
		return err_set(e, ERR_INVAL, "role: %s differs from %s under nodes for \"%s\": make them the same", c->role,
		               self->role, c->node);
	return ERR_OK;
}

static int check_instances(const struct config *c, struct err *e)
{
	static const char *const engines[] = {"postgresql", "fake", NULL};
	static const char *const durabilities[] = {"sync", "async", NULL};
	static const char *const policies[] = {"failover", "restart", NULL};
	unsigned i, j;
	int rc;

	if (config_is_arbiter(c) && (c->instances_count > 0 || c->vips_count > 0))
		return err_set(e, ERR_INVAL, "role: an arbiter has no instances and no vips: remove them or use role: data");
	for (i = 0; i < c->instances_count; i++) {
		const struct config_instance *inst = &c->instances[i];

		if ((rc = check_name("instances: group", inst->group, e)) != ERR_OK ||
		    (rc = check_choice("instances: engine", inst->engine, engines, e)) != ERR_OK ||
		    (rc = check_choice("instances: durability", inst->durability, durabilities, e)) != ERR_OK ||
		    (rc = check_choice("instances: on_failure", inst->on_failure, policies, e)) != ERR_OK)
			return rc;
		if (inst->data_dir[0] != '/')
			return err_set(e, ERR_INVAL, "instances: data_dir: \"%s\" is not an absolute path", inst->data_dir);
		for (j = 0; j < i; j++)
			if (strcmp(inst->group, c->instances[j].group) == 0)
				return err_set(e, ERR_INVAL,
				               "instances: two instances of group \"%s\" on one node: a node takes part once",
				               inst->group);
	}
	for (i = 0; i < c->vips_count; i++) {
		const char *owner = c->vips[i].owner;

		if ((rc = check_address("vips: address", c->vips[i].address, e)) != ERR_OK)
			return rc;
		if (strcmp(owner, "leader") != 0 && (strncmp(owner, "group:", 6) != 0 || !str_is_name(owner + 6)))
			return err_set(e, ERR_INVAL, "vips: owner: \"%s\" is neither \"leader\" nor \"group:NAME\"", owner);
	}
	return ERR_OK;
}

/* A socket's whole path fits 107 bytes; the longest name in run_dir is "/dbd-<name of 32>.sock". */
#define RUN_DIR_MAX 65

static int check_dirs(const struct config *c, struct err *e)
{
	if (c->state_dir[0] != '/')
		return err_set(e, ERR_INVAL, "state_dir: \"%s\" is not an absolute path", c->state_dir);
	if (c->run_dir[0] != '/')
		return err_set(e, ERR_INVAL, "run_dir: \"%s\" is not an absolute path", c->run_dir);
	if (strlen(c->run_dir) > RUN_DIR_MAX)
		return err_set(e, ERR_INVAL,
		               "run_dir: \"%s\" is longer than %d characters: the sockets in it would have no room", c->run_dir,
		               RUN_DIR_MAX);
	return ERR_OK;
}

static int check_tls(const struct config *c, struct err *e)
{
	static const char *const modes[] = {"managed", "files", "insecure-plaintext", NULL};
	bool has_files = c->tls.ca != NULL || c->tls.cert != NULL || c->tls.key != NULL;
	int rc = check_choice("tls: mode", c->tls.mode, modes, e);

	if (rc != ERR_OK)
		return rc;
	if (strcmp(c->tls.mode, "files") != 0)
		return has_files ? err_set(e, ERR_INVAL, "tls: ca, cert and key belong to mode: files, not to \"%s\"", c->tls.mode)
		                 : ERR_OK;
	if (c->tls.ca == NULL || c->tls.cert == NULL || c->tls.key == NULL)
		return err_set(e, ERR_INVAL, "tls: mode: files needs ca, cert and key: the paths of three PEM files");
	return ERR_OK;
}

static int check_config(struct config *c, struct err *e)
{
	static const char *const profiles[] = {"fast", "default", "relaxed", NULL};
	static const char *const auths[] = {"insecure-trust", NULL};
	static const char *const healths[] = {"insecure-open", NULL};
	int rc;

	if ((rc = check_name("cluster", c->cluster, e)) != ERR_OK || (rc = check_name("node", c->node, e)) != ERR_OK ||
	    (rc = check_address("address", c->address, e)) != ERR_OK ||
	    (rc = check_choice("role", c->role, roles, e)) != ERR_OK ||
	    (rc = check_choice("profile", c->profile, profiles, e)) != ERR_OK)
		return rc;
	if (c->sql.auth != NULL && (rc = check_choice("sql: auth", c->sql.auth, auths, e)) != ERR_OK)
		return rc;
	if (c->api.health != NULL && (rc = check_choice("api: health", c->api.health, healths, e)) != ERR_OK)
		return rc;
	if ((rc = check_tls(c, e)) != ERR_OK)
		return rc;
	if (c->sql.listen != NULL && c->sql.auth == NULL)
		return err_set(e, ERR_INVAL, "sql: listen needs sql: auth");
	if (c->sql.listen != NULL && (rc = check_address("sql: listen", c->sql.listen, e)) != ERR_OK)
		return rc;
	if ((rc = check_dirs(c, e)) != ERR_OK || (rc = config_settle_backup(c, e)) != ERR_OK || (rc = check_nodes(c, e)) != ERR_OK)
		return rc;
	return check_instances(c, e);
}

int config_load(const char *path, struct config **ret, struct err *e)
{
	struct explanation x = {{0}, 0, 0};
	struct config *c = NULL;
	cyaml_config_t settings;
	cyaml_err_t failure;
	int rc;

	if (access(path, R_OK) != 0)
		return err_set(e, ERR_NOTFOUND, "configuration \"%s\" cannot be read: give its path with --config", path);
	failure = cyaml_load_file(path, loader(&x, &settings), &config_schema, (cyaml_data_t **)&c, NULL);
	if (failure != CYAML_OK)
		return err_set(e, ERR_INVAL, "%s: %s", path, x.len > 0 ? x.text : cyaml_strerror(failure));
	if (c == NULL) /* libcyaml calls an empty document a success */
		return err_set(e, ERR_INVAL, "%s: there is nothing in it", path);
	fill_defaults(c);
	rc = check_config(c, e);
	if (rc != ERR_OK) {
		config_free(c);
		return err_wrap(e, "%s", path);
	}
	*ret = c;
	return ERR_OK;
}

void config_free(struct config *c)
{
	struct explanation x = {{0}, 0, 0};
	cyaml_config_t settings;

	if (c != NULL)
		cyaml_free(loader(&x, &settings), &config_schema, c, 0);
}

const struct config_node *config_find_node(const struct config *c, const char *name)
{
	unsigned i;

	for (i = 0; i < c->nodes_count; i++)
		if (strcmp(c->nodes[i].name, name) == 0)
			return &c->nodes[i];
	return NULL;
}

const struct config_instance *config_find_instance(const struct config *c, const char *group)
{
	unsigned i;

	for (i = 0; i < c->instances_count; i++)
		if (strcmp(c->instances[i].group, group) == 0)
			return &c->instances[i];
	return NULL;
}

bool config_is_arbiter(const struct config *c)
{
	return strcmp(c->role, "arbiter") == 0;
}

char *config_path_dbd(const struct config *c, const char *group, char *buf)
{
	snprintf(buf, 108, "%s/dbd-%s.sock", c->run_dir, group);
	return buf;
}

char *config_path_api(const struct config *c, char *buf)
{
	snprintf(buf, 108, "%s/api.sock", c->run_dir);
	return buf;
}

char *config_path_vipd(const struct config *c, char *buf)
{
	snprintf(buf, 108, "%s/vipd.sock", c->run_dir);
	return buf;
}
