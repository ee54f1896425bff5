/* One reading of the files that core/base/tls.h names. Never changed once made, so that connections share it by a count. */
#ifndef BASE_TLS_CREDS_H
#define BASE_TLS_CREDS_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "core/base/pki.h"

#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CREDS_CA, CREDS_CERT, CREDS_KEY, CREDS_REVOKED, CREDS_FILES };

/* Two equal stamps: nobody has touched the files in between. */
struct creds_stamp {
	struct {
		uint64_t device, inode;
		int64_t size_bytes, changed_ns;
	} files[CREDS_FILES];
};

struct creds {
	atomic_uint refs;
	bool is_managed;
	STACK_OF(X509) * ca;
	STACK_OF(X509) * chain; /* what is sent after the certificate */
	X509 *cert;
	EVP_PKEY *key;
	struct pki_info own;
	char (*revoked)[48]; /* sorted */
	size_t revoked_count;
};

/* Where the files are; buf must hold 256 bytes. Returns buf. */
char *creds_path(const struct config *c, int file, char *buf);

void creds_look(const struct config *c, struct creds_stamp *ret); /* missing files are all zero */

/* Errors as tls_open. *ret is returned with one reference: creds_unref. */
int creds_load(const struct config *c, struct creds **ret, struct err *e) MUST_USE;

/* The same certificates with `revoked` read again: it counts also while the other files do not fit each other. */
int creds_reload_revoked(const struct config *c, const struct creds *old, struct creds **ret, struct err *e) MUST_USE;
struct creds *creds_ref(struct creds *k);
void creds_unref(struct creds *k); /* NULL is fine */

bool creds_is_revoked(const struct creds *k, const char *serial);

#endif
