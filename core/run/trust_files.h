/* <state_dir>/tls: this node's key, its certificate and the CA's, as core/base/tls.h reads them. Written by the control
 * process, and by `mhad join` before it runs. Every file is 0600, belongs to whom the directory belongs, and is there whole or
 * not. */
#ifndef RUN_TRUST_FILES_H
#define RUN_TRUST_FILES_H

#include "core/base/config.h"
#include "core/base/err.h"

#include <stdbool.h>

#define TRUST_CA      "ca.pem"
#define TRUST_CERT    "node.pem"
#define TRUST_KEY     "node.key"
#define TRUST_INIT    "init.key" /* the CA's key from `cluster init` until the store has it */
#define TRUST_REVOKED "revoked"

/* state_dir, tls (0700) and roster (0755) with the owner that the node's processes have. For `mhad join`; mhad's parent makes
 * them for itself. */
int trust_files_make_dirs(const struct config *c, struct err *e) MUST_USE;

/* Written beside, synced, renamed. name: one of the above. */
int trust_files_save(const struct config *c, const char *name, const char *text, struct err *e) MUST_USE;

struct trust_pair {
	const char *cert, *key, *ca; /* PEM; the CA is sent after the certificate, so that a joining host can recognise it */
};

/* Key and certificate belong together: both are written before either takes its place. */
int trust_files_save_pair(const struct config *c, const struct trust_pair *p, struct err *e) MUST_USE;

/* Finish or undo what a crash in the middle of trust_files_save_pair has left. For the start. */
void trust_files_repair(const struct config *c);

/* *ret is returned: free(). ERR_NOTFOUND: there is none. */
int trust_files_load(const struct config *c, const char *name, char **ret, struct err *e) MUST_USE;
bool trust_files_has(const struct config *c, const char *name);
void trust_files_remove(const struct config *c, const char *name);

/* Any small text file, for the operator's own certificates. At most 64 KiB. */
int trust_read_file(const char *path, char **ret, struct err *e) MUST_USE;

#endif
