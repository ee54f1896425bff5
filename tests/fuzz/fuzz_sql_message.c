/* PostgreSQL's messages as a client sends them, one behind the other: frames, Parse, Bind. */
#include "store/frontend/messages.h"
#include "store/frontend/portal.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_value(const struct dq_value *v)
{
	size_t i;
	unsigned sum = 0;

	if (v->type != DQ_TEXT && v->type != DQ_BLOB)
		return;
	for (i = 0; i < v->u.s.len; i++)
		sum += (unsigned char)v->u.s.data[i];
	__asm__ volatile("" : : "r"(sum));
	FUZZ_CHECK(v->type == DQ_BLOB || v->u.s.len == 0 || memchr(v->u.s.data, '\0', v->u.s.len) == NULL);
}

static void take_bind(struct prepared *p, struct msg_in *m)
{
	struct portal *table = NULL, *portal;
	struct sqlerr e = SQLERR_INIT;
	struct buf rows = {0};
	const char *name = msg_get_string(m);
	unsigned i;

	(void)msg_get_string(m);
	portal = portal_new(name, p, m, &e);
	if (portal == NULL) {
		FUZZ_CHECK(e.sqlstate[0] != '\0' && e.text[0] != '\0');
		return;
	}
	for (i = 0; i < p->param_count; i++)
		check_value(&portal->values[i]);
	for (i = 0; i < portal->format_count; i++)
		FUZZ_CHECK(portal->formats[i] == 0 || portal->formats[i] == 1);
	(void)portal_take_rows(portal, 0, &rows);
	buf_done(&rows);
	HASH_ADD_KEYPTR(hh, table, portal->name, strlen(portal->name), portal);
	portal_remove(&table, portal);
}

static void take_parse(struct prepared **p, struct msg_in *m)
{
	struct sqlerr e = SQLERR_INIT;
	struct prepared *new = prepared_new(m, &e);
	struct buf out = {0};

	if (new == NULL) {
		FUZZ_CHECK(e.sqlstate[0] != '\0' && e.text[0] != '\0');
		return;
	}
	FUZZ_CHECK(new->param_count <= TOKEN_MAX_PARAMS);
	prepared_describe_params(new, &out);
	buf_done(&out);
	prepared_unref(*p);
	*p = new;
}

/* An error's own message, with every text the client sent in it, is one whole message. */
static void answer(const struct msg_in *m)
{
	struct sqlerr e = SQLERR_INIT;
	struct buf out = {0};
	struct msg_in back;
	size_t size = 0;
	const char *why = "";

	sqlerr_set(&e, "42601", "%.*s", (int)(m->len < 600 ? m->len : 600), m->body);
	msg_put_error(&out, "ERROR", &e);
	FUZZ_CHECK(msg_next(out.data, out.len, false, &back, &size, &why) == FRAME_OK && size == out.len && back.type == 'E');
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct prepared *p = NULL;
	struct msg_in m;
	size_t at = 0, used = 0;
	const char *why = NULL;
	bool is_startup = true;
	enum frame_status status;

	while ((status = msg_next(text + at, size - at, is_startup, &m, &used, &why)) == FRAME_OK) {
		FUZZ_CHECK(used <= size - at && used >= 4 && m.body + m.len == text + at + used);
		answer(&m);
		if (m.type == 'P')
			take_parse(&p, &m);
		else if (m.type == 'B' && p != NULL)
			take_bind(p, &m);
		else
			while (m.len > 0 && !m.is_bad)
				(void)msg_get_string(&m);
		is_startup = false;
		at += used;
	}
	FUZZ_CHECK(status == FRAME_MORE || why != NULL);
	prepared_unref(p);
	free(text);
	return 0;
}
