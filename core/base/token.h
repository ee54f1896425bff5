/* The join token: what `mha-shell node add` prints and `mhad join` reads. One line of text:
 *
 *   mha1.<base64url of compact JSON>
 *
 * The JSON says where the cluster is, how to recognise it (the fingerprint of its CA) and what to be let in with (a one-time
 * secret). Whoever has the token can join once, as the named node, until it expires: treat it like a password. */
#ifndef BASE_TOKEN_H
#define BASE_TOKEN_H

#include "core/base/err.h"

#include <stddef.h>

#define TOKEN_TEXT_MAX      4096 /* longer texts are refused */
#define TOKEN_ADDRESSES_MAX 16

struct token {
	char cluster[33], uuid[40];
	char mode[24]; /* of tls: "managed", "files", "insecure-plaintext" */
	char ca[65];   /* SHA-256 of the CA certificate's DER form, hexadecimal, lower case; "" unless managed */
	char node[33];
	char role[12];   /* "data" or "arbiter" */
	char id[33];     /* of the invitation, hexadecimal */
	char secret[65]; /* 256 bits, hexadecimal */
	unsigned address_count;
	char addresses[TOKEN_ADDRESSES_MAX][64]; /* "10.77.0.11:7400", "[fd00::11]:7400": peer ports */
};

/* Returned: free() (after wiping: it holds the secret). */
char *token_format(const struct token *t);

/* Every field is checked; blanks around the text are fine. ERR_INVAL says what is wrong without repeating the text. *ret is
 * untouched on failure. */
int token_parse(const char *text, struct token *ret, struct err *e) MUST_USE;

/* Unpadded base64 with - and _ (RFC 4648 section 5). Returned: free(). Decoding ends the bytes with a NUL beyond *ret_len;
 * NULL: a character that does not belong, or bits left over. */
char *token_base64_encode(const void *data, size_t len);
char *token_base64_decode(const char *text, size_t len, size_t *ret_len);

#endif
