#include "core/base/tls_creds.h"

#include "core/base/clock.h"
#include "core/base/pki_read.h"
#include "core/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_CAP          256
#define REVOKED_MAX_BYTES ((size_t)1 << 20)

/* --- files --- */

char *creds_path(const struct config *c, int file, char *buf)
{
	static const char *const names[] = {"ca.pem", "node.pem", "node.key", "revoked"};
	const char *own[] = {c->tls.ca, c->tls.cert, c->tls.key, NULL};

	if (strcmp(c->tls.mode, "files") == 0 && own[file] != NULL)
		snprintf(buf, PATH_CAP, "%s", own[file]);
	else
		snprintf(buf, PATH_CAP, "%s/tls/%s", c->state_dir, names[file]);
	return buf;
}

void creds_look(const struct config *c, struct creds_stamp *ret)
{
	char path[PATH_CAP];
	struct stat st;

	memset(ret, 0, sizeof *ret);
	for (int i = 0; i < CREDS_FILES; i++) {
		if (stat(creds_path(c, i, path), &st) != 0)
			continue;
		ret->files[i].device = st.st_dev;
		ret->files[i].inode = st.st_ino;
		ret->files[i].size_bytes = st.st_size;
		ret->files[i].changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	}
}

static int open_failed(const char *path, int errno_value, struct err *e)
{
	if (errno_value == ENOENT)
		return err_set(e, ERR_NOTFOUND, "%s does not exist", path);
	return err_sys(e, errno_value, "%s cannot be read", path);
}

/* A whole file as text. Others' hands off the key. */
static int read_file(const char *path, size_t max_bytes, bool is_secret, char **ret, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	char *text;

	if (fd < 0 || fstat(fd, &st) != 0) {
		int failed = errno;

		if (fd >= 0)
			close(fd);
		return open_failed(path, failed, e);
	}
	if (is_secret && (st.st_mode & 077) != 0) {
		close(fd);
		return err_set(e, ERR_INVAL, "%s can be read or written by others than its owner (mode %04o): chmod 600 %s",
		               path, (unsigned)st.st_mode & 07777, path);
	}
	text = mem_alloc(max_bytes + 2);
	n = read(fd, text, max_bytes + 1);
	close(fd);
	if (n >= 0 && (size_t)n <= max_bytes && strlen(text) == (size_t)n) {
		*ret = text;
		return ERR_OK;
	}
	OPENSSL_cleanse(text, max_bytes + 1);
	free(text);
	return err_set(e, ERR_INVAL, "%s is no text of %zu bytes at the most", path, max_bytes);
}

static int read_pem(const struct config *c, int file, char **ret, struct err *e)
{
	char path[PATH_CAP];

	return read_file(creds_path(c, file, path), PKI_PEM_MAX, file == CREDS_KEY, ret, e);
}

/* --- parts --- */

static int load_certs(const struct config *c, int file, STACK_OF(X509) * *ret, struct err *e)
{
	char path[PATH_CAP], *text = NULL;
	int rc = read_pem(c, file, &text, e);

	if (rc != ERR_OK)
		return rc;
	rc = pki_read_certs(text, ret, e);
	free(text);
	return rc == ERR_OK ? rc : err_wrap(e, "%s", creds_path(c, file, path));
}

static int load_key(const struct config *c, EVP_PKEY **ret, struct err *e)
{
	char path[PATH_CAP], *text = NULL;
	int rc = read_pem(c, CREDS_KEY, &text, e);

	if (rc != ERR_OK)
		return rc;
	rc = pki_read_key(text, ret, e);
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	return rc == ERR_OK ? rc : err_wrap(e, "%s", creds_path(c, CREDS_KEY, path));
}

static int compare_serials(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* One line of `revoked`. */
static bool add_serial(struct creds *k, const char *line, size_t len)
{
	char *to;

	if (len == 0)
		return true;
	if (len >= sizeof *k->revoked)
		return false;
	k->revoked = mem_resize(k->revoked, (k->revoked_count + 1) * sizeof *k->revoked);
	to = k->revoked[k->revoked_count++];
	memset(to, 0, sizeof *k->revoked);
	for (size_t i = 0; i < len; i++) {
		if (!isxdigit((unsigned char)line[i]))
			return false;
		to[i] = (char)tolower((unsigned char)line[i]);
	}
	return true;
}

static int load_revoked(const struct config *c, struct creds *k, struct err *e)
{
	char path[PATH_CAP], *text = NULL;
	const char *line;
	int rc = read_file(creds_path(c, CREDS_REVOKED, path), REVOKED_MAX_BYTES, false, &text, e);

	if (rc == ERR_NOTFOUND) {
		if (e != NULL)
			e->code = ERR_OK;
		return ERR_OK;
	}
	if (rc != ERR_OK)
		return rc;
	for (line = text; rc == ERR_OK && *line != '\0';) {
		size_t len = strcspn(line, "\n");

		if (!add_serial(k, line, len))
			rc = err_set(e, ERR_INVAL, "%s: \"%.*s\" is not a serial number (hexadecimal, one a line)", path,
			             (int)(len < 60 ? len : 60), line);
		line += len + (line[len] == '\n');
	}
	free(text);
	if (k->revoked_count > 0)
		qsort(k->revoked, k->revoked_count, sizeof *k->revoked, compare_serials);
	return rc;
}

bool creds_is_revoked(const struct creds *k, const char *serial)
{
	return k->revoked_count > 0 &&
	       bsearch(serial, k->revoked, k->revoked_count, sizeof *k->revoked, compare_serials) != NULL;
}

/* --- what must hold --- */

static int check_owner(const struct config *c, const struct creds *k, struct err *e)
{
	const struct pki_subject *s = &k->own.subject;

	if (s->kind == PKI_CA || s->kind == PKI_ADMIN)
		return err_set(e, ERR_INVAL, "it is the certificate of %s, not of a node",
		               s->kind == PKI_CA ? "a CA" : "an administrator");
	if (k->is_managed && s->kind != PKI_NODE)
		return err_set(e, ERR_INVAL,
		               "it was not made by this software's CA: certificates of your own are named under tls "
		               "(mode: files) in node.yaml");
	if (strcmp(s->name, c->node) != 0)
		return err_set(e, ERR_INVAL, "it is made for the node \"%s\", and this node is \"%s\"", s->name, c->node);
	return ERR_OK;
}

static int check_cert(const struct config *c, const struct creds *k, struct err *e)
{
	int64_t now_s = clock_wall_ms() / 1000;
	char day[32];

	if (now_s > k->own.not_after_s)
		return err_set(e, ERR_INVAL, "it expired on %.10s: renew it (docs/trust.md)",
		               clock_format_wall(k->own.not_after_s * 1000, day));
	if (now_s < k->own.not_before_s)
		return err_set(e, ERR_INVAL, "it is not valid before %s: is this host's clock right?",
		               clock_format_wall(k->own.not_before_s * 1000, day));
	/* Every node is server and client. */
	if (X509_check_purpose(k->cert, X509_PURPOSE_SSL_SERVER, 0) != 1 ||
	    X509_check_purpose(k->cert, X509_PURPOSE_SSL_CLIENT, 0) != 1)
		return err_set(e, ERR_INVAL,
		               "it must be good for TLS servers and clients (extendedKeyUsage serverAuth, clientAuth)");
	return check_owner(c, k, e);
}

static int check_all(const struct config *c, struct creds *k, struct err *e)
{
	char path[PATH_CAP], other[PATH_CAP];
	int rc;

	if (X509_check_private_key(k->cert, k->key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVAL, "%s: this key does not belong to the certificate %s",
		               creds_path(c, CREDS_KEY, path), creds_path(c, CREDS_CERT, other));
	}
	rc = pki_describe_x509(k->cert, &k->own, e);
	if (rc == ERR_OK)
		rc = check_cert(c, k, e);
	if (rc == ERR_OK) {
		/* Not with the first one taken off: the chain's order is what the file says. */
		rc = pki_check_chain(k->ca, k->chain, e);
		if (rc != ERR_OK)
			(void)err_wrap(e, "CA %s", creds_path(c, CREDS_CA, other));
	}
	return rc == ERR_OK ? rc : err_wrap(e, "%s", creds_path(c, CREDS_CERT, path));
}

static struct creds *creds_new(bool is_managed)
{
	struct creds *k = mem_alloc(sizeof *k);

	atomic_init(&k->refs, 1);
	k->is_managed = is_managed;
	return k;
}

/* A missing certificate means a fresh node, but only where the software makes it; any other missing file is a fault. */
static int load_files(const struct config *c, struct creds *k, struct err *e)
{
	char path[PATH_CAP];
	int rc = load_certs(c, CREDS_CERT, &k->chain, e);

	if (rc == ERR_NOTFOUND && k->is_managed)
		return err_set(e, ERR_NOTFOUND,
		               "this node has no certificate (%s): `mha-shell cluster init` makes one with a new cluster, "
		               "`mhad join TOKEN` gets one from a cluster (docs/trust.md)",
		               creds_path(c, CREDS_CERT, path));
	if (rc == ERR_OK)
		rc = load_key(c, &k->key, e);
	if (rc == ERR_OK)
		rc = load_certs(c, CREDS_CA, &k->ca, e);
	if (rc == ERR_OK)
		rc = load_revoked(c, k, e);
	if (rc == ERR_NOTFOUND && e != NULL)
		e->code = ERR_INVAL;
	return rc == ERR_NOTFOUND ? ERR_INVAL : rc;
}

int creds_load(const struct config *c, struct creds **ret, struct err *e)
{
	struct creds *k = creds_new(strcmp(c->tls.mode, "managed") == 0);
	int rc = load_files(c, k, e);

	if (rc == ERR_OK) {
		k->cert = sk_X509_value(k->chain, 0);
		X509_up_ref(k->cert);
		rc = check_all(c, k, e);
	}
	if (rc != ERR_OK) {
		creds_unref(k);
		return rc;
	}
	X509_free(sk_X509_shift(k->chain));
	*ret = k;
	return ERR_OK;
}

int creds_reload_revoked(const struct config *c, const struct creds *old, struct creds **ret, struct err *e)
{
	struct creds *k = creds_new(old->is_managed);
	int rc;

	k->ca = X509_chain_up_ref(old->ca);
	k->chain = X509_chain_up_ref(old->chain);
	X509_up_ref(k->cert = old->cert);
	EVP_PKEY_up_ref(k->key = old->key);
	k->own = old->own;
	rc = load_revoked(c, k, e);
	if (rc != ERR_OK || k->ca == NULL || k->chain == NULL) {
		creds_unref(k);
		return rc != ERR_OK ? rc : err_set(e, ERR_NOMEM, "no memory for certificates");
	}
	*ret = k;
	return ERR_OK;
}

struct creds *creds_ref(struct creds *k)
{
	atomic_fetch_add(&k->refs, 1);
	return k;
}

void creds_unref(struct creds *k)
{
	if (k == NULL || atomic_fetch_sub(&k->refs, 1) != 1)
		return;
	sk_X509_pop_free(k->ca, X509_free);
	sk_X509_pop_free(k->chain, X509_free);
	X509_free(k->cert);
	EVP_PKEY_free(k->key);
	free(k->revoked);
	free(k);
}
