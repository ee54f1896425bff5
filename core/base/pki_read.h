/* What pki.c and tls.c share: OpenSSL's objects behind the PEM texts. */
#ifndef BASE_PKI_READ_H
#define BASE_PKI_READ_H

#include "core/base/err.h"
#include "core/base/pki.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#define PKI_URN "urn:mha4rdb:"
#define PKI_ADMIN_UNIT                                                                                                         \
	"mha4rdb-admin" /* the OU that makes an administrator of a certificate that this software did not make                 \
	                 */

/* All certificates of a text, at least one. Returned: sk_X509_pop_free(.., X509_free). ERR_INVAL. */
int pki_read_certs(const char *pem, STACK_OF(X509) * *ret, struct err *e) MUST_USE;

/* A private key without a passphrase. Returned: EVP_PKEY_free. ERR_INVAL. */
int pki_read_key(const char *pem, EVP_PKEY **ret, struct err *e) MUST_USE;

/* ERR_INVAL: a name that this software cannot hold, or an URI of its own kind that is not well formed. */
int pki_describe_x509(X509 *x, struct pki_info *ret, struct err *e) MUST_USE;

/* Is certs[0] signed, over the rest of `certs` where needed, by one of `ca`? Times do not count. */
int pki_check_chain(STACK_OF(X509) * ca, STACK_OF(X509) * certs, struct err *e) MUST_USE;

/* For every PEM_read_...: nobody is there to type a passphrase, and OpenSSL's own way is to ask on the terminal, whoever sent
 * the text. Refuses. */
int pki_no_passphrase(char *buf, int size, int is_write, void *arg);

/* The newest OpenSSL error of this thread in words; its queue is emptied. Borrowed, static. */
const char *pki_reason(void);

#endif
