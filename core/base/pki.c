#include "core/base/pki.h"

#include "core/base/pki_read.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURVE         "P-256"
#define BACKDATE_S    3600 /* clocks differ */
#define DAY_S         INT64_C(86400)
#define SERIAL_BITS   128
#define SECURITY_BITS 112 /* the least that a public key must offer: RSA 2048 */

/* --- texts --- */

static int no_memory(struct err *e)
{
	ERR_clear_error();
	return err_set(e, ERR_NOMEM, "no memory for a certificate");
}

static char *take_text(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	char *text = mem_alloc((size_t)len + 1);

	memcpy(text, data, (size_t)len);
	return text;
}

static char *cert_text(X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = bio != NULL && PEM_write_bio_X509(bio, x) == 1 ? take_text(bio) : NULL;

	BIO_free(bio);
	return text;
}

static char *request_text(X509_REQ *req)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = bio != NULL && PEM_write_bio_X509_REQ(bio, req) == 1 ? take_text(bio) : NULL;

	BIO_free(bio);
	return text;
}

static char *key_text(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char *text = NULL;

	if (bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		text = take_text(bio);
	BIO_free(bio);
	return text;
}

/* --- parts of a certificate --- */

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool is_added;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	is_added = ext != NULL && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return is_added;
}

/* The leading bit is set, so that the number has the same length always, and none is 0. */
static bool set_serial(X509 *x)
{
	BIGNUM *n = BN_new();
	bool is_set = n != NULL && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	              BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;

	BN_free(n);
	return is_set;
}

static bool add_name(X509_NAME *name, const char *field, const char *text)
{
	return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1;
}

static X509 *cert_new(EVP_PKEY *key, int64_t from_s, int64_t to_s)
{
	X509 *x = X509_new();

	if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && X509_set_pubkey(x, key) == 1 &&
	    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from_s) != NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to_s) != NULL && add_name(X509_get_subject_name(x), "O", "mha4rdb"))
		return x;
	X509_free(x);
	return NULL;
}

static int check_uuid(const char *uuid, struct err *e)
{
	size_t len = strlen(uuid);
	bool is_good = len == 36;

	for (size_t i = 0; is_good && i < len; i++)
		is_good = i == 8 || i == 13 || i == 18 || i == 23 ? uuid[i] == '-' : isxdigit((unsigned char)uuid[i]) != 0;
	return is_good ? ERR_OK : err_set(e, ERR_INVAL, "\"%s\" is not a cluster's uuid", uuid);
}

/* --- the CA --- */

/* Its subject has an OU that no other certificate has, so that a node named as the cluster does not look like the issuer. */
static X509 *ca_cert_new(const char *cluster, const char *uuid, EVP_PKEY *key, int64_t now_s, unsigned days)
{
	X509 *x = cert_new(key, now_s - BACKDATE_S, now_s + (int64_t)days * DAY_S);
	char uri[128];

	snprintf(uri, sizeof uri, "URI:" PKI_URN "%s:ca:%s", uuid, cluster);
	if (x != NULL && add_name(X509_get_subject_name(x), "OU", "ca") && add_name(X509_get_subject_name(x), "CN", cluster) &&
	    X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
	    add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(x, x, NID_subject_key_identifier, "hash") && add_extension(x, x, NID_subject_alt_name, uri) &&
	    X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

int pki_ca_new(const char *cluster, const char *uuid, int64_t now_s, unsigned days, char **ret_cert, char **ret_key,
               struct err *e)
{
	char *cert = NULL, *private = NULL;
	EVP_PKEY *key;
	X509 *x;
	int rc = check_uuid(uuid, e);

	if (rc != ERR_OK)
		return rc;
	if (!str_is_name(cluster))
		return err_set(e, ERR_INVAL, "\"%s\" is not a cluster's name", cluster);
	key = EVP_EC_gen(CURVE);
	x = key != NULL ? ca_cert_new(cluster, uuid, key, now_s, days) : NULL;
	if (x != NULL) {
		cert = cert_text(x);
		private = key_text(key);
	}
	X509_free(x);
	EVP_PKEY_free(key);
	if (cert == NULL || private == NULL) {
		free(cert);
		free(private);
		return no_memory(e);
	}
	*ret_cert = cert;
	*ret_key = private;
	return ERR_OK;
}

/* --- requests --- */

int pki_request_new(const char *name, char **ret_request, char **ret_key, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen(CURVE);
	X509_REQ *req = X509_REQ_new();
	char *text = NULL, *private = NULL;

	if (key != NULL && req != NULL && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
	    add_name(X509_REQ_get_subject_name(req), "CN", name) && X509_REQ_set_pubkey(req, key) == 1 &&
	    X509_REQ_sign(req, key, EVP_sha256()) > 0) {
		text = request_text(req);
		private = key_text(key);
	}
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	if (text == NULL || private == NULL) {
		free(text);
		free(private);
		return no_memory(e);
	}
	*ret_request = text;
	*ret_key = private;
	return ERR_OK;
}

/* The public key of a request. Whoever sent it has the private one: the signature says so. Borrowed by *ret_req. */
static int read_request(const char *pem, X509_REQ **ret_req, EVP_PKEY **ret, struct err *e)
{
	size_t len = strlen(pem);
	BIO *bio = len <= PKI_PEM_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
	X509_REQ *req = bio != NULL ? PEM_read_bio_X509_REQ(bio, NULL, pki_no_passphrase, NULL) : NULL;
	EVP_PKEY *key = req != NULL ? X509_REQ_get0_pubkey(req) : NULL;
	int rc = ERR_OK;

	BIO_free(bio);
	if (key == NULL)
		rc = err_set(e, ERR_INVAL, "the request for a certificate is not PEM (%s)", pki_reason());
	else if (X509_REQ_verify(req, key) != 1)
		rc = err_set(e, ERR_INVAL, "the signature of the request for a certificate does not fit its key");
	else if (EVP_PKEY_get_security_bits(key) < SECURITY_BITS)
		rc = err_set(e, ERR_INVAL, "the key of the request for a certificate is too weak: use EC P-256");
	ERR_clear_error();
	if (rc != ERR_OK) {
		X509_REQ_free(req);
		return rc;
	}
	*ret_req = req;
	*ret = key;
	return ERR_OK;
}

/* --- signing --- */

static int check_subject(const struct pki_subject *s, struct err *e)
{
	unsigned char ip[16];

	if (s->kind != PKI_NODE && s->kind != PKI_ADMIN)
		return err_set(e, ERR_INVAL, "certificates are made for nodes and administrators only");
	if (!str_is_name(s->name))
		return err_set(e, ERR_INVAL, "\"%s\" is not a name for a certificate: use 1 to 32 of a-z, 0-9, - and _",
		               s->name);
	if (s->address[0] != '\0' && inet_pton(AF_INET, s->address, ip) != 1 && inet_pton(AF_INET6, s->address, ip) != 1)
		return err_set(e, ERR_INVAL, "\"%s\" is not a numeric address", s->address);
	return check_uuid(s->uuid, e);
}

static bool add_names(X509 *x, X509 *ca, const struct pki_subject *s)
{
	char text[256];
	int len = snprintf(text, sizeof text, "URI:" PKI_URN "%s:%s:%s,DNS:%s", s->uuid, s->kind == PKI_NODE ? "node" : "admin",
	                   s->name, s->name);

	if (s->kind == PKI_NODE && s->address[0] != '\0')
		snprintf(text + len, sizeof text - (size_t)len, ",IP:%s", s->address);
	return add_name(X509_get_subject_name(x), "CN", s->name) && add_extension(x, ca, NID_subject_alt_name, text);
}

static char *sign(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key, const struct pki_subject *s, const int64_t span_s[2])
{
	X509 *x = cert_new(key, span_s[0], span_s[1]);
	char *text = NULL;

	if (x != NULL && X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 && add_names(x, ca, s) &&
	    add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(x, ca, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(x, ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(x, ca, NID_subject_key_identifier, "hash") &&
	    add_extension(x, ca, NID_authority_key_identifier, "keyid:always") && X509_sign(x, ca_key, EVP_sha256()) > 0)
		text = cert_text(x);
	X509_free(x);
	return text;
}

/* No certificate outlives the CA's: it would be refused from then on all the same. */
static int choose_span(X509 *ca, int64_t now_s, int64_t seconds, int64_t *ret_span_s, struct err *e)
{
	struct pki_info info;
	int rc = pki_describe_x509(ca, &info, e);

	if (rc != ERR_OK)
		return rc;
	if (info.not_after_s <= now_s)
		return err_set(e, ERR_INVAL, "the CA's certificate has expired");
	ret_span_s[0] = now_s - BACKDATE_S;
	ret_span_s[1] = now_s + seconds < info.not_after_s ? now_s + seconds : info.not_after_s;
	return ERR_OK;
}

/* Both are returned together: the key fits the certificate. */
static int read_ca(const char *cert, const char *key, STACK_OF(X509) * *ret_ca, EVP_PKEY **ret_key, struct err *e)
{
	STACK_OF(X509) *ca = NULL;
	EVP_PKEY *private = NULL;
	int rc = pki_read_certs(cert, &ca, e);

	if (rc == ERR_OK)
		rc = pki_read_key(key, &private, e);
	if (rc != ERR_OK)
		(void)err_wrap(e, "the CA");
	else if (X509_check_private_key(sk_X509_value(ca, 0), private) != 1)
		rc = err_set(e, ERR_INVAL, "the CA's private key does not belong to its certificate");
	ERR_clear_error();
	if (rc != ERR_OK) {
		EVP_PKEY_free(private);
		sk_X509_pop_free(ca, X509_free);
		return rc;
	}
	*ret_ca = ca;
	*ret_key = private;
	return ERR_OK;
}

int pki_sign(const char *ca_cert, const char *ca_key, const char *request, const struct pki_subject *subject, int64_t now_s,
             int64_t seconds, char **ret_cert, struct err *e)
{
	STACK_OF(X509) *ca = NULL;
	EVP_PKEY *private = NULL, *key = NULL;
	X509_REQ *req = NULL;
	int64_t span_s[2] = {0, 0};
	char *text = NULL;
	int rc = check_subject(subject, e);

	if (rc == ERR_OK)
		rc = read_ca(ca_cert, ca_key, &ca, &private, e);
	if (rc == ERR_OK)
		rc = choose_span(sk_X509_value(ca, 0), now_s, seconds, span_s, e);
	if (rc == ERR_OK)
		rc = read_request(request, &req, &key, e);
	if (rc == ERR_OK && (text = sign(sk_X509_value(ca, 0), private, key, subject, span_s)) == NULL)
		rc = no_memory(e);
	if (rc == ERR_OK)
		*ret_cert = text;
	X509_REQ_free(req);
	EVP_PKEY_free(private);
	sk_X509_pop_free(ca, X509_free);
	return rc;
}
