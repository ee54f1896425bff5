#include "core/base/pki_read.h"

#include "core/base/str.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UUID_LEN 36

const char *pki_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return text != NULL ? text : "no reason was given";
}

/* --- PEM --- */

int pki_no_passphrase(char *buf, int size, int is_write, void *arg)
{
	(void)buf;
	(void)size;
	(void)is_write;
	(void)arg;
	return -1;
}

static BIO *open_text(const char *pem, struct err *e)
{
	size_t len = strlen(pem);
	BIO *bio;

	if (len > PKI_PEM_MAX) {
		(void)err_set(e, ERR_INVAL, "it is longer than %d bytes", PKI_PEM_MAX);
		return NULL;
	}
	bio = BIO_new_mem_buf(pem, (int)len);
	if (bio == NULL)
		(void)err_set(e, ERR_NOMEM, "no memory for a PEM text");
	return bio;
}

int pki_read_certs(const char *pem, STACK_OF(X509) * *ret, struct err *e)
{
	STACK_OF(X509) *list = sk_X509_new_null();
	BIO *bio = open_text(pem, e);
	unsigned long last;
	X509 *x;

	if (bio == NULL || list == NULL) {
		BIO_free(bio);
		sk_X509_free(list);
		return e != NULL && e->code != ERR_OK ? (int)e->code : ERR_NOMEM;
	}
	while ((x = PEM_read_bio_X509(bio, NULL, pki_no_passphrase, NULL)) != NULL)
		if (sk_X509_push(list, x) == 0)
			X509_free(x);
	BIO_free(bio);
	last = ERR_peek_last_error();
	if (sk_X509_num(list) > 0 && ERR_GET_REASON(last) == PEM_R_NO_START_LINE) { /* the text's end */
		ERR_clear_error();
		*ret = list;
		return ERR_OK;
	}
	sk_X509_pop_free(list, X509_free);
	return err_set(e, ERR_INVAL, "it is not a PEM certificate (%s)", pki_reason());
}

int pki_read_key(const char *pem, EVP_PKEY **ret, struct err *e)
{
	BIO *bio = open_text(pem, e);
	EVP_PKEY *key;

	if (bio == NULL)
		return e != NULL && e->code != ERR_OK ? (int)e->code : ERR_INVAL;
	key = PEM_read_bio_PrivateKey(bio, NULL, pki_no_passphrase, NULL);
	BIO_free(bio);
	if (key == NULL)
		return err_set(e, ERR_INVAL, "it is not a PEM private key without a passphrase (%s)", pki_reason());
	ERR_clear_error();
	*ret = key;
	return ERR_OK;
}

/* --- who --- */

/* Text of one entry of the subject's name. False when it is missing, there twice, too long or holds a NUL: half a name could be
 * another's. */
static bool subject_entry(X509 *x, int nid, char *buf, size_t cap)
{
	const X509_NAME *name = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(name, nid, -1);
	unsigned char *text = NULL;
	bool fits;
	int len;

	if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
		return false;
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	fits = len > 0 && strlen((char *)text) == (size_t)len && (size_t)len < cap;
	if (fits)
		memcpy(buf, text, (size_t)len + 1);
	OPENSSL_free(text);
	return fits;
}

static bool has_unit(X509 *x, const char *unit)
{
	const X509_NAME *name = X509_get_subject_name(x);
	int at = -1;

	while ((at = X509_NAME_get_index_by_NID(name, NID_organizationalUnitName, at)) >= 0) {
		const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));

		if ((size_t)ASN1_STRING_length(s) == strlen(unit) && memcmp(ASN1_STRING_get0_data(s), unit, strlen(unit)) == 0)
			return true;
	}
	return false;
}

/* "<uuid>:<kind>:<name>" */
static bool parse_urn(const char *text, struct pki_subject *ret)
{
	static const struct {
		const char *word;
		enum pki_kind kind;
	} kinds[] = {{":node:", PKI_NODE}, {":admin:", PKI_ADMIN}, {":ca:", PKI_CA}};

	if (strlen(text) <= UUID_LEN)
		return false;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const char *name;

		if (strncmp(text + UUID_LEN, kinds[i].word, strlen(kinds[i].word)) != 0)
			continue;
		name = text + UUID_LEN + strlen(kinds[i].word);
		ret->kind = kinds[i].kind;
		memcpy(ret->uuid, text, UUID_LEN);
		ret->uuid[UUID_LEN] = '\0';
		return str_is_name(name) && str_copy(ret->name, sizeof ret->name, name);
	}
	return false;
}

static void take_address(const ASN1_OCTET_STRING *ip, struct pki_subject *ret)
{
	int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;

	if (ASN1_STRING_length(ip) == 4 || ASN1_STRING_length(ip) == 16)
		(void)inet_ntop(family, ASN1_STRING_get0_data(ip), ret->address, sizeof ret->address);
}

/* The alternative names. *ret_has_urn: the certificate speaks this software's own language. */
static int read_names(X509 *x, struct pki_subject *ret, bool *ret_has_urn, struct err *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool is_good = true;

	*ret_has_urn = false;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s = n->d.ia5;
		const char *text = n->type == GEN_URI ? (const char *)ASN1_STRING_get0_data(s) : "";

		if (n->type == GEN_IPADD && ret->address[0] == '\0')
			take_address(n->d.iPAddress, ret);
		if (n->type != GEN_URI || strncmp(text, PKI_URN, strlen(PKI_URN)) != 0)
			continue;
		/* Two of them would let one certificate speak for two. */
		is_good &= !*ret_has_urn && strlen(text) == (size_t)ASN1_STRING_length(s) &&
		           parse_urn(text + strlen(PKI_URN), ret);
		*ret_has_urn = true;
	}
	GENERAL_NAMES_free(names);
	return is_good ? ERR_OK : err_set(e, ERR_INVAL, "its name %s... is not well formed", PKI_URN);
}

static int read_subject(X509 *x, struct pki_subject *ret, struct err *e)
{
	bool has_urn;
	int rc = read_names(x, ret, &has_urn, e);

	if (rc != ERR_OK || has_urn)
		return rc;
	ret->kind = X509_check_ca(x) != 0 ? PKI_CA : has_unit(x, PKI_ADMIN_UNIT) ? PKI_ADMIN : PKI_OTHER;
	if (subject_entry(x, NID_commonName, ret->name, sizeof ret->name) || ret->kind == PKI_CA)
		return ERR_OK;
	return err_set(e, ERR_INVAL, "its subject must have one CN of 1 to %zu bytes: the node's name", sizeof ret->name - 1);
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool read_serial(X509 *x, char *buf, size_t cap)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *text = n != NULL ? BN_bn2hex(n) : NULL;
	bool fits = text != NULL && str_copy(buf, cap, text);

	for (char *p = buf; fits && *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	OPENSSL_free(text);
	BN_free(n);
	return fits;
}

int pki_describe_x509(X509 *x, struct pki_info *ret, struct err *e)
{
	struct pki_info info = {0};
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int rc = read_subject(x, &info.subject, e);

	if (rc != ERR_OK)
		return rc;
	if (!read_serial(x, info.serial, sizeof info.serial) || X509_digest(x, EVP_sha256(), digest, &len) != 1)
		return err_set(e, ERR_INVAL, "its serial number or its digest cannot be read");
	for (unsigned i = 0; i < len && 2 * i + 2 < sizeof info.fingerprint; i++)
		snprintf(info.fingerprint + 2 * i, 3, "%02x", digest[i]);
	info.not_before_s = seconds_of(X509_get0_notBefore(x));
	info.not_after_s = seconds_of(X509_get0_notAfter(x));
	*ret = info;
	return ERR_OK;
}

int pki_describe(const char *cert, struct pki_info *ret, struct err *e)
{
	STACK_OF(X509) *list = NULL;
	int rc = pki_read_certs(cert, &list, e);

	if (rc != ERR_OK)
		return rc;
	rc = pki_describe_x509(sk_X509_value(list, 0), ret, e);
	sk_X509_pop_free(list, X509_free);
	return rc;
}

/* --- what belongs together --- */

int pki_check_chain(STACK_OF(X509) * ca, STACK_OF(X509) * certs, struct err *e)
{
	X509_STORE *empty = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int rc = ERR_OK;

	if (empty == NULL || ctx == NULL || X509_STORE_CTX_init(ctx, empty, sk_X509_value(certs, 0), certs) != 1) {
		rc = err_set(e, ERR_NOMEM, "no memory to check a certificate");
	} else {
		X509_STORE_CTX_set0_trusted_stack(ctx, ca);
		/* What the file of the CA holds is trusted, also when it is an intermediate one. */
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
		if (X509_verify_cert(ctx) != 1)
			rc = err_set(e, ERR_INVAL, "the certificate is not signed by the CA (%s)",
			             X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(empty);
	ERR_clear_error();
	return rc;
}

int pki_check(const char *ca_cert, const char *cert, const char *key, struct err *e)
{
	STACK_OF(X509) *ca = NULL, *certs = NULL;
	EVP_PKEY *private = NULL;
	int rc;

	if ((rc = pki_read_certs(ca_cert, &ca, e)) != ERR_OK)
		(void)err_wrap(e, "the CA's certificate");
	else if ((rc = pki_read_certs(cert, &certs, e)) != ERR_OK)
		(void)err_wrap(e, "the certificate");
	else if ((rc = pki_read_key(key, &private, e)) != ERR_OK)
		(void)err_wrap(e, "the key");
	else if (X509_check_private_key(sk_X509_value(certs, 0), private) != 1)
		rc = err_set(e, ERR_INVAL, "the private key does not belong to the certificate");
	else
		rc = pki_check_chain(ca, certs, e);
	EVP_PKEY_free(private);
	sk_X509_pop_free(certs, X509_free);
	sk_X509_pop_free(ca, X509_free);
	ERR_clear_error();
	return rc;
}
