#include "core/base/token.h"

#include "core/base/str.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX  "mha1."
#define VERSION 1

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *token_base64_encode(const void *data, size_t len)
{
	const unsigned char *in = data;
	char *out = mem_alloc(len / 3 * 4 + 5), *p = out;
	size_t i;

	for (i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			v |= in[i + 2];
		*p++ = alphabet[v >> 18];
		*p++ = alphabet[(v >> 12) & 63];
		if (i + 1 < len)
			*p++ = alphabet[(v >> 6) & 63];
		if (i + 2 < len)
			*p++ = alphabet[v & 63];
	}
	*p = '\0';
	return out;
}

char *token_base64_decode(const char *text, size_t len, size_t *ret_len)
{
	char *out = mem_alloc(len / 4 * 3 + 4);
	uint32_t bits = 0;
	unsigned count = 0;
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		const char *at = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;

		if (at == NULL)
			break;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		out[n++] = (char)(bits >> count & 0xff);
		bits &= (1U << count) - 1;
	}
	if (i < len || count >= 6 || bits != 0) { /* one text for one value: what is left over must be nothing */
		free(out);
		return NULL;
	}
	out[n] = '\0';
	*ret_len = n;
	return out;
}

char *token_format(const struct token *t)
{
	json_t *addresses = json_array(), *o;
	char *json, *body;
	struct buf b = {0};
	unsigned i;

	for (i = 0; i < t->address_count; i++)
		json_array_append_new(addresses, json_string(t->addresses[i]));
	o = json_pack("{s:i,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:s}", "v", VERSION, "cluster", t->cluster, "uuid", t->uuid, "mode",
	              t->mode, "ca", t->ca, "addresses", addresses, "node", t->node, "role", t->role, "id", t->id, "secret",
	              t->secret);
	json = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(o);
	body = token_base64_encode(json, strlen(json));
	explicit_bzero(json, strlen(json));
	free(json);
	buf_puts(&b, PREFIX);
	buf_puts(&b, body);
	explicit_bzero(body, strlen(body));
	free(body);
	return b.data;
}

static bool is_hex(const char *s, size_t min, size_t max)
{
	size_t len = strspn(s, "0123456789abcdef");

	return s[len] == '\0' && len >= min && len <= max;
}

static bool is_uuid(const char *s)
{
	return strlen(s) == 36 && s[strspn(s, "0123456789abcdef-")] == '\0';
}

static bool is_one_of(const char *s, const char *const *choices)
{
	for (; *choices != NULL; choices++)
		if (strcmp(s, *choices) == 0)
			return true;
	return false;
}

/* "10.77.0.11:7400" or "[fd00::11]:7400": it becomes part of a URL. */
static bool is_address(const char *s)
{
	char host[64];
	unsigned char ip[16];
	const char *colon = strrchr(s, ':');
	size_t len = colon != NULL ? (size_t)(colon - s) : 0;
	uint64_t port;

	if (len < 2 || len >= sizeof host || str_to_u64(colon + 1, "port", 1, UINT16_MAX, &port, NULL) != ERR_OK)
		return false;
	memcpy(host, s, len);
	host[len] = '\0';
	if (host[0] != '[')
		return inet_pton(AF_INET, host, ip) == 1;
	if (host[len - 1] != ']')
		return false;
	host[len - 1] = '\0';
	return inet_pton(AF_INET6, host + 1, ip) == 1;
}

static int take_text(const json_t *o, const char *key, char *dst, size_t size, struct err *e)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (s == NULL || !str_copy(dst, size, s))
		return err_set(e, ERR_INVAL, "the token has no usable \"%s\"", key);
	return ERR_OK;
}

static int take_addresses(const json_t *o, struct token *t, struct err *e)
{
	const json_t *list = json_object_get(o, "addresses");
	size_t i, count = json_array_size(list);

	if (count < 1 || count > TOKEN_ADDRESSES_MAX)
		return err_set(e, ERR_INVAL, "the token must name 1 to %d addresses", TOKEN_ADDRESSES_MAX);
	for (i = 0; i < count; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (s == NULL || !str_copy(t->addresses[i], sizeof t->addresses[i], s) || !is_address(s))
			return err_set(e, ERR_INVAL, "an address in the token is no ADDRESS:PORT");
	}
	t->address_count = (unsigned)count;
	return ERR_OK;
}

static int check_fields(const struct token *t, struct err *e)
{
	static const char *const modes[] = {"managed", "files", "insecure-plaintext", NULL};
	static const char *const roles[] = {"data", "arbiter", NULL};
	const char *wrong = NULL;

	if (!str_is_name(t->cluster))
		wrong = "cluster";
	else if (!is_uuid(t->uuid))
		wrong = "uuid";
	else if (!is_one_of(t->mode, modes))
		wrong = "mode";
	/* Without the fingerprint anybody could pretend to be the cluster: only a cluster with no CA of its own has none. */
	else if (strcmp(t->mode, "managed") == 0 ? !is_hex(t->ca, 64, 64) : t->ca[0] != '\0')
		wrong = "ca";
	else if (!str_is_name(t->node))
		wrong = "node";
	else if (!is_one_of(t->role, roles))
		wrong = "role";
	else if (!is_hex(t->id, 1, 32))
		wrong = "id";
	else if (!is_hex(t->secret, 64, 64))
		wrong = "secret";
	return wrong == NULL ? ERR_OK : err_set(e, ERR_INVAL, "the token's \"%s\" is not what it should be", wrong);
}

static int read_object(const json_t *o, struct token *ret, struct err *e)
{
	struct token t;
	int rc;

	memset(&t, 0, sizeof t);
	if (!json_is_object(o))
		return err_set(e, ERR_INVAL, "the token is damaged: copy it again, whole");
	if (json_integer_value(json_object_get(o, "v")) != VERSION)
		return err_set(e, ERR_INVAL, "the token is of another version: use the programs of the cluster's version");
	if ((rc = take_text(o, "cluster", t.cluster, sizeof t.cluster, e)) == ERR_OK &&
	    (rc = take_text(o, "uuid", t.uuid, sizeof t.uuid, e)) == ERR_OK &&
	    (rc = take_text(o, "mode", t.mode, sizeof t.mode, e)) == ERR_OK &&
	    (rc = take_text(o, "ca", t.ca, sizeof t.ca, e)) == ERR_OK &&
	    (rc = take_text(o, "node", t.node, sizeof t.node, e)) == ERR_OK &&
	    (rc = take_text(o, "role", t.role, sizeof t.role, e)) == ERR_OK &&
	    (rc = take_text(o, "id", t.id, sizeof t.id, e)) == ERR_OK &&
	    (rc = take_text(o, "secret", t.secret, sizeof t.secret, e)) == ERR_OK &&
	    (rc = take_addresses(o, &t, e)) == ERR_OK && (rc = check_fields(&t, e)) == ERR_OK)
		*ret = t;
	explicit_bzero(&t, sizeof t);
	return rc;
}

int token_parse(const char *text, struct token *ret, struct err *e)
{
	static const char blanks[] = " \t\r\n";
	size_t len, json_len = 0;
	char *json;
	json_t *o;
	int rc;

	text += strspn(text, blanks);
	len = strlen(text);
	while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
		len--;
	if (len > TOKEN_TEXT_MAX)
		return err_set(e, ERR_INVAL, "this is no token: longer than %d characters", TOKEN_TEXT_MAX);
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return err_set(e, ERR_INVAL,
		               "this is no token: one begins with \"" PREFIX "\" (`mha-shell node add` prints it)");
	json = token_base64_decode(text + strlen(PREFIX), len - strlen(PREFIX), &json_len);
	if (json == NULL)
		return err_set(e, ERR_INVAL, "the token is damaged: copy it again, whole");
	o = json_loadb(json, json_len, JSON_REJECT_DUPLICATES, NULL);
	rc = read_object(o, ret, e);
	explicit_bzero(json, json_len);
	free(json);
	json_decref(o);
	return rc;
}
