/* Keys and certificates as PEM text: what `cluster init`, joining and rotation make. OpenSSL; no files and no clock in here. */
#ifndef BASE_PKI_H
#define BASE_PKI_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PKI_PEM_MAX 16384 /* longer texts are refused */

enum pki_kind {
	PKI_OTHER, /* a certificate that this software did not make: its name is the CN */
	PKI_CA,
	PKI_NODE,
	PKI_ADMIN
};

/* Who a certificate speaks for. Written as CN and as the URI urn:mha4rdb:<uuid>:node:<name> (or :admin:<name>) among the subject
 * alternative names, beside DNS:<name> and, for a node, IP:<address>. */
struct pki_subject {
	enum pki_kind kind;
	char name[33];
	char uuid[40];    /* the cluster's; "" for PKI_OTHER */
	char address[48]; /* numeric; "" none */
};

struct pki_info {
	struct pki_subject subject;
	char serial[48];      /* hexadecimal, lower case */
	char fingerprint[65]; /* SHA-256 of the DER form, hexadecimal, lower case */
	int64_t not_before_s, not_after_s; /* since 1970 */
};

/* A key and a self-signed CA certificate (EC P-256). Texts are returned: free(). Errors: ERR_NOMEM, ERR_INVAL (uuid, cluster). */
int pki_ca_new(const char *cluster, const char *uuid, int64_t now_s, unsigned days, char **ret_cert, char **ret_key,
               struct err *e) MUST_USE;

/* A key (EC P-256) and a request for it. Texts are returned: free(). */
int pki_request_new(const char *name, char **ret_request, char **ret_key, struct err *e) MUST_USE;

/* A certificate for `subject`, whatever the request says about names: only its public key is taken, after its signature has been
 * checked. Valid from an hour before now_s (clocks differ) for `seconds` after it; for TLS servers and clients. The serial is
 * random (128 bits). *ret_cert is returned: free(). ERR_INVAL: the request is no PEM or its signature does not fit. */
int pki_sign(const char *ca_cert, const char *ca_key, const char *request, const struct pki_subject *subject, int64_t now_s,
             int64_t seconds, char **ret_cert, struct err *e) MUST_USE;

/* What the first certificate of a PEM text says. ERR_INVAL. */
int pki_describe(const char *cert, struct pki_info *ret, struct err *e) MUST_USE;

/* Does the private key belong to the certificate, and was that signed by the CA? ERR_INVAL says which of the two is wrong. */
int pki_check(const char *ca_cert, const char *cert, const char *key, struct err *e) MUST_USE;

#endif
