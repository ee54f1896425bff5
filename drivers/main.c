#include "core/base/config.h"
#include "core/base/log.h"
#include "core/base/roster.h"
#include "drivers/driver.h"
#include "drivers/guard.h"
#include "drivers/worker.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: mha-dbd --config FILE --group NAME\n"
                            "\n"
                            "Guards and runs the database server of one group on this node. Started by mhad.\n"
                            "\n"
                            "  --config FILE   the node's node.yaml\n"
                            "  --group NAME    which of its instances\n"
                            "  --worker TASK   used by mha-dbd itself: serve the guard on descriptor 3\n"
                            "  --version, --help\n";

struct options {
	const char *config, *group, *worker;
};

static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option table[] = {
	        {"config", required_argument, NULL, 'c'}, {"group", required_argument, NULL, 'g'},
	        {"worker", required_argument, NULL, 'w'}, {"version", no_argument, NULL, 'V'},
	        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (opt == 'c')
			ret->config = optarg;
		else if (opt == 'g')
			ret->group = optarg;
		else if (opt == 'w')
			ret->worker = optarg;
		else if (opt == 'V')
			return puts("mha-dbd " MHA_VERSION) >= 0 ? 0 : 1;
		else
			return fputs(usage, opt == 'h' ? stdout : stderr) >= 0 && opt == 'h' ? 0 : 2;
	}
	if (ret->config == NULL || ret->group == NULL || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	const struct config_instance *inst;
	struct err e = ERR_INIT;
	struct config *cfg;
	int rc = parse_options(argc, argv, &o);

	if (rc >= 0)
		return rc;
	log_init("mha-dbd", NULL);
	if (config_load(o.config, &cfg, &e) != ERR_OK) {
		log_error("config", "%s", e.text);
		return 2;
	}
	log_init("mha-dbd", cfg->node);
	if (roster_apply(cfg, &e) != ERR_OK)
		log_warn("config", "the cluster's nodes are not known yet: %s", e.text);
	inst = config_find_instance(cfg, o.group);
	if (inst == NULL) {
		log_error("config", "%s: no instance of group \"%s\": add it under instances, or name another group", o.config,
		          o.group);
		rc = 2;
	} else if (driver_find(inst->engine) == NULL) {
		log_error("config", "%s: instances: engine: there is no driver \"%s\"", o.config, inst->engine);
		rc = 2;
	} else {
		rc = o.worker != NULL ? worker_run(cfg, o.group, o.worker) : guard_run(cfg, o.config, o.group);
	}
	config_free(cfg);
	return rc;
}
