#include "core/base/tls.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/pki_read.h"
#include "core/base/str.h"
#include "core/base/tls_creds.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS       1000
#define SUITES        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define ALERT_REASONS 1000 /* OpenSSL numbers the reasons of received alerts from here on */

struct tls {
	const struct config *config;
	SSL_CTX *server[2], *client; /* server: by enum tls_clients */
	pthread_mutex_t lock;        /* of what follows; never held while files are read */
	struct creds *creds;
	unsigned number;
	bool is_looking;
	int64_t looked_ms;
	struct creds_stamp stamp, refused;
	bool was_logged; /* that `refused` does not fit */
};

bool tls_is_off(const struct config *c)
{
	return c->tls.mode != NULL && strcmp(c->tls.mode, "insecure-plaintext") == 0;
}

static struct creds *creds_now(struct tls *t)
{
	struct creds *k;

	pthread_mutex_lock(&t->lock);
	k = creds_ref(t->creds);
	pthread_mutex_unlock(&t->lock);
	return k;
}

/* --- rotation --- */

/* Returns whether this caller is the one to look. */
static bool begin_look(struct tls *t)
{
	int64_t now_ms = clock_now_ms();
	bool is_due;

	pthread_mutex_lock(&t->lock);
	is_due = !t->is_looking && now_ms - t->looked_ms >= LOOK_MS;
	if (is_due) {
		t->is_looking = true;
		t->looked_ms = now_ms;
	}
	pthread_mutex_unlock(&t->lock);
	return is_due;
}

static void take_over(struct tls *t, struct creds *k, const struct creds_stamp *stamp)
{
	struct creds *old;

	pthread_mutex_lock(&t->lock);
	old = t->creds;
	t->creds = k;
	t->stamp = *stamp;
	t->number++;
	pthread_mutex_unlock(&t->lock);
	creds_unref(old);
}

/* Between the writing of a key and that of its certificate the two do not fit: said only when it has lasted until the second
 * look. Revocations count meanwhile. */
static void refuse(struct tls *t, const struct creds_stamp *stamp, const struct err *why)
{
	struct creds *k = NULL;
	struct err e = ERR_INIT;

	if (memcmp(stamp, &t->refused, sizeof *stamp) != 0) {
		t->refused = *stamp;
		t->was_logged = false;
		if (memcmp(&stamp->files[CREDS_REVOKED], &t->stamp.files[CREDS_REVOKED], sizeof stamp->files[0]) == 0)
			return;
		if (creds_reload_revoked(t->config, t->creds, &k, &e) != ERR_OK)
			return;
		pthread_mutex_lock(&t->lock);
		t->stamp.files[CREDS_REVOKED] = stamp->files[CREDS_REVOKED];
		pthread_mutex_unlock(&t->lock);
		take_over(t, k, &t->stamp);
	} else if (!t->was_logged) {
		t->was_logged = true;
		log_error("tls", "the changed certificate files are not taken, those read before stay in use: %s", why->text);
	}
}

static void look(struct tls *t)
{
	struct creds_stamp stamp;
	struct creds *k = NULL;
	struct err e = ERR_INIT;
	char until[32];

	creds_look(t->config, &stamp);
	if (memcmp(&stamp, &t->stamp, sizeof stamp) == 0)
		return;
	if (creds_load(t->config, &k, &e) != ERR_OK) {
		refuse(t, &stamp, &e);
		return;
	}
	if (strcmp(k->own.serial, t->creds->own.serial) != 0)
		log_info("tls", "certificate %s is in use, valid until %s", k->own.serial,
		         clock_format_wall(k->own.not_after_s * 1000, until));
	take_over(t, k, &stamp);
}

unsigned tls_refresh(struct tls *t)
{
	unsigned number;

	if (begin_look(t)) {
		look(t);
		pthread_mutex_lock(&t->lock);
		t->is_looking = false;
	} else {
		pthread_mutex_lock(&t->lock);
	}
	number = t->number;
	pthread_mutex_unlock(&t->lock);
	return number;
}

/* --- who is there --- */

static int check_cluster(const struct creds *k, struct pki_info *info, struct err *e)
{
	const char *own = k->own.subject.uuid, *uuid = info->subject.uuid;

	if (info->subject.kind == PKI_CA)
		return err_set(e, ERR_REFUSED, "its certificate is a CA's");
	if (k->is_managed ? strcmp(uuid, own) != 0 : own[0] != '\0' && uuid[0] != '\0' && strcmp(uuid, own) != 0)
		return err_set(e, ERR_REFUSED, "its certificate \"%s\" is of another cluster (%s)", info->subject.name,
		               uuid[0] != '\0' ? uuid : "none that this software made");
	if (info->subject.kind == PKI_OTHER) /* the operator's own: whoever the CA calls by a node's name is that node */
		info->subject.kind = PKI_NODE;
	return ERR_OK;
}

/* Everything but the name that a caller expects. */
static int check_peer(const struct creds *k, X509 *cert, struct pki_info *ret, struct err *e)
{
	struct err why = ERR_INIT;
	int rc;

	if (pki_describe_x509(cert, ret, &why) != ERR_OK)
		return err_set(e, ERR_REFUSED, "its certificate cannot be used: %s", why.text);
	rc = check_cluster(k, ret, e);
	if (rc != ERR_OK)
		return rc;
	if (creds_is_revoked(k, ret->serial))
		return err_set(e, ERR_REFUSED, "the certificate of \"%s\" (%s) has been revoked", ret->subject.name,
		               ret->serial);
	return ERR_OK;
}

/* In place of OpenSSL's own trust store, so that a context follows the files. */
static int verify_cb(X509_STORE_CTX *ctx, void *arg)
{
	struct tls *t = arg;
	struct creds *k = creds_now(t);
	struct pki_info info = {0};
	struct err e = ERR_INIT;
	int is_good;

	X509_STORE_CTX_set0_trusted_stack(ctx, k->ca);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
	is_good = X509_verify_cert(ctx);
	if (is_good == 1 && check_peer(k, X509_STORE_CTX_get0_cert(ctx), &info, &e) != ERR_OK) {
		X509_STORE_CTX_set_error(ctx, creds_is_revoked(k, info.serial) ? X509_V_ERR_CERT_REVOKED
		                                                               : X509_V_ERR_APPLICATION_VERIFICATION);
		is_good = 0;
	}
	creds_unref(k);
	return is_good;
}

static int check_name(const struct pki_subject *s, const char *expected, struct err *e)
{
	if (expected == NULL)
		return ERR_OK;
	if (s->kind != PKI_NODE)
		return err_set(e, ERR_REFUSED,
		               "the node \"%s\" was expected, and the certificate is that of the administrator \"%s\"",
		               expected, s->name);
	if (strcmp(s->name, expected) != 0)
		return err_set(e, ERR_REFUSED, "the node \"%s\" was expected, and the certificate is that of \"%s\"", expected,
		               s->name);
	return ERR_OK;
}

int tls_peer(struct tls *t, SSL *ssl, const char *expected, struct pki_info *ret, struct err *e)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	struct pki_info info;
	struct creds *k;
	int rc;

	if (cert == NULL)
		return err_set(e, ERR_REFUSED, "it showed no certificate");
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return err_set(e, ERR_REFUSED, "its certificate was not accepted: %s",
		               X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	k = creds_now(t);
	rc = check_peer(k, cert, &info, e);
	creds_unref(k);
	if (rc == ERR_OK)
		rc = check_name(&info.subject, expected, e);
	if (rc == ERR_OK)
		*ret = info;
	return rc;
}

bool tls_is_revoked(struct tls *t, const char *serial)
{
	struct creds *k = creds_now(t);
	bool is_revoked = creds_is_revoked(k, serial);

	creds_unref(k);
	return is_revoked;
}

void tls_own(struct tls *t, struct pki_info *ret)
{
	struct creds *k = creds_now(t);

	*ret = k->own;
	creds_unref(k);
}

/* --- contexts --- */

/* The own certificate, for each connection anew. */
static int cert_cb(SSL *ssl, void *arg)
{
	struct tls *t = arg;
	struct creds *k;
	int is_set;

	(void)tls_refresh(t);
	k = creds_now(t);
	is_set = SSL_use_cert_and_key(ssl, k->cert, k->key, k->chain, 1);
	creds_unref(k);
	return is_set;
}

static int setup(struct tls *t, SSL_CTX *ctx, struct err *e)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 || SSL_CTX_set_max_proto_version(ctx, 0) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, SUITES) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVAL, "this OpenSSL cannot speak TLS 1.3");
	}
	/* A resumed session would not be asked for its certificate again. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_cert_cb(ctx, cert_cb, t);
	SSL_CTX_set_cert_verify_callback(ctx, verify_cb, t);
	return ERR_OK;
}

int tls_setup_server(struct tls *t, SSL_CTX *ctx, enum tls_clients clients, struct err *e)
{
	int mode = SSL_VERIFY_PEER | (clients == TLS_CLIENTS_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

	SSL_CTX_set_verify(ctx, mode, NULL);
	return setup(t, ctx, e);
}

int tls_setup_client(struct tls *t, SSL_CTX *ctx, struct err *e)
{
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return setup(t, ctx, e);
}

static int make_contexts(struct tls *t, struct err *e)
{
	const long modes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
	int rc = ERR_OK;

	t->client = SSL_CTX_new(TLS_client_method());
	for (int i = 0; i < 2; i++)
		t->server[i] = SSL_CTX_new(TLS_server_method());
	if (t->client == NULL || t->server[0] == NULL || t->server[1] == NULL)
		return err_set(e, ERR_NOMEM, "no memory for TLS: %s", pki_reason());
	rc = tls_setup_client(t, t->client, e);
	SSL_CTX_set_mode(t->client, modes);
	for (int i = 0; rc == ERR_OK && i < 2; i++) {
		rc = tls_setup_server(t, t->server[i], (enum tls_clients)i, e);
		SSL_CTX_set_mode(t->server[i], modes);
	}
	return rc;
}

int tls_open(const struct config *c, struct tls **ret, struct err *e)
{
	struct tls *t = mem_alloc(sizeof *t);
	int rc;

	pthread_mutex_init(&t->lock, NULL);
	t->config = c;
	t->number = 1;
	t->looked_ms = clock_now_ms();
	creds_look(c, &t->stamp); /* before they are read: what changes meanwhile is seen by the next look */
	rc = creds_load(c, &t->creds, e);
	if (rc == ERR_OK)
		rc = make_contexts(t, e);
	if (rc != ERR_OK) {
		tls_free(t);
		return rc;
	}
	*ret = t;
	return ERR_OK;
}

void tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->client);
	for (int i = 0; i < 2; i++)
		SSL_CTX_free(t->server[i]);
	creds_unref(t->creds);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

SSL *tls_new_server(struct tls *t, enum tls_clients clients)
{
	SSL *ssl;

	(void)tls_refresh(t);
	ssl = SSL_new(t->server[clients]);
	if (ssl != NULL)
		SSL_set_accept_state(ssl);
	return ssl;
}

SSL *tls_new_client(struct tls *t)
{
	SSL *ssl;

	(void)tls_refresh(t);
	ssl = SSL_new(t->client);
	if (ssl != NULL)
		SSL_set_connect_state(ssl);
	return ssl;
}

/* --- words --- */

const char *tls_error(SSL *ssl, int ssl_result, char *buf, size_t size)
{
	int system = errno, kind = SSL_get_error(ssl, ssl_result);
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);
	long verified = SSL_get_verify_result(ssl);

	ERR_clear_error();
	if (kind == SSL_ERROR_ZERO_RETURN || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		snprintf(buf, size, "the other end closed the connection");
	else if (code == 0)
		snprintf(buf, size, "%s",
		         kind == SSL_ERROR_SYSCALL && system != 0 ? strerror(system) : "the connection broke off");
	else if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		snprintf(buf, size, "its certificate was not accepted: %s",
		         verified == X509_V_ERR_APPLICATION_VERIFICATION ? "it is not of this cluster"
		                                                         : X509_verify_cert_error_string(verified));
	else if (ERR_GET_REASON(code) >= ALERT_REASONS)
		snprintf(buf, size, "the other end refused: %s", reason != NULL ? reason : "no reason was given");
	else
		snprintf(buf, size, "no TLS connection: %s", reason != NULL ? reason : "no reason was given");
	return buf;
}
