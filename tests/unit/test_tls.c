#include "core/base/tls.h"
#include "tests/unit/tls_fixture.h"

#include "core/base/str.h"

#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000

/* Two nodes of one cluster. */
struct pair {
	struct tls_ca ca;
	struct tls_host a, b;
	struct tls *ta, *tb;
};

static struct tls *open_tls(const struct tls_host *h)
{
	struct err e = ERR_INIT;
	struct tls *t = NULL;

	if (tls_open(&h->config, &t, &e) != ERR_OK)
		fail_msg("%s", e.text);
	return t;
}

static int setup(void **state)
{
	struct pair *p = mem_alloc(sizeof *p);
	struct tls_leaf a, b;

	p->ca = tls_ca(TLS_UUID);
	a = tls_leaf(&p->ca, PKI_NODE, "n1", TLS_UUID);
	b = tls_leaf(&p->ca, PKI_NODE, "n2", TLS_UUID);
	tls_host_init(&p->a, "n1");
	tls_host_init(&p->b, "n2");
	tls_host_give(&p->a, &p->ca, &a);
	tls_host_give(&p->b, &p->ca, &b);
	p->ta = open_tls(&p->a);
	p->tb = open_tls(&p->b);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	tls_free(p->ta);
	tls_free(p->tb);
	tls_host_done(&p->a);
	tls_host_done(&p->b);
	free(p);
	return 0;
}

static void assert_says(const char *text, const char *word)
{
	if (strstr(text, word) == NULL)
		fail_msg("the message does not say \"%s\": %s", word, text);
}

/* tls_open must fail and say `word`. */
static void assert_not_opened(const struct tls_host *h, int code, const char *word)
{
	struct err e = ERR_INIT;
	struct tls *t = NULL;

	assert_int_equal(tls_open(&h->config, &t, &e), code);
	assert_null(t);
	assert_int_equal(e.code, code);
	assert_says(e.text, word);
}

/* Until tls_refresh returns something else than `number`. */
static unsigned wait_refreshed(struct tls *t, unsigned number)
{
	struct timespec pause = {0, 50 * 1000 * 1000};

	for (int i = 0; i < WAIT_MS / 50; i++) {
		if (tls_refresh(t) != number)
			return tls_refresh(t);
		nanosleep(&pause, NULL);
	}
	fail_msg("the files were not looked at again");
	return number;
}

static bool shake(struct tls_talk *k, struct tls *client, struct tls *server)
{
	return tls_shake(k, tls_new_client(client), tls_new_server(server, TLS_CLIENTS_REQUIRED));
}

/* --- who gets in --- */

static void two_nodes_of_a_cluster_know_each_other(void **state)
{
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct pki_info info;
	struct tls_talk k;

	assert_true(shake(&k, p->ta, p->tb));
	assert_int_equal(SSL_version(k.client), TLS1_3_VERSION);
	assert_string_equal(SSL_get_cipher_name(k.client), "TLS_AES_128_GCM_SHA256");
	assert_int_equal(tls_peer(p->ta, k.client, "n2", &info, &e), ERR_OK);
	assert_string_equal(info.subject.name, "n2");
	assert_int_equal(info.subject.kind, PKI_NODE);
	assert_int_equal(tls_peer(p->tb, k.server, NULL, &info, &e), ERR_OK);
	assert_string_equal(info.subject.name, "n1");
	tls_talk_done(&k);
}

static void another_name_than_the_expected_is_refused_and_both_are_named(void **state)
{
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct pki_info info = {.serial = "untouched"};
	struct tls_talk k;

	assert_true(shake(&k, p->ta, p->tb));
	assert_int_equal(tls_peer(p->ta, k.client, "n3", &info, &e), ERR_REFUSED);
	assert_says(e.text, "\"n3\"");
	assert_says(e.text, "\"n2\"");
	assert_string_equal(info.serial, "untouched");
	tls_talk_done(&k);
}

/* A client that checks nothing and shows what it is given. The server must refuse and say `word`. */
static void assert_client_refused(struct tls *server, const struct tls_leaf *leaf, const char *word)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *cert_text = BIO_new_mem_buf(leaf->cert, -1), *key_text = BIO_new_mem_buf(leaf->key, -1);
	X509 *cert = PEM_read_bio_X509(cert_text, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_text, NULL, NULL, NULL);
	SSL *client = SSL_new(ctx);
	struct tls_talk k;

	SSL_set_connect_state(client);
	assert_int_equal(SSL_use_cert_and_key(client, cert, key, NULL, 1), 1);
	assert_false(tls_shake(&k, client, tls_new_server(server, TLS_CLIENTS_REQUIRED)));
	assert_says(k.server_error, word);
	assert_says(k.client_error, "the other end refused");
	tls_talk_done(&k);
	SSL_CTX_free(ctx);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_text);
	BIO_free(key_text);
}

static void certificates_that_do_not_count_are_refused_in_the_handshake(void **state)
{
	struct pair *p = *state;
	struct tls_ca other = tls_ca(TLS_UUID);
	struct tls_leaf wrong_ca = tls_leaf(&other, PKI_NODE, "n1", TLS_UUID);
	struct tls_leaf wrong_uuid = tls_leaf(&p->ca, PKI_NODE, "n1", TLS_UUID2);
	struct tls_leaf expired = tls_leaf_at(&p->ca, "n1", tls_now_s() - 10 * TLS_DAY_S, TLS_DAY_S);
	struct tls_leaf early = tls_leaf_at(&p->ca, "n1", tls_now_s() + 10 * TLS_DAY_S, TLS_DAY_S);
	struct tls_leaf self_made = tls_foreign(NULL, "n1", NULL, false);
	struct tls_leaf good = tls_leaf(&p->ca, PKI_NODE, "n1", TLS_UUID), forged;
	struct tls_ca impostor = {good.cert, good.key};
	struct tls_leaf ca_itself = {p->ca.cert, p->ca.key};

	forged = tls_leaf(&impostor, PKI_NODE, "n2", TLS_UUID);
	assert_client_refused(p->tb, &wrong_ca, "not accepted");
	assert_client_refused(p->tb, &wrong_uuid, "not of this cluster");
	assert_client_refused(p->tb, &expired, "expired");
	assert_client_refused(p->tb, &early, "not yet valid");
	assert_client_refused(p->tb, &self_made, "not accepted");
	assert_client_refused(p->tb, &forged, "not accepted");
	assert_client_refused(p->tb, &ca_itself, "not accepted");
}

static void a_client_refuses_a_server_of_another_ca(void **state)
{
	struct pair *p = *state;
	struct tls_ca other = tls_ca(TLS_UUID);
	struct tls_leaf leaf = tls_leaf(&other, PKI_NODE, "n3", TLS_UUID);
	struct tls_host h;
	struct tls *t;
	struct tls_talk k;

	tls_host_init(&h, "n3");
	tls_host_give(&h, &other, &leaf);
	t = open_tls(&h);
	assert_false(shake(&k, p->ta, t));
	assert_says(k.client_error, "not accepted");
	tls_talk_done(&k);
	tls_free(t);
	tls_host_done(&h);
}

static bool shake_without_certificate(struct tls_talk *k, struct tls *server, enum tls_clients clients)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *client = SSL_new(ctx);

	SSL_CTX_free(ctx);
	SSL_set_connect_state(client);
	return tls_shake(k, client, tls_new_server(server, clients));
}

static void without_a_certificate_only_where_it_is_optional(void **state)
{
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct pki_info info;
	struct tls_talk k;

	assert_false(shake_without_certificate(&k, p->tb, TLS_CLIENTS_REQUIRED));
	assert_says(k.server_error, "did not return a certificate");
	tls_talk_done(&k);
	assert_true(shake_without_certificate(&k, p->tb, TLS_CLIENTS_OPTIONAL));
	assert_int_equal(tls_peer(p->tb, k.server, NULL, &info, &e), ERR_REFUSED);
	assert_says(e.text, "no certificate");
	tls_talk_done(&k);
}

static void tls_1_2_is_not_spoken(void **state)
{
	struct pair *p = *state;
	SSL *client = tls_new_client(p->ta);
	struct tls_talk k;

	SSL_set_min_proto_version(client, TLS1_2_VERSION);
	SSL_set_max_proto_version(client, TLS1_2_VERSION);
	assert_false(tls_shake(&k, client, tls_new_server(p->tb, TLS_CLIENTS_REQUIRED)));
	tls_talk_done(&k);
}

static void an_administrator_does_not_pass_for_a_node_of_the_same_name(void **state)
{
	struct pair *p = *state;
	struct tls_leaf leaf = tls_leaf(&p->ca, PKI_ADMIN, "n1", TLS_UUID);
	SSL *client = tls_new_client(p->ta);
	BIO *cert_text = BIO_new_mem_buf(leaf.cert, -1), *key_text = BIO_new_mem_buf(leaf.key, -1);
	X509 *cert = PEM_read_bio_X509(cert_text, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_text, NULL, NULL, NULL);
	struct err e = ERR_INIT;
	struct pki_info info;
	struct tls_talk k;

	SSL_set_cert_cb(client, NULL, NULL);
	assert_int_equal(SSL_use_cert_and_key(client, cert, key, NULL, 1), 1);
	assert_true(tls_shake(&k, client, tls_new_server(p->tb, TLS_CLIENTS_REQUIRED)));
	assert_int_equal(tls_peer(p->tb, k.server, NULL, &info, &e), ERR_OK);
	assert_int_equal(info.subject.kind, PKI_ADMIN);
	assert_int_equal(tls_peer(p->tb, k.server, "n1", &info, &e), ERR_REFUSED);
	assert_says(e.text, "administrator");
	tls_talk_done(&k);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_text);
	BIO_free(key_text);
}

/* --- rotation and revocation --- */

static void a_rotated_certificate_is_shown_by_a_context_that_lives(void **state)
{
	struct pair *p = *state;
	SSL_CTX *foreign = SSL_CTX_new(TLS_server_method()); /* as libwebsockets makes one */
	struct tls_leaf next = tls_leaf(&p->ca, PKI_NODE, "n2", TLS_UUID);
	struct err e = ERR_INIT;
	struct pki_info before, after, own;
	struct tls_talk k;
	SSL *server;

	assert_int_equal(tls_setup_server(p->tb, foreign, TLS_CLIENTS_REQUIRED, &e), ERR_OK);
	for (int i = 0; i < 2; i++) {
		server = SSL_new(foreign);
		SSL_set_accept_state(server);
		assert_true(tls_shake(&k, tls_new_client(p->ta), server));
		assert_int_equal(tls_peer(p->ta, k.client, "n2", i == 0 ? &before : &after, &e), ERR_OK);
		tls_talk_done(&k);
		if (i == 0) {
			unsigned number = tls_refresh(p->tb);

			tls_host_give(&p->b, &p->ca, &next);
			wait_refreshed(p->tb, number);
		}
	}
	assert_string_not_equal(before.serial, after.serial);
	tls_own(p->tb, &own);
	assert_string_equal(own.serial, after.serial);
	SSL_CTX_free(foreign);
}

/* While the CA changes both are trusted; then the old one is not, by a context that has lived all along. */
static void a_rotated_ca_is_followed(void **state)
{
	struct pair *p = *state;
	struct tls_ca next = tls_ca(TLS_UUID);
	struct tls_leaf b = tls_leaf(&next, PKI_NODE, "n2", TLS_UUID), a = tls_leaf(&next, PKI_NODE, "n1", TLS_UUID);
	unsigned number = tls_refresh(p->ta), number_b = tls_refresh(p->tb);
	struct buf both = {0};
	struct tls_talk k;

	buf_printf(&both, "%s%s", p->ca.cert, next.cert);
	tls_host_write(&p->a, "ca.pem", both.data, 0644);
	tls_host_write(&p->b, "ca.pem", both.data, 0644);
	number = wait_refreshed(p->ta, number);
	number_b = wait_refreshed(p->tb, number_b);
	tls_host_give(&p->b, &next, &b); /* n2 has changed over, n1 has not */
	number_b = wait_refreshed(p->tb, number_b);
	assert_false(shake(&k, p->ta, p->tb));
	assert_says(k.server_error, "not accepted");
	tls_talk_done(&k);
	tls_host_give(&p->a, &next, &a);
	(void)wait_refreshed(p->ta, number);
	assert_true(shake(&k, p->ta, p->tb));
	tls_talk_done(&k);
	buf_done(&both);
}

static void a_revoked_certificate_is_refused_also_on_an_open_connection(void **state)
{
	struct pair *p = *state;
	unsigned number = tls_refresh(p->tb);
	struct err e = ERR_INIT;
	struct pki_info info;
	struct tls_talk open, k;
	struct buf lines = {0};

	assert_true(shake(&open, p->ta, p->tb));
	assert_int_equal(tls_peer(p->tb, open.server, "n1", &info, &e), ERR_OK);
	assert_false(tls_is_revoked(p->tb, info.serial));
	buf_printf(&lines, "ffffffff\n%s\n00aa\n", info.serial);
	tls_host_write(&p->b, "revoked", lines.data, 0644);
	wait_refreshed(p->tb, number);
	assert_true(tls_is_revoked(p->tb, info.serial));
	assert_int_equal(tls_peer(p->tb, open.server, "n1", &info, &e), ERR_REFUSED);
	assert_says(e.text, "revoked");
	assert_false(shake(&k, p->ta, p->tb));
	assert_says(k.server_error, "revoked");
	tls_talk_done(&k);
	tls_talk_done(&open);
	buf_done(&lines);
}

/* And what is revoked counts all the same. */
static void files_that_do_not_fit_leave_the_old_ones_in_use(void **state)
{
	struct pair *p = *state;
	struct tls_leaf other = tls_leaf(&p->ca, PKI_NODE, "n2", TLS_UUID);
	unsigned number = tls_refresh(p->tb);
	struct tls_talk k;

	tls_host_write(&p->b, "node.key", other.key, 0600);
	tls_host_write(&p->b, "revoked", "00aa\n", 0644);
	wait_refreshed(p->tb, number);
	assert_true(tls_is_revoked(p->tb, "00aa"));
	assert_true(shake(&k, p->ta, p->tb));
	tls_talk_done(&k);
}

/* --- what tls_open refuses --- */

static void files_are_named_with_what_is_wrong(void **state)
{
	struct pair *p = *state;
	struct tls_leaf good = tls_leaf(&p->ca, PKI_NODE, "n1", TLS_UUID), n3 = tls_leaf(&p->ca, PKI_NODE, "n3", TLS_UUID);
	struct tls_leaf admin = tls_leaf(&p->ca, PKI_ADMIN, "n1", TLS_UUID), foreign = tls_foreign(NULL, "n1", NULL, false);
	struct tls_leaf expired = tls_leaf_at(&p->ca, "n1", tls_now_s() - 10 * TLS_DAY_S, TLS_DAY_S);
	struct tls_ca other = tls_ca(TLS_UUID);
	const struct tls_host *h = &p->a;

	tls_host_give(h, &p->ca, &n3);
	assert_not_opened(h, ERR_INVAL, "\"n3\"");
	tls_host_give(h, &p->ca, &admin);
	assert_not_opened(h, ERR_INVAL, "administrator");
	tls_host_give(h, &p->ca, &expired);
	assert_not_opened(h, ERR_INVAL, "expired on");
	tls_host_give(h, &p->ca, &foreign);
	assert_not_opened(h, ERR_INVAL, "mode: files");
	tls_host_give(h, &other, &good);
	assert_not_opened(h, ERR_INVAL, "not signed by the CA");
	tls_host_give(h, &p->ca, &good);
	tls_host_write(h, "node.key", n3.key, 0600);
	assert_not_opened(h, ERR_INVAL, "node.key: this key does not belong");
	tls_host_write(h, "node.pem", "no PEM", 0644);
	assert_not_opened(h, ERR_INVAL, "node.pem: it is not a PEM certificate");
}

static void a_key_that_others_can_read_is_refused_with_the_chmod(void **state)
{
	struct pair *p = *state;
	struct tls_leaf good = tls_leaf(&p->ca, PKI_NODE, "n1", TLS_UUID);

	tls_host_give(&p->a, &p->ca, &good);
	tls_host_write(&p->a, "node.key", good.key, 0640);
	assert_not_opened(&p->a, ERR_INVAL, "chmod 600 ");
	assert_not_opened(&p->a, ERR_INVAL, "node.key");
	tls_host_write(&p->a, "node.key", good.key, 0602);
	assert_not_opened(&p->a, ERR_INVAL, "mode 0602");
}

static void missing_files_are_told_apart(void **state)
{
	struct pair *p = *state;
	struct tls_host h;

	tls_host_init(&h, "n5");
	assert_not_opened(&h, ERR_NOTFOUND, "mhad join");
	tls_host_write(&h, "node.pem", p->ca.cert, 0644);
	assert_not_opened(&h, ERR_INVAL, "node.key does not exist"); /* half a set is no fresh node */
	tls_host_done(&h);
}

static void a_list_of_revocations_that_cannot_be_read_is_not_taken_for_empty(void **state)
{
	struct pair *p = *state;

	tls_host_write(&p->a, "revoked", "00aa\nnot hexadecimal\n", 0644);
	assert_not_opened(&p->a, ERR_INVAL, "revoked");
}

/* --- the operator's own --- */

static void use_files(struct tls_host *h)
{
	char path[160];

	free(h->config.tls.mode);
	h->config.tls.mode = mem_strdup("files");
	snprintf(path, sizeof path, "%s/tls/ca.pem", h->dir);
	h->config.tls.ca = mem_strdup(path);
	snprintf(path, sizeof path, "%s/tls/node.pem", h->dir);
	h->config.tls.cert = mem_strdup(path);
	snprintf(path, sizeof path, "%s/tls/node.key", h->dir);
	h->config.tls.key = mem_strdup(path);
}

static struct tls *own_node(struct tls_host *h, const struct tls_leaf *root, const struct tls_leaf *inner, const char *name)
{
	struct tls_leaf leaf = tls_foreign(inner, name, NULL, false);
	struct tls_ca ca = {root->cert, root->key};
	struct buf chain = {0};
	struct tls *t;

	tls_host_init(h, name);
	use_files(h);
	tls_host_give(h, &ca, &leaf);
	buf_printf(&chain, "%s%s", leaf.cert, inner->cert);
	tls_host_write(h, "node.pem", chain.data, 0644);
	t = open_tls(h);
	buf_done(&chain);
	return t;
}

static void an_operators_own_ca_with_a_chain_works_by_cn(void **state)
{
	struct tls_leaf root = tls_foreign(NULL, "Root", NULL, true), inner = tls_foreign(&root, "Servers", NULL, true);
	struct tls_host a, b;
	struct tls *ta = own_node(&a, &root, &inner, "n1"), *tb = own_node(&b, &root, &inner, "n2");
	struct err e = ERR_INIT;
	struct pki_info info;
	struct tls_talk k;

	(void)state;
	assert_true(shake(&k, ta, tb));
	assert_int_equal(tls_peer(ta, k.client, "n2", &info, &e), ERR_OK);
	assert_int_equal(info.subject.kind, PKI_NODE);
	assert_int_equal(tls_peer(ta, k.client, "n1", &info, &e), ERR_REFUSED);
	tls_talk_done(&k);
	unlink(a.config.tls.key);
	assert_not_opened(&a, ERR_INVAL, "node.key does not exist");
	tls_free(ta);
	tls_free(tb);
	tls_host_done(&a);
	tls_host_done(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(two_nodes_of_a_cluster_know_each_other),
	        TEST(another_name_than_the_expected_is_refused_and_both_are_named),
	        TEST(certificates_that_do_not_count_are_refused_in_the_handshake),
	        TEST(a_client_refuses_a_server_of_another_ca),
	        TEST(without_a_certificate_only_where_it_is_optional),
	        TEST(tls_1_2_is_not_spoken),
	        TEST(an_administrator_does_not_pass_for_a_node_of_the_same_name),
	        TEST(a_rotated_certificate_is_shown_by_a_context_that_lives),
	        TEST(a_rotated_ca_is_followed),
	        TEST(a_revoked_certificate_is_refused_also_on_an_open_connection),
	        TEST(files_that_do_not_fit_leave_the_old_ones_in_use),
	        TEST(files_are_named_with_what_is_wrong),
	        TEST(a_key_that_others_can_read_is_refused_with_the_chmod),
	        TEST(missing_files_are_told_apart),
	        TEST(a_list_of_revocations_that_cannot_be_read_is_not_taken_for_empty),
	        cmocka_unit_test(an_operators_own_ca_with_a_chain_works_by_cn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
