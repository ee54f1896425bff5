/* The command line of `mhad recover`. */
#include "store/recover.h"

#include "core/base/log.h"
#include "core/base/roster.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define EX_FAILED  1
#define EX_USAGE   2
#define EX_REFUSED 5
#define WITH_MAX   8

struct request {
	const char *config, *known_cluster;
	const char *with[WITH_MAX];
	FILE *lines[WITH_MAX];
	unsigned with_count;
	bool is_compare;
};

static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'}, {"compare", no_argument, NULL, 'p'},
        {"with", required_argument, NULL, 'w'},   {"yes-i-know-the-cluster", required_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
};

static const char usage[] =
        "usage: mhad recover --config FILE --compare\n"
        "       mhad recover --config FILE [--with FILE]... [--yes-i-know-the-cluster NAME]\n"
        "Make a cluster of this node alone after the majority is lost for ever. mhad must not run here, and must not run again "
        "on the\n"
        "lost nodes until their state directories are emptied.\n"
        "  --compare      print one line that says how far this node has got, change nothing\n"
        "  --with FILE    lines of the other survivors; a node that has more than this one stops the recovery\n"
        "  --yes-i-know-the-cluster NAME   do not ask\n";

static int parse(int argc, char **argv, struct request *r)
{
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'c')
			r->config = optarg;
		else if (c == 'p')
			r->is_compare = true;
		else if (c == 'w' && r->with_count < WITH_MAX)
			r->with[r->with_count++] = optarg;
		else if (c == 'y')
			r->known_cluster = optarg;
		else
			return c == 'h' ? 0 : EX_USAGE;
	}
	return r->config == NULL || optind != argc ? EX_USAGE : -1;
}

/* Held until the end, so that mhad cannot start meanwhile. */
static int lock_node(const struct config *c, struct err *e)
{
	char path[512];
	int fd;

	snprintf(path, sizeof path, "%s/mhad.lock", c->run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0; /* nothing has run here since the host was booted */
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_REFUSED, "mhad runs on this node: stop it first");
	return 0;
}

/* The store's files belong to the node's user. */
static int become_user(const struct config *c, struct err *e)
{
	const struct passwd *pw = c->user != NULL && geteuid() == 0 ? getpwnam(c->user) : NULL;

	if (c->user == NULL || geteuid() != 0)
		return 0;
	if (pw == NULL)
		return err_set(e, ERR_NOTFOUND, "the OS user \"%s\" does not exist", c->user);
	if (initgroups(c->user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
		return err_sys(e, errno, "cannot become %s", c->user);
	return 0;
}

/* As the caller, who may read more than the node's user. */
static int open_lines(struct request *r, struct err *e)
{
	for (unsigned i = 0; i < r->with_count; i++) {
		r->lines[i] = fopen(r->with[i], "re");
		if (r->lines[i] == NULL)
			return err_sys(e, errno, "%s", r->with[i]);
	}
	return 0;
}

static int compare_with(const struct recover_entry *own, const char *path, FILE *f, struct err *e)
{
	char line[1024];
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof line, f) != NULL) {
		struct recover_entry other = {0};

		if (line[strspn(line, " \r\n\t")] == '\0')
			continue;
		rc = recover_parse(line, &other, e);
		if (rc == 0)
			rc = recover_compare(own, &other, e);
	}
	return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

static void print_entry(const struct recover_entry *x)
{
	printf("{\"node\":\"%s\",\"cluster\":\"%s\",\"uuid\":\"%s\",\"raft_id\":\"%" PRIu64 "\",\"term\":%" PRIu64
	       ",\"index\":%" PRIu64 "}\n",
	       x->node, x->cluster, x->uuid, x->raft_id, x->term, x->index);
}

static int ask(const struct request *r, const struct recover_entry *own, struct err *e)
{
	char answer[64] = "";

	fprintf(stderr,
	        "mhad: node %s has got to term %" PRIu64 ", entry %" PRIu64 " of cluster %s (%u other survivors compared).\n"
	        "mhad: what only lost nodes had is lost, acknowledged or not. The other members are removed and their "
	        "certificates "
	        "revoked;\nmhad: they come back by `mha-shell node add` after their state directories were emptied.\n",
	        own->node, own->term, own->index, own->cluster, r->with_count);
	if (r->known_cluster == NULL && isatty(STDIN_FILENO)) {
		fprintf(stderr, "mhad: type the cluster's name to go on: ");
		if (fgets(answer, sizeof answer, stdin) != NULL)
			answer[strcspn(answer, "\n")] = '\0';
	} else {
		str_copy(answer, sizeof answer, r->known_cluster != NULL ? r->known_cluster : "");
	}
	if (strcmp(answer, own->cluster) == 0)
		return 0;
	return err_set(e, ERR_REFUSED,
	               "not confirmed: give --yes-i-know-the-cluster with the cluster's name; nothing was changed");
}

static int run(struct request *r, struct config *c, struct err *e)
{
	struct node_disk d = {.lock_fd = -1};
	struct recover_entry own = {0};
	int rc = lock_node(c, e);

	if (rc == 0)
		rc = open_lines(r, e);
	if (rc == 0)
		rc = become_user(c, e);
	if (rc == 0)
		rc = roster_apply(c, e);
	if (rc == 0)
		rc = node_disk_open(&d, c, e);
	if (rc == 0)
		rc = recover_describe(&d, &own, e);
	if (rc == 0 && r->is_compare)
		print_entry(&own);
	for (unsigned i = 0; rc == 0 && i < r->with_count; i++)
		rc = compare_with(&own, r->with[i], r->lines[i], e);
	if (rc == 0 && !r->is_compare)
		rc = ask(r, &own, e);
	if (rc == 0 && !r->is_compare)
		rc = recover_apply(&d, e);
	if (rc == 0 && !r->is_compare)
		printf("cluster %s consists of %s alone now: start mhad here, then add the other nodes anew\n", own.cluster,
		       own.node);
	node_disk_close(&d);
	for (unsigned i = 0; i < r->with_count; i++)
		if (r->lines[i] != NULL)
			fclose(r->lines[i]);
	return rc;
}

int recover_main(int argc, char **argv)
{
	struct request r = {0};
	struct config *c;
	struct err e = ERR_INIT;
	int rc = parse(argc, argv, &r);

	if (rc >= 0) {
		fputs(usage, rc == 0 ? stdout : stderr);
		return rc;
	}
	rc = config_load(r.config, &c, &e);
	if (rc == 0) {
		log_init("mhad recover", c->node);
		rc = run(&r, c, &e);
		config_free(c);
	}
	if (rc != 0)
		fprintf(stderr, "mhad: %s\n", e.text);
	return rc == 0 ? 0 : rc == ERR_REFUSED ? EX_REFUSED : EX_FAILED;
}
