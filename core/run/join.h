/* `mhad join TOKEN`: makes a new host ready to be taken into a cluster. join.c is the command, join_http.c the one request. */
#ifndef RUN_JOIN_H
#define RUN_JOIN_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "core/base/token.h"

/* argv[0] is "join". Returns the exit code: 0 ok, 1 error, 2 usage, 3 unreachable, 5 refused. */
int join_main(int argc, char **argv);

/* POST body to /v1/join of the token's addresses in turn. With managed certificates only a node of the cluster whose CA has the
 * token's fingerprint hears the secret. *ret (the answer's text) is returned: free(). ERR_UNREACHABLE, ERR_REFUSED (hint: the
 * cluster's way out, 256 bytes), ERR_AMBIGUOUS: sent, and no answer came. */
int join_post(const struct config *c, const struct token *t, const char *body, char **ret, char *hint, struct err *e) MUST_USE;

#endif
