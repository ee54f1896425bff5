/* cert: what was issued, administrators' certificates, rotation, revocation. */
#include "core/base/pki.h"
#include "core/base/save.h"
#include "core/base/str.h"
#include "shell/api.h"
#include "shell/confirm.h"
#include "shell/shell.h"
#include "shell/states.h"
#include "shell/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 15000

static const char *const keys[] = {"name", "kind", "serial", "not_after", "revoked", NULL};

/* --- show --- */

static void add_row(struct table *t, const json_t *cert)
{
	char text[32], until[40];
	const char *revoked = api_text(cert, "revoked", text), *ends;

	table_cell(t, api_text(cert, "name", text));
	table_cell(t, api_text(cert, "kind", text));
	table_cell(t, api_text(cert, "serial", text));
	ends = api_text(cert, "not_after", text);
	table_cell(t, ends != NULL ? text_local_time(ends, until) : NULL);
	revoked = api_text(cert, "revoked", text);
	table_cell_coloured(t, revoked != NULL ? text_local_time(revoked, until) : "", COLOUR_BAD);
}

static void print_table(const struct out *o, const json_t *reply)
{
	const json_t *cert;
	struct table t;
	size_t i;

	table_init(&t);
	table_column(&t, "name", false, 0);
	table_column(&t, "kind", false, 0);
	table_column(&t, "serial", false, 0);
	table_column(&t, "valid until", false, 0);
	table_column(&t, "revoked", false, 0);
	if (json_object_get(reply, "ca") != NULL)
		add_row(&t, json_object_get(reply, "ca"));
	json_array_foreach(json_object_get(reply, "certificates"), i, cert) add_row(&t, cert);
	table_print(&t, o, TABLE_PLAIN, 0);
	table_done(&t);
}

int cert_show(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *reply;
	int rc = api_get(sh, "/v1/certs", &reply, e);

	(void)o;
	(void)args;
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else if (sh->out.format == OUT_CSV)
		states_csv(&sh->out, json_object_get(reply, "certificates"), keys, true);
	else
		print_table(&sh->out, reply);
	json_decref(reply);
	return ERR_OK;
}

/* --- rotate, revoke --- */

static void say_names(const json_t *list, const char *what)
{
	struct buf b = {0};
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) buf_printf(&b, "%s%s", i > 0 ? ", " : "", json_string_value(o));
	if (b.len > 0)
		shell_say("%s: %s", what, b.data);
	buf_done(&b);
}

int cert_rotate(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *body = args[0] != NULL ? json_pack("{s:s}", "node", args[0]) : json_object(), *reply;
	struct api_call c = {.path = "/v1/certs/rotate", .body = body, .timeout_ms = CALL_TIMEOUT_MS};
	int rc = api_call(sh, &c, &reply, e);

	(void)o;
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	say_names(json_object_get(reply, "asked"), "asked to renew");
	say_names(json_object_get(reply, "unreachable"), "not reached, they keep their certificates");
	json_decref(reply);
	return ERR_OK;
}

int cert_revoke(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	json_t *body, *reply;
	struct api_call c = {.path = "/v1/certs/revoke", .timeout_ms = CALL_TIMEOUT_MS};
	int rc;

	rc = confirm(sh, o,
	             "Whoever shows this certificate is refused from now on, by every node. A node that uses it just now falls "
	             "out "
	             "of the cluster.\n",
	             NULL, e);
	if (rc != ERR_OK)
		return rc;
	c.body = body = json_pack("{s:s}", "serial", args[0]);
	rc = api_call(sh, &c, &reply, e);
	json_decref(body);
	if (rc != ERR_OK)
		return rc;
	if (sh->out.format == OUT_JSON)
		out_json(&sh->out, reply);
	else
		shell_say("certificate %s is revoked", args[0]);
	json_decref(reply);
	return ERR_OK;
}

/* --- issue --- */

static int write_file(const char *dir, const char *name, const char *text, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return save_file(path, text, strlen(text), 0600, e);
}

static int write_all(const char *dir, const json_t *reply, const char *key, struct err *e)
{
	const char *cert = json_string_value(json_object_get(reply, "cert")),
	           *ca = json_string_value(json_object_get(reply, "ca"));
	int rc = ERR_OK;

	if (cert == NULL || ca == NULL)
		return err_set(e, ERR_PROTOCOL, "no certificate came");
	rc = pki_check(ca, cert, key, e);
	if (rc == ERR_OK)
		rc = write_file(dir, "ca.pem", ca, e);
	if (rc == ERR_OK)
		rc = write_file(dir, "admin.key", key, e);
	return rc == ERR_OK ? write_file(dir, "admin.pem", cert, e) : rc;
}

/* The key is made here and stays here. */
int cert_issue(struct shell *sh, const struct options *o, const char *const *args, struct err *e)
{
	struct api_call c = {.path = "/v1/certs/issue", .timeout_ms = CALL_TIMEOUT_MS};
	char *request = NULL, *key = NULL;
	json_t *body = NULL, *reply = NULL;
	int rc = ERR_OK;

	if (o->out_dir == NULL)
		return err_set(e, ERR_INVAL, "cert issue needs --out DIR: where ca.pem, admin.pem and admin.key go");
	if (mkdir(o->out_dir, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "create directory %s", o->out_dir);
	rc = pki_request_new(args[0], &request, &key, e);
	if (rc == ERR_OK) {
		c.body = body = json_pack("{s:s,s:s}", "name", args[0], "request", request);
		if (o->days > 0)
			json_object_set_new(body, "days", json_integer(o->days));
		rc = api_call(sh, &c, &reply, e);
	}
	if (rc == ERR_OK)
		rc = write_all(o->out_dir, reply, key, e);
	if (rc == ERR_OK && sh->out.format == OUT_JSON) {
		json_object_del(reply, "cert");
		json_object_del(reply, "ca");
		out_json(&sh->out, reply);
	} else if (rc == ERR_OK) {
		shell_say("ca.pem, admin.pem and admin.key are in %s: mha-shell finds them there with --tls-dir or MHA_TLS_DIR",
		          o->out_dir);
	}
	if (key != NULL)
		explicit_bzero(key, strlen(key));
	free(key);
	free(request);
	json_decref(body);
	json_decref(reply);
	return rc;
}
