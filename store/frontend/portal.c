#include "store/frontend/portal.h"

#include "store/frontend/types.h"

#include <stdlib.h>
#include <string.h>

/* --- prepared statements --- */

static int read_parse(struct prepared *p, struct msg_in *m, struct sqlerr *e)
{
	struct token_params params;
	int count, i;
	int rc = token_rewrite(p->text, strlen(p->text), &params, e);

	if (rc != ERR_OK)
		return rc;
	count = msg_get_i16(m);
	if (count < 0 || count > TOKEN_MAX_PARAMS)
		return sqlerr_set(e, "54000", "%d parameters: at most %d can be used", count, TOKEN_MAX_PARAMS);
	for (i = 0; i < count; i++)
		p->oids[i] = (uint32_t)msg_get_i32(m);
	for (i = 0; i < TOKEN_MAX_PARAMS; i++)
		if (p->oids[i] == 0)
			p->oids[i] = params.oids[i];
	p->param_count = params.count > (unsigned)count ? params.count : (unsigned)count;
	if (m->is_bad)
		return sqlerr_set(e, "08P01", "the Parse message is cut short");
	return ERR_OK;
}

struct prepared *prepared_new(struct msg_in *m, struct sqlerr *e)
{
	struct prepared *p = mem_alloc(sizeof(*p));

	p->refs = 1;
	p->name = mem_strdup(msg_get_string(m));
	p->text = mem_strdup(msg_get_string(m));
	if (read_parse(p, m, e) == ERR_OK)
		return p;
	prepared_unref(p);
	return NULL;
}

void prepared_unref(struct prepared *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	statement_done(&p->st);
	free(p->name);
	free(p->text);
	free(p);
}

void prepared_remove(struct prepared **table, struct prepared *p)
{
	HASH_DEL(*table, p);
	prepared_unref(p);
}

bool prepared_is_same(const struct prepared *p, const struct statement *st)
{
	size_t i;

	if (st->info.column_count != p->st.info.column_count)
		return false;
	for (i = 0; i < st->info.column_count; i++)
		if (st->info.columns[i].oid != p->st.info.columns[i].oid ||
		    strcmp(st->info.columns[i].name, p->st.info.columns[i].name) != 0)
			return false;
	return true;
}

void prepared_describe_params(const struct prepared *p, struct buf *out)
{
	size_t start = msg_begin(out, 't');
	unsigned i;

	msg_put_i16(out, (int16_t)p->param_count);
	for (i = 0; i < p->param_count; i++)
		msg_put_i32(out, (int32_t)(p->oids[i] != 0 ? p->oids[i] : OID_TEXT));
	msg_end(out, start);
}

/* --- portals --- */

/* A list of format codes, returned; NULL when the message is bad. */
static int16_t *read_formats(struct msg_in *m, size_t *ret_count)
{
	int count = msg_get_i16(m), i;
	int16_t *formats;

	if (count < 0 || (size_t)count * 2 > m->len)
		m->is_bad = true;
	if (m->is_bad)
		return NULL;
	formats = mem_alloc(((size_t)count + 1) * sizeof(*formats));
	for (i = 0; i < count; i++) {
		formats[i] = msg_get_i16(m);
		if (formats[i] != 0 && formats[i] != 1)
			m->is_bad = true;
	}
	*ret_count = (size_t)count;
	return formats;
}

static int read_values(struct portal *portal, struct msg_in *m, const int16_t *formats, size_t format_count, struct sqlerr *e)
{
	const struct prepared *p = portal->prepared;
	int count = msg_get_i16(m), i, rc = ERR_OK;

	if (m->is_bad || count < 0 || (unsigned)count != p->param_count || (format_count > 1 && format_count != (size_t)count))
		return sqlerr_set(e, "08P01", "the Bind message supplies %d parameters, but the statement takes %u", count,
		                  p->param_count);
	portal->values = mem_alloc((size_t)count * sizeof(*portal->values));
	portal->scratch = mem_alloc((size_t)count * sizeof(*portal->scratch));
	for (i = 0; i < count && rc == ERR_OK; i++) {
		int32_t len = msg_get_i32(m);
		const char *data = len == -1 ? NULL : msg_get_bytes(m, len >= 0 ? (size_t)len : SIZE_MAX);
		int format = format_count == 0 ? 0 : formats[format_count == 1 ? 0 : i];

		if (m->is_bad)
			return sqlerr_set(e, "08P01", "the Bind message is cut short at parameter $%d", i + 1);
		rc = type_decode_param(p->oids[i], format, data, data != NULL ? (size_t)len : 0, &portal->scratch[i],
		                       &portal->values[i], e);
	}
	return rc;
}

static int read_bind(struct portal *portal, struct msg_in *m, struct sqlerr *e)
{
	size_t count = 0;
	int16_t *formats = read_formats(m, &count);
	int rc = read_values(portal, m, formats, count, e);

	free(formats);
	if (rc != ERR_OK)
		return rc;
	portal->formats = read_formats(m, &portal->format_count);
	if (m->is_bad || (portal->format_count > 1 && portal->format_count != portal->prepared->st.info.column_count))
		return sqlerr_set(e, "08P01", "the Bind message has result formats that cannot be");
	return ERR_OK;
}

static void portal_free(struct portal *portal)
{
	unsigned i;

	for (i = 0; portal->scratch != NULL && i < portal->prepared->param_count; i++)
		buf_done(&portal->scratch[i]);
	free(portal->scratch);
	free(portal->values);
	free(portal->formats);
	free(portal->data);
	free(portal->name);
	buf_done(&portal->rows);
	prepared_unref(portal->prepared);
	free(portal);
}

struct portal *portal_new(const char *name, struct prepared *p, struct msg_in *m, struct sqlerr *e)
{
	struct portal *portal = mem_alloc(sizeof(*portal));
	struct msg_in copy = *m;

	portal->name = mem_strdup(name);
	portal->prepared = p;
	p->refs++;
	portal->data = mem_alloc(m->len);
	if (m->len > 0)
		memcpy(portal->data, m->body, m->len);
	copy.body = portal->data;
	if (read_bind(portal, &copy, e) == ERR_OK)
		return portal;
	portal_free(portal);
	return NULL;
}

void portal_remove(struct portal **table, struct portal *portal)
{
	HASH_DEL(*table, portal);
	portal_free(portal);
}

bool portal_take_rows(struct portal *portal, int limit, struct buf *out)
{
	struct msg_in m;
	const char *why;
	size_t start = portal->rows_at, size;
	int n;

	for (n = 0; (limit == 0 || n < limit) && portal->rows_at < portal->rows.len; n++) {
		if (msg_next(portal->rows.data + portal->rows_at, portal->rows.len - portal->rows_at, false, &m, &size, &why) !=
		    FRAME_OK)
			break;
		portal->rows_at += size;
	}
	if (portal->rows_at > start)
		buf_add(out, portal->rows.data + start, portal->rows_at - start);
	return portal->rows_at == portal->rows.len;
}
