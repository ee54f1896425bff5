/* What the routes of trust share, and which there are. */
#include "core/api/trust.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

json_t *api_body(struct http_request *r)
{
	json_t *body = json_loads(http_body(r)[0] != '\0' ? http_body(r) : "{}", JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(body))
		return body;
	json_decref(body);
	api_error(r, ERR_INVAL, "the body is no JSON object", NULL);
	return NULL;
}

const char *api_member(const json_t *body, const char *key)
{
	const char *text = json_string_value(json_object_get(body, key));

	return text != NULL ? text : "";
}

static void write_hex(const unsigned char *bytes, size_t count, char *ret)
{
	size_t i;

	for (i = 0; i < count; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

void api_hash(const char *text, char ret[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE] = {0};
	unsigned len = 0;

	if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL) != 1 || len != 32)
		abort(); /* no memory */
	write_hex(digest, len, ret);
}

void api_random_hex(size_t bytes, char *ret)
{
	unsigned char b[32];

	while (getrandom(b, bytes, 0) != (ssize_t)bytes)
		;
	write_hex(b, bytes, ret);
	explicit_bzero(b, sizeof b);
}

struct route {
	const char *path;
	void (*run)(struct control *c, struct http_request *r);
};

static bool run_route(const struct route *routes, struct control *c, struct http_request *r)
{
	for (; routes->path != NULL; routes++) {
		if (strcmp(http_path(r), routes->path) != 0)
			continue;
		routes->run(c, r);
		return true;
	}
	return false;
}

bool trust_get_route(struct control *c, struct http_request *r)
{
	static const struct route routes[] = {{"/v1/certs", api_certs}, {"/v1/policy", api_policy}, {NULL, NULL}};

	return run_route(routes, c, r);
}

bool trust_post_route(struct control *c, struct http_request *r)
{
	static const struct route routes[] = {{"/v1/nodes", api_invite},
	                                      {"/v1/join", api_join},
	                                      {"/v1/certs/issue", api_certs_issue},
	                                      {"/v1/certs/renew", api_certs_renew},
	                                      {"/v1/certs/rotate", api_certs_rotate},
	                                      {"/v1/certs/revoke", api_certs_revoke},
	                                      {"/v1/policy", api_policy_set},
	                                      {NULL, NULL}};

	return run_route(routes, c, r);
}
