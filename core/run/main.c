/* mhad: the parent process of a node, or with --control its control process. */
#include "core/base/config.h"
#include "core/base/log.h"
#include "core/base/roster.h"
#include "core/base/secrecy.h"
#include "core/run/join.h"
#include "core/run/privileges.h"
#include "core/run/supervise.h"
#ifdef MHA_HAVE_CONTROL
#include "core/run/control_main.h"
#endif

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EX_FAILED   1
#define EX_USAGE    2
#define EX_SOFTWARE 70

struct options {
	const char *config_path;
	const char *bin_dir;
	bool is_control;
	bool is_check;
};

static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"bin-dir", required_argument, NULL, 'b'},
        {"control", no_argument, NULL, 'C'},
        {"check", no_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

static const char usage[] = "usage: mhad --config FILE [--check | --control] [--bin-dir DIR]\n"
                            "       mhad recover --config FILE [--compare] [--with FILE]\n"
                            "       mhad join TOKEN | - [--config FILE] [--address ADDRESS]\n"
                            "  --config FILE   the node's configuration (node.yaml)\n"
                            "  --check         read the configuration, say ok, exit\n"
                            "  --control       be the control process (started by the parent)\n"
                            "  --bin-dir DIR   where the other programs are (beside this one)\n"
                            "  --version\n";

/* Returns -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config_path = optarg;
			break;
		case 'b':
			o->bin_dir = optarg;
			break;
		case 'C':
			o->is_control = true;
			break;
		case 'k':
			o->is_check = true;
			break;
		case 'V':
			printf("mhad %s\n", MHA_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EX_USAGE;
		}
	}
	if (o->config_path == NULL || optind < argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return -1;
}

static int run_control(struct config *c)
{
#ifdef MHA_HAVE_CONTROL
	struct err e = ERR_INIT;

	if (roster_apply(c, &e) != ERR_OK) {
		log_error("node", "%s", e.text);
		return SUPERVISE_EX_CONFIG;
	}
	secrecy_begin();
	return control_main(c);
#else
	(void)c;
	log_error("control", "this mhad was built without the control process");
	return EX_SOFTWARE;
#endif
}

/* The directory of the running program; a link to it is followed. */
static bool find_bin_dir(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);
	char *slash;

	if (n < 0)
		return false;
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

/* Said before anything is started or changed: a server that is not installed would be missed in the middle of a failover. */
static int check_servers(const struct config *c, struct err *e)
{
	struct stat st;
	unsigned i;

	for (i = 0; i < c->instances_count; i++) {
		const struct config_instance *inst = &c->instances[i];

		if (strcmp(inst->engine, "fake") == 0)
			continue;
		if (stat(inst->bin_dir, &st) != 0 || !S_ISDIR(st.st_mode))
			return err_set(e, ERR_NOTFOUND,
			               "instances: bin_dir \"%s\" of group \"%s\" is no directory: install %s or say where its "
			               "programs are",
			               inst->bin_dir, inst->group, inst->engine);
	}
	return ERR_OK;
}

static int run_parent(const struct config *c, const struct options *o)
{
	static struct supervisor s;
	char bin_dir[PATH_MAX], config_path[PATH_MAX];
	struct err e = ERR_INIT;
	int lock_fd, code;

	if (o->bin_dir == NULL && !find_bin_dir(bin_dir, sizeof bin_dir)) {
		log_error("node", "/proc/self/exe cannot be read: say where the programs are with --bin-dir");
		return EX_FAILED;
	}
	/* The children may be restarted long after somebody has moved the shell we were started from. */
	if (realpath(o->config_path, config_path) == NULL) {
		log_error("node", "configuration \"%s\" has gone", o->config_path);
		return SUPERVISE_EX_CONFIG;
	}
	if (check_servers(c, &e) != ERR_OK || supervise_make_dirs(c, &e) != ERR_OK) {
		log_error("node", "%s", e.text);
		return SUPERVISE_EX_CONFIG;
	}
	if (supervise_lock(c, &lock_fd, &e) != ERR_OK) {
		log_error("node", "%s", e.text);
		return EX_FAILED;
	}
	if (privileges_reduce(&e) != ERR_OK) {
		log_error("node", "%s", e.text);
		close(lock_fd);
		return EX_FAILED;
	}
	if (supervise_plan(&s, c, o->bin_dir != NULL ? o->bin_dir : bin_dir, config_path, &e) != ERR_OK) {
		log_error("node", "%s", e.text);
		code = SUPERVISE_EX_CONFIG;
	} else {
		code = supervise_run(&s);
		supervise_done(&s);
	}
	close(lock_fd);
	return code;
}

/* The store's program knows its files; it says everything itself. */
static int exec_recover(char **argv)
{
	char dir[PATH_MAX - 16], path[PATH_MAX];

	if (!find_bin_dir(dir, sizeof dir)) {
		fprintf(stderr, "mhad: /proc/self/exe cannot be read\n");
		return EX_FAILED;
	}
	snprintf(path, sizeof path, "%s/mha-stored", dir);
	argv[0] = path;
	execv(path, argv);
	fprintf(stderr, "mhad: %s: %s\n", path, strerror(errno));
	return EX_FAILED;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct config *c;
	struct err e = ERR_INIT;
	int code;

	if (argc > 1 && strcmp(argv[1], "join") == 0)
		return join_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "recover") == 0)
		return exec_recover(argv);
	code = parse(argc, argv, &o);
	if (code >= 0)
		return code;
	if (config_load(o.config_path, &c, &e) != ERR_OK) {
		fprintf(stderr, "mhad: %s\n", e.text);
		return SUPERVISE_EX_CONFIG;
	}
	log_init("mhad", c->node);
	if (o.is_check) {
		printf("%s: ok: node \"%s\" of cluster \"%s\"\n", o.config_path, c->node, c->cluster);
		code = 0;
	} else {
		code = o.is_control ? run_control(c) : run_parent(c, &o);
	}
	config_free(c);
	return code;
}
