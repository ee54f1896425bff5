/* The dqlite wire protocol: what a server answers. The first byte says which answer was waited for. */
#include "store/dq_codec.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void look_at(const struct dq_table *t)
{
	size_t i, sum = 0;

	FUZZ_CHECK(t->value_count == t->row_count * t->column_count);
	for (i = 0; i < t->column_count; i++)
		sum += strlen(t->columns[i]);
	for (i = 0; i < t->value_count; i++) {
		const struct dq_value *v = &t->values[i];

		/* Every byte that is promised can be read; texts end with a NUL. */
		if (v->type == DQ_TEXT || v->type == DQ_ISO8601)
			FUZZ_CHECK(strlen(v->u.s.data) == v->u.s.len);
		else if (v->type == DQ_BLOB)
			sum += v->u.s.len > 0 ? (uint8_t)v->u.s.data[v->u.s.len - 1] : 0;
	}
	__asm__ volatile("" : : "r"(sum));
}

/* What was answered goes back as parameters: a request of whole words whose length its header tells. */
static void send_back(const struct dq_table *t)
{
	struct buf b = {0};
	struct dq_header h;
	struct err e = ERR_INIT;

	if (dq_encode_sql(&b, DQ_REQ_EXEC_SQL, "SELECT ?", t->values, t->value_count, &e) == 0) {
		FUZZ_CHECK(b.len % 8 == 0 && dq_decode_header((const uint8_t *)b.data, &h, &e) == 0);
		FUZZ_CHECK(h.body_bytes + DQ_HEADER_BYTES == b.len);
	} else {
		FUZZ_CHECK(b.len == 0 && e.text[0] != '\0');
	}
	buf_done(&b);
}

static void take_table(int (*decode)(const uint8_t *, size_t, struct dq_table *, struct err *), const uint8_t *body,
                       size_t size)
{
	struct dq_table t = {0};
	struct err e = ERR_INIT;
	int i, rc = ERR_OK;

	/* Twice: the arrays are used again. */
	for (i = 0; i < 2; i++)
		rc = decode(body, size, &t, &e);
	if (rc == ERR_OK) {
		look_at(&t);
		send_back(&t);
	}
	dq_table_done(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *body;
	uint64_t a, b;
	const char *text;
	struct dq_header h;
	struct err e = ERR_INIT;

	if (size == 0)
		return 0;
	body = malloc(size > 1 ? size - 1 : 1);
	if (body == NULL)
		abort();
	memcpy(body, data + 1, size - 1);
	switch (data[0] % 8) {
	case 0:
		take_table(dq_decode_rows, body, size - 1);
		break;
	case 1:
		take_table(dq_decode_server, body, size - 1);
		break;
	case 2:
		take_table(dq_decode_servers, body, size - 1);
		break;
	case 3:
		if (dq_decode_failure(body, size - 1, &a, &text, &e) == ERR_OK)
			FUZZ_CHECK(strlen(text) < size);
		break;
	case 4:
		(void)!dq_decode_result(body, size - 1, &a, &b, &e);
		break;
	case 6:
		take_table(dq_decode_files, body, size - 1);
		break;
	default:
		if (size > DQ_HEADER_BYTES && dq_decode_header(body, &h, &e) == ERR_OK)
			FUZZ_CHECK(h.body_bytes <= (h.type == DQ_RES_FILES ? DQ_DUMP_MAX_BYTES : DQ_BODY_MAX_BYTES));
	}
	free(body);
	return 0;
}
