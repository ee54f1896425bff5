/* What the tests of certificates share: a CA, nodes with a directory each, and two ends of a connection without a network. */
#ifndef TESTS_TLS_FIXTURE_H
#define TESTS_TLS_FIXTURE_H

#include "core/base/config.h"
#include "core/base/pki.h"
#include "core/base/tls.h"

#include <stdbool.h>
#include <stdint.h>

#define TLS_UUID  "0b9bd0a1-2b3c-4d5e-8f90-0123456789ab"
#define TLS_UUID2 "1c9bd0a1-2b3c-4d5e-8f90-0123456789ab"
#define TLS_DAY_S INT64_C(86400)

struct tls_ca {
	char *cert, *key;
};

struct tls_leaf {
	char *cert, *key;
};

int64_t tls_now_s(void);

/* CAs and certificates of this software's making; they live until the test program ends. */
struct tls_ca tls_ca(const char *uuid);
struct tls_leaf tls_leaf(const struct tls_ca *ca, enum pki_kind kind, const char *name, const char *uuid);
struct tls_leaf tls_leaf_at(const struct tls_ca *ca, const char *name, int64_t now_s, int64_t seconds);

/* A certificate as another CA's software would make it: CN and OU (may be NULL) only; an own CA when `issuer` is NULL. */
struct tls_leaf tls_foreign(const struct tls_leaf *issuer, const char *cn, const char *ou, bool is_ca);

/* A node's directory (made under /tmp) and configuration, mode managed. */
struct tls_host {
	char dir[64];
	struct config config;
};
void tls_host_init(struct tls_host *h, const char *name);
void tls_host_done(struct tls_host *h);                                                           /* the directory too */
void tls_host_write(const struct tls_host *h, const char *file, const char *text, unsigned mode); /* under tls/, atomically */
void tls_host_give(const struct tls_host *h, const struct tls_ca *ca, const struct tls_leaf *leaf);

/* A handshake in memory. Returns whether both ends finished it; *ret_client, *ret_server: tls_error's words or "". */
struct tls_talk {
	SSL *client, *server;
	char client_error[200], server_error[200];
};
bool tls_shake(struct tls_talk *k, SSL *client, SSL *server); /* takes both */
void tls_talk_done(struct tls_talk *k);

#endif
