#include "core/run/join.h"

#include "core/base/pki.h"
#include "core/base/roster.h"
#include "core/base/str.h"
#include "core/run/trust_files.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/mha4rdb/node.yaml"

enum { EX_OKAY, EX_ERROR, EX_WRONG_USE, EX_UNREACHABLE, EX_REFUSED = 5 };

struct join_options {
	const char *config_path, *address, *role;
	char *token; /* owned, wiped */
};

static const char usage[] = "usage: mhad join TOKEN | - [--config FILE] [--address ADDRESS] [--role data|arbiter]\n"
                            "  TOKEN            what `mha-shell node add` has printed; -: read it from standard input\n"
                            "  --config FILE    the node's configuration (" DEFAULT_CONFIG "); written when it does not exist\n"
                            "  --address A      this host's numeric address, for the configuration that is written\n"
                            "  --role R         data or arbiter; it must be what the token says\n";

/* --- what was typed --- */

static char *read_stdin(void)
{
	char *text = mem_alloc(TOKEN_TEXT_MAX + 16);
	size_t n = fread(text, 1, TOKEN_TEXT_MAX + 15, stdin);

	text[n] = '\0';
	return text;
}

/* The secret is out of the process list before anything else is done. */
static char *take_token(char *arg)
{
	char *text;

	if (strcmp(arg, "-") == 0)
		return read_stdin();
	text = mem_strdup(arg);
	explicit_bzero(arg, strlen(arg));
	return text;
}

/* Returns -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct join_options *o)
{
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
	                                      {"address", required_argument, NULL, 'a'},
	                                      {"role", required_argument, NULL, 'r'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {NULL, 0, NULL, 0}};
	int code;

	while ((code = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		if (code == 'c')
			o->config_path = optarg;
		else if (code == 'a')
			o->address = optarg;
		else if (code == 'r')
			o->role = optarg;
		else {
			fputs(usage, code == 'h' ? stdout : stderr);
			return code == 'h' ? EX_OKAY : EX_WRONG_USE;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return EX_WRONG_USE;
	}
	o->token = take_token(argv[optind]);
	return -1;
}

/* --- the configuration --- */

static int write_config(const struct join_options *o, const struct token *t, struct err *e)
{
	const struct passwd *mha = geteuid() == 0 ? getpwnam("mha") : NULL;
	struct buf b = {0};
	FILE *f;
	int fd, rc = ERR_OK;

	if (o->address == NULL)
		return err_set(e, ERR_INVAL,
		               "%s does not exist: write it, or say this host's address with --address and it is written",
		               o->config_path);
	if (strcmp(t->mode, "files") == 0)
		return err_set(e, ERR_INVAL,
		               "%s does not exist, and the cluster's certificates are the operator's own: write it, with `tls: "
		               "{mode: files, ca: ..., cert: ..., key: ...}`",
		               o->config_path);
	buf_printf(&b, "cluster: %s\nnode: %s\nrole: %s\naddress: %s\n", t->cluster, t->node, t->role, o->address);
	buf_printf(&b, "%stls: {mode: %s}\n", mha != NULL ? "user: mha\n" : "", t->mode);
	fd = open(o->config_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL)
		rc = err_sys(e, errno, "cannot write %s", o->config_path);
	else if ((fputs(b.data, f) < 0) | (fclose(f) != 0))
		rc = err_sys(e, errno, "cannot write %s", o->config_path);
	buf_done(&b);
	if (rc == ERR_OK)
		fprintf(stderr, "mhad: %s is written: groups and virtual addresses are added there\n", o->config_path);
	return rc;
}

static int compare(const struct config *c, const struct token *t, const struct join_options *o, struct err *e)
{
	if (strcmp(c->cluster, t->cluster) != 0)
		return err_set(e, ERR_INVAL, "the token is for cluster \"%s\", but %s says cluster: %s", t->cluster,
		               o->config_path, c->cluster);
	if (strcmp(c->node, t->node) != 0)
		return err_set(e, ERR_INVAL, "the token is for node \"%s\", but %s says node: %s", t->node, o->config_path,
		               c->node);
	if (strcmp(c->role, t->role) != 0 || (o->role != NULL && strcmp(o->role, t->role) != 0))
		return err_set(e, ERR_INVAL, "node \"%s\" was invited as %s, but %s says role: %s", t->node, t->role,
		               o->role != NULL ? "--role" : o->config_path, o->role != NULL ? o->role : c->role);
	if (strcmp(c->tls.mode, t->mode) != 0)
		return err_set(e, ERR_INVAL, "the cluster's tls mode is \"%s\", but %s says \"%s\"", t->mode, o->config_path,
		               c->tls.mode);
	if (o->address != NULL && strcmp(o->address, c->address) != 0)
		return err_set(e, ERR_INVAL, "%s says address: %s, not %s: correct one of them", o->config_path, c->address,
		               o->address);
	return ERR_OK;
}

static int check_fresh(const struct config *c, struct err *e)
{
	struct roster *r = mem_alloc(sizeof *r);
	char path[PATH_MAX];
	const char *uuid;
	bool has_roster = roster_load(c, r, NULL) == ERR_OK, is_member;
	json_t *o;

	snprintf(path, sizeof path, "%s/store/node.json", c->state_dir);
	o = json_load_file(path, 0, NULL);
	uuid = json_string_value(json_object_get(o, "cluster_uuid"));
	is_member = (uuid != NULL && uuid[0] != '\0') || trust_files_has(c, TRUST_CERT) || has_roster;
	json_decref(o);
	free(r);
	if (!is_member)
		return ERR_OK;
	return err_set(e, ERR_REFUSED,
	               "this host belongs to a cluster already (%s): to join again, remove it there (`mha-shell node remove "
	               "%s`), "
	               "stop mhad here, empty %s, and use a new token",
	               c->state_dir, c->node, c->state_dir);
}

/* --- the answer --- */

static int check_cert(const struct config *c, const struct token *t, const struct trust_pair *p, struct err *e)
{
	struct pki_info info;
	int rc = pki_describe(p->ca, &info, e);

	if (rc == ERR_OK && strcmp(info.fingerprint, t->ca) != 0)
		rc = err_set(e, ERR_PROTOCOL, "it is another CA than the token's");
	if (rc == ERR_OK)
		rc = pki_check(p->ca, p->cert, p->key, e);
	if (rc == ERR_OK)
		rc = pki_describe(p->cert, &info, e);
	if (rc == ERR_OK && (info.subject.kind != PKI_NODE || strcmp(info.subject.name, c->node) != 0 ||
	                     strcmp(info.subject.uuid, t->uuid) != 0))
		rc = err_set(e, ERR_PROTOCOL, "it is made for \"%s\"", info.subject.name);
	return rc == ERR_OK ? rc : err_wrap(e, "the certificate that came cannot be used");
}

/* The roster before the certificate: a node that runs already opens its ports as soon as it sees that. */
static int save_roster(const struct config *c, const json_t *answer, const char *uuid, struct err *e)
{
	char *text = json_dumps(json_object_get(answer, "roster"), JSON_COMPACT), path[PATH_MAX];
	struct roster *r = mem_alloc(sizeof *r);
	struct stat st;
	int rc = roster_parse(text != NULL ? text : "", r, e);

	if (rc == ERR_OK && strcmp(r->uuid, uuid) != 0)
		rc = err_set(e, ERR_PROTOCOL, "the answer is of another cluster");
	if (rc == ERR_OK)
		rc = roster_save(c, r, e);
	snprintf(path, sizeof path, "%s/roster", c->state_dir);
	if (rc == ERR_OK && geteuid() == 0 && stat(path, &st) == 0) {
		snprintf(path, sizeof path, "%s/roster/nodes.json", c->state_dir);
		if (lchown(path, st.st_uid, st.st_gid) != 0)
			rc = err_sys(e, errno, "owner of %s", path);
	}
	free(text);
	free(r);
	return rc;
}

static int take_answer(const struct config *c, const struct token *t, const char *text, const char *key, struct err *e)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *cert = json_string_value(json_object_get(o, "cert")), *ca = json_string_value(json_object_get(o, "ca"));
	struct trust_pair p = {cert, key, ca};
	int rc = ERR_OK;

	if (cert == NULL || ca == NULL)
		rc = err_set(e, ERR_PROTOCOL, "the answer cannot be read");
	if (rc == ERR_OK && key != NULL)
		rc = check_cert(c, t, &p, e);
	if (rc == ERR_OK)
		rc = save_roster(c, o, t->uuid, e);
	if (rc == ERR_OK && key != NULL)
		rc = trust_files_save(c, TRUST_CA, ca, e);
	if (rc == ERR_OK && key != NULL)
		rc = trust_files_save_pair(c, &p, e);
	json_decref(o);
	return rc;
}

/* --- all of it --- */

static char *make_body(const struct config *c, const struct token *t, const char *request)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:s,s:s}", "id", t->id, "secret", t->secret, "request", request,
	                      "address", c->address, "peer_port", c->ports.peer, "raft_port", c->ports.raft, "sql_port",
	                      c->ports.sql, "role", c->role, "failure_domain", c->failure_domain);
	char *body = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return body;
}

static void wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

static int join(const struct config *c, const struct token *t, char *hint, struct err *e)
{
	char *request = NULL, *key = NULL, *body = NULL, *answer = NULL;
	int rc = check_fresh(c, e);

	if (rc == ERR_OK)
		rc = trust_files_make_dirs(c, e);
	if (rc == ERR_OK && strcmp(t->mode, "managed") == 0)
		rc = pki_request_new(c->node, &request, &key, e);
	if (rc == ERR_OK) {
		body = make_body(c, t, request != NULL ? request : "");
		rc = join_post(c, t, body, &answer, hint, e);
	}
	if (rc == ERR_OK) {
		rc = take_answer(c, t, answer, key, e);
		if (rc != ERR_OK)
			str_copy(hint, 256, "the token is used up: make a new one after `mha-shell node remove`");
	}
	wipe(body);
	wipe(key);
	free(request);
	free(answer);
	return rc;
}

static int exit_code(int rc)
{
	switch (rc) {
	case ERR_OK:
		return EX_OKAY;
	case ERR_INVAL:
		return EX_WRONG_USE;
	case ERR_UNREACHABLE:
		return EX_UNREACHABLE;
	case ERR_REFUSED:
	case ERR_EXISTS:
		return EX_REFUSED;
	default:
		return EX_ERROR;
	}
}

int join_main(int argc, char **argv)
{
	struct join_options o = {.config_path = DEFAULT_CONFIG};
	struct config *c = NULL;
	struct token t;
	struct err e = ERR_INIT;
	char hint[256] = "";
	int code = parse(argc, argv, &o), rc;

	if (code >= 0)
		return code;
	memset(&t, 0, sizeof t);
	rc = token_parse(o.token, &t, &e);
	wipe(o.token);
	if (rc == ERR_OK && access(o.config_path, F_OK) != 0)
		rc = write_config(&o, &t, &e);
	if (rc == ERR_OK)
		rc = config_load(o.config_path, &c, &e);
	if (rc == ERR_OK)
		rc = compare(c, &t, &o, &e);
	if (rc == ERR_OK)
		rc = join(c, &t, hint, &e);
	explicit_bzero(&t, sizeof t);
	if (rc == ERR_OK)
		printf("node \"%s\" may take part in cluster \"%s\" now: a running mhad goes on by itself, else start it: mhad "
		       "--config "
		       "%s\n",
		       c->node, c->cluster, o.config_path);
	else
		fprintf(stderr, "mhad: %s\n%s%s%s", e.text, hint[0] != '\0' ? "hint: " : "", hint, hint[0] != '\0' ? "\n" : "");
	config_free(c);
	return exit_code(rc);
}
