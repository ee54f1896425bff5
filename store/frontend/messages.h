/* PostgreSQL's protocol v3: frames in, messages out. Pure: bytes to structs and back. */
#ifndef STORE_FRONTEND_MESSAGES_H
#define STORE_FRONTEND_MESSAGES_H

#include "core/base/str.h"
#include "store/frontend/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSG_MAX_BYTES         (16 * 1024 * 1024)
#define MSG_MAX_STARTUP_BYTES 10000

/* Codes in the place of a version. */
#define MSG_STARTUP_V3 0x00030000
#define MSG_CANCEL     80877102
#define MSG_SSL        80877103
#define MSG_GSSENC     80877104

/* --- in --- */

/* A message of the client: body[len] behind type and length; cursor functions eat from the front. A read past the end sets
 * is_bad and yields zero, "" or NULL, so that a decoder checks once, at its end. */
struct msg_in {
	char type; /* 0: the startup packet */
	const char *body;
	size_t len;
	bool is_bad;
};

enum frame_status { FRAME_OK, FRAME_MORE, FRAME_BAD };

/* The message at data[len]. FRAME_OK: *ret is it (borrowed from data) and *ret_size the bytes it took; FRAME_MORE: not complete
 * yet; FRAME_BAD: a length that cannot be (too small, too large): *why says it. */
enum frame_status msg_next(const char *data, size_t len, bool is_startup, struct msg_in *ret, size_t *ret_size,
                           const char **why);

int16_t msg_get_i16(struct msg_in *m);
int32_t msg_get_i32(struct msg_in *m);
char msg_get_byte(struct msg_in *m);
const char *msg_get_string(struct msg_in *m);
const char *msg_get_bytes(struct msg_in *m, size_t n);

/* --- out --- */

void msg_put_i16(struct buf *b, int16_t v);
void msg_put_i32(struct buf *b, int32_t v);
void msg_put_i64(struct buf *b, int64_t v);
void msg_put_string(struct buf *b, const char *s); /* with its NUL */

/* msg_begin returns where the message starts; msg_end fills in its length. */
size_t msg_begin(struct buf *b, char type);
void msg_end(struct buf *b, size_t start);

/* A message of one type and at most one string (NULL: none). */
void msg_put_simple(struct buf *b, char type, const char *text);
void msg_put_parameter_status(struct buf *b, const char *name, const char *value);
void msg_put_ready(struct buf *b, char status);
/* severity: "ERROR", "FATAL", "WARNING" (a NoticeResponse). */
void msg_put_error(struct buf *b, const char *severity, const struct sqlerr *e);
void msg_put_notification(struct buf *b, int32_t pid, const char *channel, const char *payload);

#endif
