/* node.yaml: what one host is told by its administrator. Read once at start; every program of the host reads the same file.
 *
 *   cluster: lab                     # name
 *   node: n1                         # this host
 *   role: data                       # data | arbiter
 *   address: 10.77.0.11              # this host's numeric address for the ports below
 *   ports: {peer: 7400, raft: 7401, sql: 5433}
 *   state_dir: /var/lib/mha4rdb      # store/, dbd/<group>/
 *   run_dir: /run/mha4rdb            # sockets
 *   user: mha                        # OS user of the unprivileged processes; left out: as the caller
 *   failure_domain: rack1            # voters are spread over these; left out: a domain of its own
 *   tls: {mode: managed}             # managed: certificates of the cluster's own CA, in state_dir/tls, made by init and join
 *                                    # files: the operator's own, given as ca, cert, key (PEM); insecure-plaintext: no
 *                                    # encryption and no authentication between nodes and at the API
 *   sql: {auth: insecure-trust, listen: 0.0.0.0}   # insecure-trust: no password over TCP; left out: unix socket only
 *   api: {health: insecure-open}     # health routes answer without a certificate (load balancers); left out: they do not
 *   backup: {dir: /var/backups/mha4rdb, keep: 7, every: 6h, command: "..."}   # dir: left out, state_dir/backup; every: s, m, h
 *                                    # or d, left out: only when asked for; command: run by /bin/sh with the file as its input
 *   profile: default                 # used by `cluster init` only: fast | default | relaxed
 *   nodes:                           # only with tls mode files or insecure-plaintext: hosts that may join without a token
 *     - {name: n1, address: 10.77.0.11}        # peer_port, raft_port, sql_port where they differ; role: arbiter
 *   vip_allow: /etc/mha4rdb/vip.allow
 *   vips:
 *     - {address: 10.77.0.100, owner: "group:main"}   # or owner: leader
 *   instances:
 *     - group: main
 *       engine: postgresql
 *       bin_dir: /usr/lib/postgresql/15/bin
 *       data_dir: /srv/pg
 *       port: 5432
 *       os_user: postgres              # left out: as the caller
 *       durability: sync               # sync | async (of the group; taken at cluster init)
 *       on_failure: failover           # failover | restart (in place first)
 *       replication_user: replicator
 *       hba: ["host all all 10.77.0.0/24 trust"]
 *       settings: ["shared_buffers=64MB"]
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct config_ports {
	uint16_t peer, raft, sql;
};

struct config_sql {
	char *auth;   /* NULL or "insecure-trust" */
	char *listen; /* numeric address of the TCP listener; NULL: 0.0.0.0 when auth is set */
};

struct config_tls {
	char *mode; /* "managed", "files" or "insecure-plaintext" */
	char *ca, *cert, *key;
};

struct config_api {
	char *health; /* NULL or "insecure-open" */
};

struct config_backup {
	char *dir, *every, *command; /* every and command: NULL when not said */
	unsigned keep;
	unsigned every_s; /* 0: never by itself */
};

struct config_node {
	char *name;
	char *address;
	char *role; /* "data" (default) or "arbiter" */
	char *failure_domain; /* "" when not said */
	uint16_t peer_port, raft_port, sql_port;
	bool is_removed; /* was a member of the cluster (core/base/roster.h): neither dialled nor listened to */
};

struct config_vip {
	char *address;
	char *owner; /* "leader" or "group:NAME" */
};

struct config_instance {
	char *group, *engine, *bin_dir, *data_dir, *os_user, *durability, *on_failure, *replication_user;
	uint16_t port;
	char **hba;
	unsigned hba_count;
	char **settings;
	unsigned settings_count;
};

#define CONFIG_NODES_MAX 16

/* After config_load every string that has a default is set, and every port too. nodes has room for CONFIG_NODES_MAX, so that
 * pointers into it stay good while the cluster grows, and this node is always among them. */
struct config {
	char *cluster, *node, *role, *address, *state_dir, *run_dir, *user, *profile, *vip_allow, *failure_domain;
	struct config_ports ports;
	struct config_sql sql;
	struct config_tls tls;
	struct config_api api;
	struct config_backup backup;
	struct config_node *nodes;
	unsigned nodes_count;
	struct config_vip *vips;
	unsigned vips_count;
	struct config_instance *instances;
	unsigned instances_count;
};

/* Read and check a node.yaml. *ret is returned: free with config_free. Errors (ERR_INVAL, ERR_NOTFOUND) name file, key and what
 * would be right. */
int config_load(const char *path, struct config **ret, struct err *e) MUST_USE;
void config_free(struct config *c);

/* Append a node; strings are copied. NULL when there are CONFIG_NODES_MAX already. Borrowed. */
struct config_node *config_add_node(struct config *c, const char *name, const char *address, const char *role);

/* config_backup.c: the defaults and checks of `backup`. */
int config_settle_backup(struct config *c, struct err *e) MUST_USE;

/* Borrowed; NULL when there is none of that name. */
const struct config_node *config_find_node(const struct config *c, const char *name);
const struct config_instance *config_find_instance(const struct config *c, const char *group);

bool config_is_arbiter(const struct config *c);

/* Sockets under run_dir; buf must hold 108 bytes. Return buf.
 * The store's is .s.PGSQL.<sql port>, so that libpq finds it with host=<run_dir> port=<sql port>. */
char *config_path_dbd(const struct config *c, const char *group, char *buf); /* <run_dir>/dbd-<group>.sock */
char *config_path_vipd(const struct config *c, char *buf);                   /* <run_dir>/vipd.sock */
char *config_path_api(const struct config *c, char *buf);                    /* <run_dir>/api.sock */

#endif
