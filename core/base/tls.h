/* This node's credentials and the rules of every encrypted connection between nodes: TLS 1.3, both sides show a certificate of
 * the cluster's CA, names are checked, revoked certificates are refused. The files are looked at again at most once a second and
 * taken when they have changed, so that certificates rotate without a restart. Safe from several threads.
 *
 *   managed (default): <state_dir>/tls/{ca.pem,node.pem,node.key,revoked}, written by the control process
 *   files:             the operator's own, named under `tls` in node.yaml
 *   `revoked`: one serial (hexadecimal, lower case) a line; missing means none. Always <state_dir>/tls/revoked. */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "core/base/pki.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls;

enum tls_clients {
	TLS_CLIENTS_REQUIRED, /* the handshake fails without a client certificate */
	TLS_CLIENTS_OPTIONAL  /* join requests and browsers have none; whoever serves them asks tls_peer */
};

/* Read and check the files. *ret is returned: tls_free. ERR_NOTFOUND: there is no certificate yet (a node that has neither been
 * initialised nor joined). ERR_INVAL names the file and what is wrong: not PEM, key and certificate do not belong together, not
 * signed by the CA, expired, made for another node name than c->node. c is borrowed. */
int tls_open(const struct config *c, struct tls **ret, struct err *e) MUST_USE;
void tls_free(struct tls *t);

/* Has the configuration switched encryption off (mode: insecure-plaintext)? Then tls_open must not be called. */
bool tls_is_off(const struct config *c);

/* Look at the files now if the last look is more than a second ago. Returns a number that grows whenever something was taken
 * over, so that owners of open connections know when to check them again. Files that do not fit are logged once and the old
 * credentials stay. */
unsigned tls_refresh(struct tls *t);

/* Prepare a context made by somebody else (libwebsockets). Certificate, key, CA and revocation are looked up for each new
 * connection, so it stays current. */
int tls_setup_server(struct tls *t, SSL_CTX *ctx, enum tls_clients clients, struct err *e) MUST_USE;
int tls_setup_client(struct tls *t, SSL_CTX *ctx, struct err *e) MUST_USE;

/* A connection object with accept or connect state set and no BIO. Calls tls_refresh. Returned: SSL_free. NULL: no memory. */
SSL *tls_new_server(struct tls *t, enum tls_clients clients);
SSL *tls_new_client(struct tls *t);

/* Who is at the other end, after the handshake. expected: the node's name that must be there, NULL for anybody. ERR_REFUSED
 * says why: no certificate, of another cluster, revoked, or another name than expected (it names both). A certificate of the
 * operator's own CA speaks for its CN as a node. */
int tls_peer(struct tls *t, SSL *ssl, const char *expected, struct pki_info *ret, struct err *e) MUST_USE;

bool tls_is_revoked(struct tls *t, const char *serial);

/* This node's own certificate as now in use. */
void tls_own(struct tls *t, struct pki_info *ret);

/* The newest OpenSSL error of this thread as a sentence for a log line, queue cleared; buf of size bytes. Returns buf. */
const char *tls_error(SSL *ssl, int ssl_result, char *buf, size_t size);

#endif
