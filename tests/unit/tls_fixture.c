#include "tests/unit/tls_fixture.h"

#include "core/base/str.h"

#include <ftw.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 20 /* a handshake needs three */

int64_t tls_now_s(void)
{
	return (int64_t)time(NULL);
}

/* Kept until the end: tests compare and mix them. */
static char *keep(char *text)
{
	static char *kept[256];
	static size_t count;

	assert_true(count < sizeof kept / sizeof *kept);
	return kept[count++] = text;
}

struct tls_ca tls_ca(const char *uuid)
{
	struct err e = ERR_INIT;
	struct tls_ca ca;

	if (pki_ca_new("lab", uuid, tls_now_s(), 3650, &ca.cert, &ca.key, &e) != ERR_OK)
		fail_msg("%s", e.text);
	keep(ca.cert);
	keep(ca.key);
	return ca;
}

static struct tls_leaf sign(const struct tls_ca *ca, const struct pki_subject *s, int64_t now_s, int64_t seconds)
{
	struct err e = ERR_INIT;
	struct tls_leaf l;
	char *request = NULL;

	if (pki_request_new(s->name, &request, &l.key, &e) != ERR_OK ||
	    pki_sign(ca->cert, ca->key, request, s, now_s, seconds, &l.cert, &e) != ERR_OK)
		fail_msg("%s", e.text);
	free(request);
	keep(l.key);
	keep(l.cert);
	return l;
}

struct tls_leaf tls_leaf(const struct tls_ca *ca, enum pki_kind kind, const char *name, const char *uuid)
{
	struct pki_subject s = {.kind = kind, .address = "127.0.0.1"};

	str_copy(s.name, sizeof s.name, name);
	str_copy(s.uuid, sizeof s.uuid, uuid);
	return sign(ca, &s, tls_now_s(), TLS_DAY_S);
}

struct tls_leaf tls_leaf_at(const struct tls_ca *ca, const char *name, int64_t now_s, int64_t seconds)
{
	struct pki_subject s = {.kind = PKI_NODE, .uuid = TLS_UUID};

	str_copy(s.name, sizeof s.name, name);
	return sign(ca, &s, now_s, seconds);
}

/* --- as others make them --- */

static void add_name(X509 *x, const char *field, const char *text)
{
	if (text != NULL)
		assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), field, MBSTRING_UTF8,
		                                            (const unsigned char *)text, -1, -1, 0),
		                 1);
}

static void *read_pem(const char *text, void *(*read)(BIO *bio))
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	void *object = read(bio);

	assert_non_null(object);
	BIO_free(bio);
	return object;
}

static void *read_cert(BIO *bio)
{
	return PEM_read_bio_X509(bio, NULL, NULL, NULL);
}

static void *read_key(BIO *bio)
{
	return PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
}

static char *text_of(X509 *x, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long len;

	if (x != NULL)
		assert_int_equal(PEM_write_bio_X509(bio, x), 1);
	else
		assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	len = BIO_get_mem_data(bio, &data);
	text = mem_alloc((size_t)len + 1);
	memcpy(text, data, (size_t)len);
	BIO_free(bio);
	return keep(text);
}

struct tls_leaf tls_foreign(const struct tls_leaf *issuer, const char *cn, const char *ou, bool is_ca)
{
	static long serial = 100;
	X509 *x = X509_new(), *parent = issuer != NULL ? read_pem(issuer->cert, read_cert) : NULL;
	EVP_PKEY *key = EVP_RSA_gen(2048), *signer = issuer != NULL ? read_pem(issuer->key, read_key) : NULL;
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	struct tls_leaf l;

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), TLS_DAY_S);
	add_name(x, "O", "Example Corporation");
	add_name(x, "OU", ou);
	add_name(x, "CN", cn);
	X509_set_pubkey(x, key);
	X509_set_issuer_name(x, X509_get_subject_name(parent != NULL ? parent : x));
	X509_add_ext(x, ext, -1);
	assert_true(X509_sign(x, signer != NULL ? signer : key, EVP_sha256()) > 0);
	l.cert = text_of(x, NULL);
	l.key = text_of(NULL, key);
	X509_EXTENSION_free(ext);
	X509_free(x);
	X509_free(parent);
	EVP_PKEY_free(key);
	EVP_PKEY_free(signer);
	return l;
}

/* --- hosts --- */

void tls_host_init(struct tls_host *h, const char *name)
{
	char path[128];

	memset(h, 0, sizeof *h);
	str_copy(h->dir, sizeof h->dir, "/tmp/mha-tls-test-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(path, sizeof path, "%s/tls", h->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	h->config.cluster = mem_strdup("lab");
	h->config.node = mem_strdup(name);
	h->config.state_dir = mem_strdup(h->dir);
	h->config.tls.mode = mem_strdup("managed");
}

static int remove_cb(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void tls_host_done(struct tls_host *h)
{
	struct config *c = &h->config;

	nftw(h->dir, remove_cb, 16, FTW_DEPTH | FTW_PHYS);
	free(c->cluster);
	free(c->node);
	free(c->state_dir);
	free(c->tls.mode);
	free(c->tls.ca);
	free(c->tls.cert);
	free(c->tls.key);
	memset(h, 0, sizeof *h);
}

void tls_host_write(const struct tls_host *h, const char *file, const char *text, unsigned mode)
{
	char path[160], temporary[170];
	FILE *f;

	snprintf(path, sizeof path, "%s/tls/%s", h->dir, file);
	snprintf(temporary, sizeof temporary, "%s.new", path);
	f = fopen(temporary, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(temporary, mode), 0);
	assert_int_equal(rename(temporary, path), 0);
}

void tls_host_give(const struct tls_host *h, const struct tls_ca *ca, const struct tls_leaf *leaf)
{
	tls_host_write(h, "ca.pem", ca->cert, 0644);
	tls_host_write(h, "node.key", leaf->key, 0600);
	tls_host_write(h, "node.pem", leaf->cert, 0644);
}

/* --- connections --- */

/* 1: done, 0: needs more, -1: failed */
static int step(SSL *ssl, char *error, size_t size)
{
	int n = SSL_do_handshake(ssl), kind = SSL_get_error(ssl, n);

	if (n == 1) {
		char byte;

		/* What TLS 1.3 tells a client after its own last word arrives with the first reading. */
		n = SSL_read(ssl, &byte, 1);
		kind = SSL_get_error(ssl, n);
		if (n <= 0 && kind == SSL_ERROR_WANT_READ)
			return 1;
	}
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return 0;
	tls_error(ssl, n, error, size);
	return -1;
}

bool tls_shake(struct tls_talk *k, SSL *client, SSL *server)
{
	BIO *a, *b;
	int c = 0, s = 0;

	memset(k, 0, sizeof *k);
	k->client = client;
	k->server = server;
	assert_non_null(client);
	assert_non_null(server);
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	for (int i = 0; i < ROUNDS; i++) {
		if (c >= 0)
			c = step(client, k->client_error, sizeof k->client_error);
		if (s >= 0)
			s = step(server, k->server_error, sizeof k->server_error);
	}
	return c == 1 && s == 1;
}

void tls_talk_done(struct tls_talk *k)
{
	SSL_free(k->client);
	SSL_free(k->server);
	memset(k, 0, sizeof *k);
}
