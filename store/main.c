/* mha-stored: the store of one host. Runs until SIGTERM or SIGINT; ends with 0 after a clean stop, 78 when the
 * configuration or the certificates do not let it start, 1 when something else does not. */
#include "core/base/config.h"
#include "core/base/log.h"
#include "core/base/roster.h"
#include "core/base/secrecy.h"
#include "store/admin.h"
#include "store/backup_verify.h"
#include "store/node.h"
#include "store/node_disk.h"
#include "store/recover.h"
#include "store/stepdown.h"
#include "store/watch.h"
#ifdef STORE_HAS_FRONTEND
#include "store/frontend/frontend.h"
#endif

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#define EXIT_USAGE   2
#define EXIT_CONFIG  78 /* EX_CONFIG: node.yaml or the certificates are at fault; starting again would not help */
#define FILES_WANTED 16384
#define THREADPOOL_SIZE                                                                                                        \
	"8" /* raft's disk work, SQL and dialling share libuv's pool; its default of 4 lets dialling starve the disk */

static const struct {
	const char *name, *arg, *help;
	char letter;
} options[] = {
        {"config", "FILE", "the node's configuration (node.yaml)", 'c'},
        {"verify", "FILE", "look at a backup and say what it holds; needs no configuration", 'v'},
        {"json", NULL, "with --verify: say it as JSON", 'j'},
        {"help", NULL, "print this", 'h'},
};
#define OPTION_COUNT (sizeof options / sizeof *options)

struct program {
	uv_loop_t loop;
	uv_signal_t term, interrupt;
	struct config *config;
	struct node *node;
	struct admin *admin;
#ifdef STORE_HAS_FRONTEND
	struct frontend *frontend;
#endif
	struct watch *watch;
	bool is_stopping;
};

static void print_usage(FILE *f)
{
	fprintf(f, "mha-stored: the replicated store of one host\n\n");
	for (size_t i = 0; i < OPTION_COUNT; i++)
		fprintf(f, "  --%s %-*s %s\n", options[i].name, (int)(16 - strlen(options[i].name)),
		        options[i].arg != NULL ? options[i].arg : "", options[i].help);
}

static int run_verify(const char *path, bool is_json)
{
	struct err e = ERR_INIT;

	if (backup_verify(path, is_json, stdout, &e) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "mha-stored: %s\n", e.text);
	return EXIT_FAILURE;
}

/* Returns the configuration's path, or NULL with *ret_exit set. */
static const char *parse_options(int argc, char **argv, int *ret_exit)
{
	struct option longs[OPTION_COUNT + 1] = {0};
	const char *path = NULL, *backup = NULL;
	bool is_json = false;
	int c;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		longs[i] = (struct option){options[i].name, options[i].arg != NULL, NULL, options[i].letter};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'c')
			path = optarg;
		else if (c == 'v')
			backup = optarg;
		else if (c == 'j')
			is_json = true;
		else {
			print_usage(c == 'h' ? stdout : stderr);
			*ret_exit = c == 'h' ? 0 : EXIT_USAGE;
			return NULL;
		}
	}
	if (backup != NULL && path == NULL && optind == argc) {
		*ret_exit = run_verify(backup, is_json);
		return NULL;
	}
	if (path == NULL || optind != argc) {
		print_usage(stderr);
		*ret_exit = EXIT_USAGE;
		return NULL;
	}
	return path;
}

/* --- stop: front end, leadership, admin commands, dqlite; each needs the ones after it --- */

static void admin_closed_cb(void *arg)
{
	struct program *p = arg;

	node_stop(p->node);
	p->node = NULL;
	uv_close((uv_handle_t *)&p->term, NULL);
	uv_close((uv_handle_t *)&p->interrupt, NULL);
}

static void stepped_down_cb(void *arg)
{
	struct program *p = arg;

	admin_close(p->admin, admin_closed_cb, p);
}

static void frontend_stopped_cb(void *arg)
{
	struct program *p = arg;

	stepdown_run(&p->loop, p->node, p->config, stepped_down_cb, p);
}

static void stop(struct program *p)
{
	if (p->is_stopping)
		return;
	p->is_stopping = true;
	watch_stop(p->watch);
#ifdef STORE_HAS_FRONTEND
	if (p->frontend != NULL) {
		frontend_stop(p->frontend, frontend_stopped_cb, p);
		return;
	}
#endif
	frontend_stopped_cb(p);
}

static void signal_cb(uv_signal_t *handle, int number)
{
	log_info("store", "stopping on %s", strsignal(number));
	stop(handle->data);
}

/* --- start --- */

static void catch_signal(struct program *p, uv_signal_t *handle, int number)
{
	uv_signal_init(&p->loop, handle);
	handle->data = p;
	uv_signal_start(handle, signal_cb, number);
}

static int run(struct program *p, struct err *e)
{
	int rc = node_start(&p->loop, p->config, &p->node, e);

	if (rc != 0)
		return rc;
	catch_signal(p, &p->term, SIGTERM);
	catch_signal(p, &p->interrupt, SIGINT);
	p->admin = admin_new(&p->loop, p->node, p->config);
	p->watch = watch_start(&p->loop, p->config, p->node, p->admin);
#ifdef STORE_HAS_FRONTEND
	rc = frontend_start(&p->loop, p->config, p->node, p->admin, &p->frontend, e);
	if (rc != 0)
		stop(p);
#endif
	uv_run(&p->loop, UV_RUN_DEFAULT);
	return rc;
}

/* Sessions, relayed ones twice, and links: the usual 1024 are soon gone. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FILES_WANTED)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct program p = {0};
	struct err e = ERR_INIT;
	int rc = 0;
	const char *path;

	if (argc > 1 && strcmp(argv[1], "recover") == 0)
		return recover_main(argc - 1, argv + 1);
	path = parse_options(argc, argv, &rc);
	if (path == NULL)
		return rc;
	setenv("UV_THREADPOOL_SIZE", THREADPOOL_SIZE, 0);
	signal(SIGPIPE, SIG_IGN);
	secrecy_begin();
	raise_file_limit();
	log_init("mha-stored", "");
	rc = config_load(path, &p.config, &e);
	if (rc == 0)
		node_disk_wait_for_room(p.config);
	if (rc == 0)
		rc = roster_apply(p.config, &e);
	if (rc == 0) {
		log_init("mha-stored", p.config->node);
		uv_loop_init(&p.loop);
		rc = run(&p, &e);
		uv_loop_close(&p.loop);
	}
	if (rc != 0)
		log_error("store", "%s", e.text);
	config_free(p.config);
	return rc == 0 ? EXIT_SUCCESS : rc == ERR_INVAL ? EXIT_CONFIG : EXIT_FAILURE;
}
