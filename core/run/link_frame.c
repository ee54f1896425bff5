/* Frames. On a new link each side first sends {"node":NAME,"hello":OBJECT}; to the other's it answers {"welcome":true} or
 * {"refused":REASON}. The link is up for a side that has said and heard welcome, so neither ever sees it up and refused. */
#include "core/run/link_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

char *frame_hello(const struct link_hub *l)
{
	struct buf b = {0};

	buf_printf(&b, "{\"node\":\"%s\",\"hello\":%s}", l->config->node, l->hello);
	return b.data;
}

char *frame_welcome(void)
{
	return mem_strdup("{\"welcome\":true}");
}

char *frame_refused(const char *reason)
{
	char *utf8 = str_utf8(reason), *text; /* a reason may quote what came from outside, and be cut */
	json_t *o = json_pack("{s:s}", "refused", utf8[0] != '\0' ? utf8 : "no reason was given");

	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	free(utf8);
	if (text == NULL)
		abort(); /* no memory */
	return text;
}

enum frame_kind frame_parse(const char *text, size_t len, char *ret_name, char **ret_text)
{
	json_t *o = json_loadb(text, len, 0, NULL);
	const char *name = json_string_value(json_object_get(o, "node"));
	const char *refused = json_string_value(json_object_get(o, "refused"));
	json_t *hello = json_object_get(o, "hello");
	enum frame_kind kind = FRAME_OTHER;

	if (refused != NULL) {
		*ret_text = mem_strdup(refused);
		kind = FRAME_REFUSED;
	} else if (json_is_true(json_object_get(o, "welcome"))) {
		kind = FRAME_WELCOME;
	} else if (name != NULL && str_is_name(name) && json_is_object(hello)) {
		str_copy(ret_name, 33, name);
		*ret_text = json_dumps(hello, JSON_COMPACT);
		kind = *ret_text != NULL ? FRAME_HELLO : FRAME_OTHER;
	}
	json_decref(o);
	return kind;
}

bool frame_is_utf8(const char *text, size_t len)
{
	json_t *s = json_stringn(text, len);

	json_decref(s);
	return s != NULL;
}

void conn_queue(struct conn *c, const char *json, size_t len)
{
	struct frame *f = mem_alloc(sizeof *f);

	f->data = mem_alloc(LWS_PRE + len);
	f->len = len;
	memcpy(f->data + LWS_PRE, json, len);
	if (c->last != NULL)
		c->last->next = f;
	else
		c->first = f;
	c->last = f;
	c->queued_bytes += len;
	if (c->is_open)
		lws_callback_on_writable(c->wsi);
}

int conn_write_one(struct conn *c)
{
	struct frame *f = c->first;
	int n;

	if (f != NULL) {
		c->first = f->next;
		if (c->first == NULL)
			c->last = NULL;
		c->queued_bytes -= f->len;
		n = lws_write(c->wsi, (unsigned char *)f->data + LWS_PRE, f->len, LWS_WRITE_TEXT);
		free(f->data);
		free(f);
		if (n < 0)
			return -1;
	}
	if (c->first != NULL)
		lws_callback_on_writable(c->wsi);
	return 0;
}
