/* Certificates and requests for them, as hosts send them that are not known yet. Input: PEM; else DER, which is wrapped. What
 * is signed speaks for the subject it was asked for, whatever the request says. */
#include "core/base/pki.h"
#include "core/base/str.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/ui.h>
#include <string.h>

#define UUID  "6f1f9a0e-52a9-4d6b-9a40-0c5d3f1b2a77"
#define NOW_S INT64_C(1800000000)

static char *ca_cert, *ca_key;

/* OpenSSL would ask a person for a passphrase: there is none behind a daemon, and a stranger's text must not make it wait. */
static int ask_nobody(UI *ui)
{
	FUZZ_CHECK(ui == NULL); /* never: this is called to ask */
	return 0;
}

static void init(void)
{
	struct err e = ERR_INIT;
	UI_METHOD *m;

	if (ca_cert != NULL)
		return;
	m = UI_create_method("nobody");
	UI_method_set_opener(m, ask_nobody);
	UI_set_default_method(m);
	FUZZ_CHECK(pki_ca_new("lab", UUID, NOW_S, 3650, &ca_cert, &ca_key, &e) == ERR_OK);
}

/* The bytes as a PEM text of this kind. Returned: free(). */
static char *wrap(const char *kind, const uint8_t *data, size_t size)
{
	unsigned char *base64 = malloc(size * 2 + 80);
	struct buf b = {0};
	int len;

	if (base64 == NULL)
		abort();
	len = EVP_EncodeBlock(base64, data, (int)size);
	buf_printf(&b, "-----BEGIN %s-----\n", kind);
	for (int at = 0; at < len; at += 64)
		buf_printf(&b, "%.64s\n", (char *)base64 + at);
	buf_printf(&b, "-----END %s-----\n", kind);
	free(base64);
	return b.data;
}

static void check_subject(const struct pki_subject *s)
{
	FUZZ_CHECK((s->name[0] != '\0' || s->kind == PKI_CA) && memchr(s->name, '\0', sizeof s->name) != NULL);
	FUZZ_CHECK(memchr(s->address, '\0', sizeof s->address) != NULL);
	if (s->kind == PKI_NODE)
		FUZZ_CHECK(s->uuid[0] == '\0' || str_is_name(s->name));
}

static void take_cert(const char *pem)
{
	struct pki_info info;
	struct err e = ERR_INIT;

	if (pki_describe(pem, &info, &e) == ERR_OK)
		check_subject(&info.subject);
	else
		FUZZ_CHECK(e.text[0] != '\0');
	(void)!pki_check(ca_cert, pem, ca_key, &e);
	(void)!pki_check(pem, ca_cert, ca_key, &e);
	(void)!pki_check(ca_cert, ca_cert, pem, &e);
}

static void take_request(const char *pem)
{
	static const struct pki_subject subject = {PKI_NODE, "n2", UUID, "10.77.0.12"};
	struct pki_info info;
	struct err e = ERR_INIT;
	char *cert = NULL;

	if (pki_sign(ca_cert, ca_key, pem, &subject, NOW_S, 86400, &cert, &e) != ERR_OK) {
		FUZZ_CHECK(cert == NULL && e.text[0] != '\0');
		return;
	}
	FUZZ_CHECK(pki_describe(cert, &info, &e) == ERR_OK);
	FUZZ_CHECK(info.subject.kind == PKI_NODE && strcmp(info.subject.name, "n2") == 0);
	FUZZ_CHECK(strcmp(info.subject.uuid, UUID) == 0 && strcmp(info.subject.address, "10.77.0.12") == 0);
	FUZZ_CHECK(info.not_after_s == NOW_S + 86400);
	free(cert);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	init();
	if (size > 0 && data[0] == '-') {
		text = fuzz_text(data, size);
		take_cert(text);
		take_request(text);
		free(text);
		return 0;
	}
	text = wrap("CERTIFICATE", data, size);
	take_cert(text);
	free(text);
	text = wrap("CERTIFICATE REQUEST", data, size);
	take_request(text);
	free(text);
	return 0;
}
