#include "store/frontend/messages.h"

#include <string.h>

static uint32_t peek_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

enum frame_status msg_next(const char *data, size_t len, bool is_startup, struct msg_in *ret, size_t *ret_size,
                           const char **why)
{
	size_t head = is_startup ? 0 : 1, max = is_startup ? MSG_MAX_STARTUP_BYTES : MSG_MAX_BYTES;
	size_t size;

	if (len < head + 4)
		return FRAME_MORE;
	size = peek_u32(data + head);
	if (size < (is_startup ? 8u : 4u) || size > max) {
		*why = size > max ? "the message is too long" : "the message is shorter than its own head";
		return FRAME_BAD;
	}
	if (len < head + size)
		return FRAME_MORE;
	ret->type = is_startup ? '\0' : data[0];
	ret->body = data + head + 4;
	ret->len = size - 4;
	ret->is_bad = false;
	*ret_size = head + size;
	return FRAME_OK;
}

const char *msg_get_bytes(struct msg_in *m, size_t n)
{
	const char *p = m->body;

	if (m->is_bad || n > m->len) {
		m->is_bad = true;
		return NULL;
	}
	m->body += n;
	m->len -= n;
	return p;
}

char msg_get_byte(struct msg_in *m)
{
	const char *p = msg_get_bytes(m, 1);

	return p != NULL ? *p : '\0';
}

int16_t msg_get_i16(struct msg_in *m)
{
	const unsigned char *p = (const unsigned char *)msg_get_bytes(m, 2);

	return p != NULL ? (int16_t)(uint16_t)((unsigned)p[0] << 8 | p[1]) : (int16_t)0;
}

int32_t msg_get_i32(struct msg_in *m)
{
	const char *p = msg_get_bytes(m, 4);

	return p != NULL ? (int32_t)peek_u32(p) : 0;
}

const char *msg_get_string(struct msg_in *m)
{
	const char *stop = m->is_bad || m->len == 0 ? NULL : memchr(m->body, '\0', m->len);
	const char *s;

	if (stop == NULL) {
		m->is_bad = true;
		return "";
	}
	s = msg_get_bytes(m, (size_t)(stop - m->body) + 1);
	return s;
}

void msg_put_i16(struct buf *b, int16_t v)
{
	char p[2] = {(char)(v >> 8), (char)v};

	buf_add(b, p, sizeof(p));
}

void msg_put_i32(struct buf *b, int32_t v)
{
	char p[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};

	buf_add(b, p, sizeof(p));
}

void msg_put_i64(struct buf *b, int64_t v)
{
	msg_put_i32(b, (int32_t)(v >> 32));
	msg_put_i32(b, (int32_t)v);
}

void msg_put_string(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s) + 1);
}

size_t msg_begin(struct buf *b, char type)
{
	size_t start = b->len;

	buf_add(b, &type, 1);
	msg_put_i32(b, 0);
	return start;
}

void msg_end(struct buf *b, size_t start)
{
	uint32_t len = (uint32_t)(b->len - start - 1);
	char p[4] = {(char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};

	memcpy(b->data + start + 1, p, sizeof(p));
}

void msg_put_simple(struct buf *b, char type, const char *text)
{
	size_t start = msg_begin(b, type);

	if (text != NULL)
		msg_put_string(b, text);
	msg_end(b, start);
}

void msg_put_parameter_status(struct buf *b, const char *name, const char *value)
{
	size_t start = msg_begin(b, 'S');

	msg_put_string(b, name);
	msg_put_string(b, value);
	msg_end(b, start);
}

void msg_put_ready(struct buf *b, char status)
{
	size_t start = msg_begin(b, 'Z');

	buf_add(b, &status, 1);
	msg_end(b, start);
}

static void put_field(struct buf *b, char field, const char *value)
{
	if (value[0] == '\0')
		return;
	buf_add(b, &field, 1);
	msg_put_string(b, value);
}

void msg_put_error(struct buf *b, const char *severity, const struct sqlerr *e)
{
	size_t start = msg_begin(b, strcmp(severity, "WARNING") == 0 ? 'N' : 'E');

	put_field(b, 'S', severity);
	put_field(b, 'V', severity);
	put_field(b, 'C', e->sqlstate);
	put_field(b, 'M', e->text);
	put_field(b, 'H', e->hint);
	if (e->position > 0)
		buf_printf(b, "P%d%c", e->position, 0);
	put_field(b, 't', e->table);
	put_field(b, 'c', e->column);
	buf_add(b, "", 1);
	msg_end(b, start);
}

void msg_put_notification(struct buf *b, int32_t pid, const char *channel, const char *payload)
{
	size_t start = msg_begin(b, 'A');

	msg_put_i32(b, pid);
	msg_put_string(b, channel);
	msg_put_string(b, payload);
	msg_end(b, start);
}
