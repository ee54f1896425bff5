#include "core/base/pki.h"
#include "tests/unit/tls_fixture.h"

#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_says(const struct err *e, const char *word)
{
	if (strstr(e->text, word) == NULL)
		fail_msg("the message does not say \"%s\": %s", word, e->text);
}

static struct pki_info describe(const char *cert)
{
	struct err e = ERR_INIT;
	struct pki_info info;

	if (pki_describe(cert, &info, &e) != ERR_OK)
		fail_msg("%s", e.text);
	return info;
}

static void a_node_certificate_says_who_where_and_of_which_cluster(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct tls_leaf l = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID);
	struct pki_info info = describe(l.cert);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(info.subject.kind, PKI_NODE);
	assert_string_equal(info.subject.name, "n1");
	assert_string_equal(info.subject.uuid, TLS_UUID);
	assert_string_equal(info.subject.address, "127.0.0.1");
	assert_int_equal(strlen(info.serial), 32);
	assert_int_equal(strspn(info.serial, "0123456789abcdef"), 32);
	assert_int_equal(strspn(info.fingerprint, "0123456789abcdef"), 64);
	assert_true(info.not_before_s <= tls_now_s() - 3599);
	assert_true(info.not_after_s >= tls_now_s() + TLS_DAY_S - 60);
	assert_int_equal(pki_check(ca.cert, l.cert, l.key, &e), ERR_OK);
}

static void a_ca_says_which_cluster_it_is_of(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct pki_info info = describe(ca.cert);

	(void)state;
	assert_int_equal(info.subject.kind, PKI_CA);
	assert_string_equal(info.subject.name, "lab");
	assert_string_equal(info.subject.uuid, TLS_UUID);
}

static void an_administrator_is_no_node(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct tls_leaf l = tls_leaf(&ca, PKI_ADMIN, "n1", TLS_UUID);

	(void)state;
	assert_int_equal(describe(l.cert).subject.kind, PKI_ADMIN);
	assert_string_equal(describe(l.cert).subject.address, "");
}

static void serial_numbers_differ(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct tls_leaf a = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID), b = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID);

	(void)state;
	assert_string_not_equal(describe(a.cert).serial, describe(b.cert).serial);
}

/* The request says "root"; the certificate says what the caller decided. */
static void names_come_from_the_caller_not_from_the_request(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct pki_subject s = {.kind = PKI_NODE, .name = "n7", .uuid = TLS_UUID};
	struct err e = ERR_INIT;
	char *request = NULL, *key = NULL, *cert = NULL;

	(void)state;
	assert_int_equal(pki_request_new("root", &request, &key, &e), ERR_OK);
	assert_int_equal(pki_sign(ca.cert, ca.key, request, &s, tls_now_s(), 60, &cert, &e), ERR_OK);
	assert_string_equal(describe(cert).subject.name, "n7");
	free(request);
	free(key);
	free(cert);
}

static void a_request_whose_signature_does_not_fit_is_refused(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct pki_subject s = {.kind = PKI_NODE, .name = "n7", .uuid = TLS_UUID};
	struct err e = ERR_INIT;
	char *request = NULL, *key = NULL, *cert = NULL, *line;

	(void)state;
	assert_int_equal(pki_request_new("n7", &request, &key, &e), ERR_OK);
	line = strstr(request, "-----END") - 8; /* within the signature */
	*line = *line == 'A' ? 'B' : 'A';
	assert_int_equal(pki_sign(ca.cert, ca.key, request, &s, tls_now_s(), 60, &cert, &e), ERR_INVAL);
	assert_null(cert);
	assert_int_equal(pki_sign(ca.cert, ca.key, "nonsense", &s, tls_now_s(), 60, &cert, &e), ERR_INVAL);
	assert_says(&e, "not PEM");
	free(request);
	free(key);
}

static void a_certificate_never_outlives_its_ca(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct tls_leaf l = tls_leaf_at(&ca, "n1", tls_now_s(), 3650 * TLS_DAY_S * 2);

	(void)state;
	assert_int_equal(describe(l.cert).not_after_s, describe(ca.cert).not_after_s);
}

static void an_expired_ca_signs_nothing(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct pki_subject s = {.kind = PKI_NODE, .name = "n1", .uuid = TLS_UUID};
	struct err e = ERR_INIT;
	char *request = NULL, *key = NULL, *cert = NULL;

	(void)state;
	assert_int_equal(pki_request_new("n1", &request, &key, &e), ERR_OK);
	assert_int_equal(pki_sign(ca.cert, ca.key, request, &s, tls_now_s() + 3651 * TLS_DAY_S, 60, &cert, &e), ERR_INVAL);
	assert_says(&e, "expired");
	free(request);
	free(key);
}

static void subjects_that_nobody_could_hold_are_refused(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct pki_subject bad[] = {
	        {.kind = PKI_NODE, .name = "n1,DNS:other", .uuid = TLS_UUID},
	        {.kind = PKI_NODE, .name = "", .uuid = TLS_UUID},
	        {.kind = PKI_NODE, .name = "n1", .uuid = "x"},
	        {.kind = PKI_NODE, .name = "n1", .uuid = TLS_UUID, .address = "host,DNS:other"},
	        {.kind = PKI_CA, .name = "n1", .uuid = TLS_UUID},
	        {.kind = PKI_OTHER, .name = "n1", .uuid = TLS_UUID},
	};
	struct err e = ERR_INIT;
	char *request = NULL, *key = NULL, *cert = NULL;

	(void)state;
	assert_int_equal(pki_request_new("n1", &request, &key, &e), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(pki_sign(ca.cert, ca.key, request, &bad[i], tls_now_s(), 60, &cert, &e), ERR_INVAL);
	assert_null(cert);
	free(request);
	free(key);
}

static void a_ca_needs_a_uuid_and_a_name(void **state)
{
	struct err e = ERR_INIT;
	char *cert = NULL, *key = NULL;

	(void)state;
	assert_int_equal(pki_ca_new("lab", "not-a-uuid", tls_now_s(), 1, &cert, &key, &e), ERR_INVAL);
	assert_int_equal(pki_ca_new("Lab,URI:x", TLS_UUID, tls_now_s(), 1, &cert, &key, &e), ERR_INVAL);
	assert_null(cert);
}

static void what_does_not_belong_together_is_told_apart(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID), other = tls_ca(TLS_UUID);
	struct tls_leaf a = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID), b = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(pki_check(ca.cert, a.cert, b.key, &e), ERR_INVAL);
	assert_says(&e, "private key does not belong");
	assert_int_equal(pki_check(other.cert, a.cert, a.key, &e), ERR_INVAL);
	assert_says(&e, "not signed by the CA");
	assert_int_equal(pki_check("", a.cert, a.key, &e), ERR_INVAL);
	assert_says(&e, "CA");
	assert_int_equal(pki_check(ca.cert, a.cert, a.cert, &e), ERR_INVAL);
	assert_says(&e, "private key");
}

/* Its own key, its own certificate: but the CA did not say that it may sign. */
static void a_node_cannot_sign_for_others(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID), impostor;
	struct tls_leaf n1 = tls_leaf(&ca, PKI_NODE, "n1", TLS_UUID), forged;
	struct err e = ERR_INIT;
	struct buf chain = {0};

	(void)state;
	impostor.cert = n1.cert;
	impostor.key = n1.key;
	forged = tls_leaf(&impostor, PKI_NODE, "n2", TLS_UUID);
	buf_printf(&chain, "%s%s", forged.cert, n1.cert);
	assert_int_equal(pki_check(ca.cert, chain.data, forged.key, &e), ERR_INVAL);
	buf_done(&chain);
}

static void certificates_of_others_speak_by_cn_and_ou(void **state)
{
	struct tls_leaf ca = tls_foreign(NULL, "Example Corporation Root CA of the Second Generation", NULL, true);
	struct tls_leaf inner = tls_foreign(&ca, "Servers", NULL, true);
	struct tls_leaf node = tls_foreign(&inner, "n1", NULL, false),
	                admin = tls_foreign(&inner, "ann", "mha4rdb-admin", false);
	struct tls_leaf nearly = tls_foreign(&inner, "bob", "mha4rdb-administrators", false);
	struct err e = ERR_INIT;
	struct buf chain = {0};

	(void)state;
	assert_int_equal(describe(ca.cert).subject.kind, PKI_CA);
	assert_int_equal(describe(node.cert).subject.kind, PKI_OTHER);
	assert_string_equal(describe(node.cert).subject.name, "n1");
	assert_string_equal(describe(node.cert).subject.uuid, "");
	assert_int_equal(describe(admin.cert).subject.kind, PKI_ADMIN);
	assert_int_equal(describe(nearly.cert).subject.kind, PKI_OTHER);
	assert_int_equal(pki_check(ca.cert, node.cert, node.key, &e), ERR_INVAL); /* without the one between */
	buf_printf(&chain, "%s%s", node.cert, inner.cert);
	assert_int_equal(pki_check(ca.cert, chain.data, node.key, &e), ERR_OK);
	assert_int_equal(pki_check(inner.cert, node.cert, node.key, &e), ERR_OK);
	buf_done(&chain);
}

static void a_name_that_does_not_fit_is_no_name(void **state)
{
	struct tls_leaf l = tls_foreign(NULL, "a-name-of-more-than-thirty-two-characters", NULL, false);
	struct tls_leaf none = tls_foreign(NULL, NULL, NULL, false);
	struct err e = ERR_INIT;
	struct pki_info info;

	(void)state;
	assert_int_equal(pki_describe(l.cert, &info, &e), ERR_INVAL);
	assert_says(&e, "CN");
	assert_int_equal(pki_describe(none.cert, &info, &e), ERR_INVAL);
}

static void too_long_a_text_is_refused(void **state)
{
	struct tls_ca ca = tls_ca(TLS_UUID);
	struct err e = ERR_INIT;
	struct pki_info info;
	struct buf text = {0};

	(void)state;
	while (text.len <= PKI_PEM_MAX)
		buf_puts(&text, ca.cert);
	assert_int_equal(pki_describe(text.data, &info, &e), ERR_INVAL);
	assert_says(&e, "longer");
	assert_int_equal(pki_describe("", &info, &e), ERR_INVAL);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_node_certificate_says_who_where_and_of_which_cluster),
	        cmocka_unit_test(a_ca_says_which_cluster_it_is_of),
	        cmocka_unit_test(an_administrator_is_no_node),
	        cmocka_unit_test(serial_numbers_differ),
	        cmocka_unit_test(names_come_from_the_caller_not_from_the_request),
	        cmocka_unit_test(a_request_whose_signature_does_not_fit_is_refused),
	        cmocka_unit_test(a_certificate_never_outlives_its_ca),
	        cmocka_unit_test(an_expired_ca_signs_nothing),
	        cmocka_unit_test(subjects_that_nobody_could_hold_are_refused),
	        cmocka_unit_test(a_ca_needs_a_uuid_and_a_name),
	        cmocka_unit_test(what_does_not_belong_together_is_told_apart),
	        cmocka_unit_test(a_node_cannot_sign_for_others),
	        cmocka_unit_test(certificates_of_others_speak_by_cn_and_ou),
	        cmocka_unit_test(a_name_that_does_not_fit_is_no_name),
	        cmocka_unit_test(too_long_a_text_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
