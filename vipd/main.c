#include "core/base/config.h"
#include "core/base/log.h"
#include "core/base/roster.h"
#include "vipd/daemon.h"
#include "vipd/nft.h"
#include "vipd/protocol.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define PROG               "mha-vipd"
#define EXIT_WRONG         1
#define EXIT_CONFIGURATION 78 /* the supervisor does not start us again */
#define EXIT_USAGE         2

enum option_code { OPT_CONFIG = 1, OPT_ALLOW, OPT_TABLE, OPT_UNLOAD, OPT_HELP };

static const struct option options[] = {
        {"config", required_argument, NULL, OPT_CONFIG}, {"allow", required_argument, NULL, OPT_ALLOW},
        {"table", required_argument, NULL, OPT_TABLE},   {"unload", no_argument, NULL, OPT_UNLOAD},
        {"help", no_argument, NULL, OPT_HELP},           {NULL, 0, NULL, 0},
};

static const char usage[] =
        "usage: mha-vipd --config node.yaml [--allow FILE] [--table NAME]\n"
        "       mha-vipd --unload [--table NAME]\n"
        "Holds virtual addresses and opens database ports under leases that the kernel ends by itself.\n"
        "  --config FILE  the host's node.yaml (run_dir, node, vip_allow)\n"
        "  --allow FILE   what may be touched, instead of node.yaml's vip_allow\n"
        "  --table NAME   name of the firewall's tables (mha); other names where several nodes share one network namespace\n"
        "  --unload       remove the firewall's tables, which opens what they closed, and exit\n";

struct arguments {
	const char *config, *allow, *table;
	int is_unload, is_help;
};

static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_CONFIG)
			a->config = optarg;
		else if (opt == OPT_ALLOW)
			a->allow = optarg;
		else if (opt == OPT_TABLE)
			a->table = optarg;
		else if (opt == OPT_UNLOAD)
			a->is_unload = 1;
		else if (opt == OPT_HELP)
			a->is_help = 1;
		else
			return -1;
	}
	return optind == argc && (a->config != NULL || a->is_unload || a->is_help) ? 0 : -1;
}

/* The name becomes part of a script for nft. */
static int check_table(const char *name, struct err *e)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (len == 0 || name[len] != '\0' || len >= RULESET_NAME_SIZE || name[0] < 'a' || name[0] > 'z')
		return err_set(e, ERR_INVAL, "--table \"%s\": write up to %d of a-z, 0-9 and _, a letter first", name,
		               RULESET_NAME_SIZE - 1);
	return ERR_OK;
}

/* What node.yaml wants and vip.allow does not list would be refused in the middle of a failover: better now. */
static int check_listed(const struct config *c, const char *allow_path, struct err *e)
{
	struct allow allow;
	struct in_addr addr;
	unsigned i;
	int rc = allow_load(allow_path, &allow, e);

	if (rc != ERR_OK)
		return rc;
	for (i = 0; i < c->vips_count; i++)
		if (inet_pton(AF_INET, c->vips[i].address, &addr) != 1 || allow_find_vip(&allow, addr) < 0)
			return err_set(e, ERR_INVAL,
			               "vips: address %s of node.yaml is not listed in %s: add \"vip %s/32 dev INTERFACE\" "
			               "there, or "
			               "take it out of node.yaml",
			               c->vips[i].address, allow_path, c->vips[i].address);
	for (i = 0; i < c->instances_count; i++)
		if (allow_find_port(&allow, c->instances[i].port) < 0)
			return err_set(e, ERR_INVAL,
			               "instances: port %u of group \"%s\" is not listed in %s: add \"port %u\" there",
			               c->instances[i].port, c->instances[i].group, allow_path, c->instances[i].port);
	return ERR_OK;
}

/* The data nodes that this host knew last, so that replication goes on while the control process is away. */
static unsigned list_peers(const struct config *c, struct in_addr peers[CONFIG_NODES_MAX])
{
	unsigned i, count = 0;

	for (i = 0; i < c->nodes_count && count < CONFIG_NODES_MAX; i++)
		if (!c->nodes[i].is_removed && strcmp(c->nodes[i].role, "arbiter") != 0 &&
		    inet_pton(AF_INET, c->nodes[i].address, &peers[count]) == 1)
			count++;
	return count;
}

static int serve(const struct arguments *a, const struct config *c, struct err *e)
{
	struct daemon_options o = {.allow_path = a->allow != NULL ? a->allow : c->vip_allow, .table = a->table};
	struct in_addr peers[CONFIG_NODES_MAX];
	char path[108];
	int rc;

	o.peers = peers;
	o.peer_count = list_peers(c, peers);
	o.socket_path = config_path_vipd(c, path);
	rc = daemon_start(&o, e);
	if (rc != ERR_OK)
		return rc;
	rc = daemon_run(e);
	daemon_stop();
	return rc;
}

/* A roster that cannot be read is no reason to leave the host without a fence: the control process names the peers again. */
static void take_roster(struct config *c)
{
	struct err e = ERR_INIT;

	if (roster_apply(c, &e) != ERR_OK)
		log_warn("vipd", "the cluster's nodes are not known yet: %s", e.text);
}

int main(int argc, char **argv)
{
	struct arguments a = {.table = RULESET_DEFAULT_NAME};
	struct config *c = NULL;
	struct err e = ERR_INIT;
	bool is_configuration = false;
	int rc;

	if (parse_arguments(argc, argv, &a) != 0 || a.is_help) {
		fputs(usage, a.is_help ? stdout : stderr);
		return a.is_help ? 0 : EXIT_USAGE;
	}
	log_init(PROG, "");
	rc = check_table(a.table, &e);
	if (rc == ERR_OK && a.is_unload)
		rc = nft_unload(a.table, &e);
	if (rc == ERR_OK && !a.is_unload)
		rc = config_load(a.config, &c, &e);
	if (rc == ERR_OK && !a.is_unload) {
		log_init(PROG, c->node);
		take_roster(c);
		rc = check_listed(c, a.allow != NULL ? a.allow : c->vip_allow, &e);
		is_configuration = rc != ERR_OK;
	}
	if (rc == ERR_OK && !a.is_unload)
		rc = serve(&a, c, &e);
	if (rc != ERR_OK)
		log_error("vipd", "%s", e.text);
	config_free(c);
	if (is_configuration)
		return EXIT_CONFIGURATION;
	return rc == ERR_OK ? 0 : EXIT_WRONG;
}
