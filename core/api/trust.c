/* What the routes of trust share, and which there are. */
#include "core/api/trust.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

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

struct trust_route {
	const char *noun, *verb;
	void (*run)(struct control *c, struct http_request *r);
};

static bool run_route(const struct trust_route *routes, const struct api_route *route, struct control *c,
                      struct http_request *r)
{
	for (; routes->noun != NULL; routes++) {
		if (!api_route_is(route, routes->noun, routes->verb))
			continue;
		routes->run(c, r);
		return true;
	}
	return false;
}

bool trust_get_route(struct control *c, struct http_request *r, const struct api_route *route)
{
	static const struct trust_route routes[] = {{"certs", "", api_certs}, {"policy", "", api_policy}, {NULL, NULL, NULL}};

	return run_route(routes, route, c, r);
}

bool trust_post_route(struct control *c, struct http_request *r, const struct api_route *route)
{
	static const struct trust_route routes[] = {{"nodes", "", api_invite},
	                                            {"join", "", api_join},
	                                            {"certs", "issue", api_certs_issue},
	                                            {"certs", "renew", api_certs_renew},
	                                            {"certs", "rotate", api_certs_rotate},
	                                            {"certs", "revoke", api_certs_revoke},
	                                            {"policy", "", api_policy_set},
	                                            {NULL, NULL, NULL}};

	return run_route(routes, route, c, r);
}
