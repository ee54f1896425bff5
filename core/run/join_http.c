#include "core/base/log.h"
#include "core/base/pki.h"
#include "core/base/str.h"
#include "core/base/tls.h"
#include "core/run/join.h"

#include <curl/curl.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_MS 3000L
#define ANSWER_MS  15000L
#define ANSWER_MAX (1024 * 1024)
#define ROUNDS     20 /* a second apart, while the cluster has no controller */
#define HINT_SIZE  256

struct contact {
	const struct token *token;
	struct tls *tls; /* the operator's own certificates; NULL: managed or none */
	struct buf answer;
	char fault[256]; /* why the server was not believed */
};

/* --- is it the cluster? --- */

static char *pem_of(X509 *x)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *data = NULL, *pem = NULL;
	long len;

	if (b != NULL && PEM_write_bio_X509(b, x) == 1 && (len = BIO_get_mem_data(b, &data)) > 0)
		pem = strndup(data, (size_t)len);
	BIO_free(b);
	return pem;
}

static bool describe(X509 *x, struct pki_info *ret)
{
	char *pem = pem_of(x);
	bool is_read = pem != NULL && pki_describe(pem, ret, NULL) == ERR_OK;

	free(pem);
	return is_read;
}

/* The CA among what the server has sent; only its fingerprint counts. */
static X509 *find_ca(const struct contact *k, STACK_OF(X509) * sent)
{
	struct pki_info info;
	int i;

	for (i = 0; i < sk_X509_num(sent); i++)
		if (describe(sk_X509_value(sent, i), &info) && strcmp(info.fingerprint, k->token->ca) == 0)
			return sk_X509_value(sent, i);
	return NULL;
}

static bool is_signed_by(X509 *leaf, X509 *ca)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *x = X509_STORE_CTX_new();
	bool is_good = store != NULL && x != NULL && X509_STORE_add_cert(store, ca) == 1 &&
	               X509_STORE_CTX_init(x, store, leaf, NULL) == 1 && X509_STORE_CTX_set_default(x, "ssl_server") == 1 &&
	               X509_verify_cert(x) == 1;

	X509_STORE_CTX_free(x);
	X509_STORE_free(store);
	return is_good;
}

static int verify_cb(X509_STORE_CTX *x, void *arg)
{
	struct contact *k = arg;
	X509 *leaf = X509_STORE_CTX_get0_cert(x), *ca = find_ca(k, X509_STORE_CTX_get0_untrusted(x));
	struct pki_info info;

	if (ca == NULL)
		snprintf(k->fault, sizeof k->fault,
		         "it does not show the CA that the token names: another cluster, or somebody in between");
	else if (!is_signed_by(leaf, ca))
		snprintf(k->fault, sizeof k->fault, "its certificate is not signed by the cluster's CA, or has expired");
	else if (!describe(leaf, &info) || info.subject.kind != PKI_NODE || strcmp(info.subject.uuid, k->token->uuid) != 0)
		snprintf(k->fault, sizeof k->fault, "its certificate is not that of a node of the cluster");
	if (k->fault[0] == '\0')
		return 1;
	X509_STORE_CTX_set_error(x, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static CURLcode set_context(CURL *curl, void *ctx, void *arg)
{
	struct contact *k = arg;

	(void)curl;
	if (k->tls != NULL)
		return tls_setup_client(k->tls, ctx, NULL) == ERR_OK ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
	SSL_CTX_set_cert_verify_callback(ctx, verify_cb, k);
	return CURLE_OK;
}

/* --- one request --- */

static size_t take_answer(char *data, size_t size, size_t count, void *arg)
{
	struct contact *k = arg;

	if (k->answer.len + size * count > ANSWER_MAX)
		return 0;
	buf_add(&k->answer, data, size * count);
	return size * count;
}

static void set_options(CURL *curl, struct contact *k, const char *body)
{
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, CONNECT_MS + ANSWER_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, k);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	/* Whom to believe is verify_cb's or core/base/tls.h's business; names are checked there, no bundle of public CAs
	 * counts. */
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, set_context);
	curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, k);
}

/* *ret_status: of HTTP. */
static int send_one(struct contact *k, const char *address, const char *body, long *ret_status, struct err *e)
{
	bool is_plain = strcmp(k->token->mode, "insecure-plaintext") == 0;
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	curl_off_t sending_us = 0;
	char url[128];
	CURLcode code;
	int rc = ERR_OK;

	if (curl == NULL || headers == NULL)
		return err_set(e, ERR_NOMEM, "libcurl cannot be initialised");
	snprintf(url, sizeof url, "%s://%s/v1/join", is_plain ? "http" : "https", address);
	k->fault[0] = '\0';
	buf_clear(&k->answer);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	set_options(curl, k, body);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &sending_us);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	if (code != CURLE_OK && k->fault[0] != '\0')
		rc = err_set(e, ERR_REFUSED, "%s is not believed: %s", address, k->fault);
	else if (code != CURLE_OK)
		rc = err_set(e, sending_us == 0 ? ERR_UNREACHABLE : ERR_AMBIGUOUS, "%s: %s", address, curl_easy_strerror(code));
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return rc;
}

/* --- the addresses in turn --- */

static int read_refusal(const struct contact *k, long status, char *hint, struct err *e)
{
	json_t *o = json_loadb(k->answer.data != NULL ? k->answer.data : "", k->answer.len, 0, NULL);
	const char *message = json_string_value(json_object_get(o, "message"));
	const char *way_out = json_string_value(json_object_get(o, "hint"));
	enum err_code code = status == 503 ? ERR_UNREACHABLE : status == 504 ? ERR_AMBIGUOUS : ERR_REFUSED;
	int rc;

	if (way_out != NULL)
		str_copy(hint, HINT_SIZE, way_out);
	rc = err_set(e, code, "%.300s", message != NULL ? message : "the cluster answers without an explanation");
	json_decref(o);
	return rc;
}

/* Every address once. ERR_UNREACHABLE: none has decided anything. */
static int try_all(struct contact *k, const char *body, char *hint, bool *is_alive, struct err *e)
{
	struct buf all = {0};
	unsigned i;
	int rc = ERR_UNREACHABLE;

	for (i = 0; i < k->token->address_count; i++) {
		struct err one = ERR_INIT;
		long status = 0;

		rc = send_one(k, k->token->addresses[i], body, &status, &one);
		if (rc == ERR_OK && status != 200)
			rc = read_refusal(k, status, hint, &one);
		*is_alive |= status != 0;
		if (rc != ERR_UNREACHABLE) {
			buf_done(&all);
			return rc == ERR_OK ? rc : err_set(e, (enum err_code)rc, "%s", one.text);
		}
		buf_printf(&all, "%s%s", all.len > 0 ? "; " : "", one.text);
	}
	rc = err_set(e, ERR_UNREACHABLE, "no member can be asked: %s", all.data);
	buf_done(&all);
	return rc;
}

int join_post(const struct config *c, const struct token *t, const char *body, char **ret, char *hint, struct err *e)
{
	struct contact k = {.token = t};
	bool is_alive = true;
	int round, rc = ERR_OK;

	curl_global_init(CURL_GLOBAL_ALL);
	if (strcmp(t->mode, "files") == 0)
		rc = tls_open(c, &k.tls, e);
	for (round = 0; rc == ERR_OK && round < ROUNDS; round++) {
		is_alive = false;
		rc = try_all(&k, body, hint, &is_alive, e);
		if (rc != ERR_UNREACHABLE || !is_alive)
			break;
		rc = ERR_OK; /* somebody lives, but nobody leads just now */
		sleep(1);
	}
	if (rc == ERR_OK && round == ROUNDS)
		rc = ERR_UNREACHABLE;
	if (rc == ERR_OK)
		*ret = mem_strdup(k.answer.data != NULL ? k.answer.data : "");
	tls_free(k.tls);
	buf_done(&k.answer);
	curl_global_cleanup();
	return rc;
}
