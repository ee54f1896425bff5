/* Certificates in the control process. Each node renews its own when a third of its life is left (trust.c); the controller
 * signs and records (trust_issue.c). The CA's key never leaves the store and the controller's memory. */
#ifndef RUN_TRUST_H
#define RUN_TRUST_H

#include "core/base/err.h"
#include "core/base/pki.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control;
struct trust;

#define TRUST_LIFETIME_POLICY    "cert_lifetime_s" /* of certificates issued from now on */
#define TRUST_LIFETIME_DEFAULT_S (365LL * 86400)
#define TRUST_LIFETIME_MIN_S     10LL
#define TRUST_LIFETIME_MAX_S     (3650LL * 86400)

struct trust *trust_new(struct control *c);
void trust_free(struct trust *t);
void trust_tick(struct control *c);

/* Has this cluster a CA of its own? */
bool trust_is_managed(const struct control *c);

/* A frame from a linked node; false: none of ours. */
bool trust_frame(struct control *c, int node, const char *json, size_t len);

/* Have a node renew its certificate now; false: it cannot be reached. Controller only. */
bool trust_ask_to_rotate(struct control *c, int node);

/* This node's certificate as last read. Borrowed; NULL: none. */
const struct pki_info *trust_own(const struct control *c);
bool trust_ca(const struct control *c, struct pki_info *ret); /* false: not read yet, or there is none */

/* --- signing, on the controller --- */

struct trust_issue {
	struct pki_subject subject; /* without uuid */
	const char *request;        /* PEM; NULL: nothing is signed, the rest is recorded all the same */
	int64_t seconds;            /* valid for; 0: by the policy */
	const char *guard;          /* SQL condition that must hold in the transaction; NULL: none */
	const char *sql;            /* statements of the same transaction, each ended by ";"; NULL: none */
	const char *event;          /* what the event table says; the serial is added */
	const char *select;         /* the transaction's last statement, one row of one column; NULL: none */
};

struct trust_issued {
	const char *cert, *ca, *uuid; /* PEM; "" without a request */
	const char *result;           /* of select; "" */
	struct pki_info info;
};

/* issued is NULL unless e->code is ERR_OK. ERR_REFUSED: guard or generation do not hold (any more); ERR_AMBIGUOUS: it may have
 * been recorded. Everything is borrowed for the call. */
typedef void (*trust_issued_cb)(void *arg, const struct err *e, const struct trust_issued *issued);

/* cb comes exactly once, on a later turn of the loop. The strings of issue are copied. */
void trust_issue(struct control *c, const struct trust_issue *issue, trust_issued_cb cb, void *arg);

/* INSERT of one certificate row. */
struct buf;
void trust_certificate_row(struct buf *b, const struct pki_info *info);

/* An event row of this generation. severity: "info", "warning", "critical". */
void trust_event_row(struct control *c, struct buf *b, const char *severity, const char *text);

#endif
