/* Routes of trust: invitations and joining, certificates, policies. */
#ifndef API_TRUST_H
#define API_TRUST_H

#include "core/api/api.h"

/* SHA-256 of text as lower-case hexadecimal. */
void api_hash(const char *text, char ret[65]);

/* `bytes` random ones as lower-case hexadecimal: 2 * bytes + 1 characters. */
void api_random_hex(size_t bytes, char *ret);

/* Both: true when the path is one of theirs; the request is then taken. */
bool trust_get_route(struct control *c, struct http_request *r, const struct api_route *route);
bool trust_post_route(struct control *c, struct http_request *r, const struct api_route *route);

void api_invite(struct control *c, struct http_request *r);       /* POST /v1/nodes */
void api_join(struct control *c, struct http_request *r);         /* POST /v1/join */
void api_certs(struct control *c, struct http_request *r);        /* GET /v1/certs */
void api_certs_issue(struct control *c, struct http_request *r);  /* POST /v1/certs/issue */
void api_certs_renew(struct control *c, struct http_request *r);  /* POST /v1/certs/renew */
void api_certs_rotate(struct control *c, struct http_request *r); /* POST /v1/certs/rotate */
void api_certs_revoke(struct control *c, struct http_request *r); /* POST /v1/certs/revoke */
void api_policy(struct control *c, struct http_request *r);       /* GET /v1/policy */
void api_policy_set(struct control *c, struct http_request *r);   /* POST /v1/policy */

#endif
