/* Prepared statements and portals of the extended protocol, as data. */
#ifndef STORE_FRONTEND_PORTAL_H
#define STORE_FRONTEND_PORTAL_H

#include "core/base/str.h"
#include "store/dq.h"
#include "store/frontend/messages.h"
#include "store/frontend/statement.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

struct prepared {
	UT_hash_handle hh;
	char *name;
	unsigned refs; /* the table's, and each portal's */
	char *text;    /* rewritten for SQLite */
	struct statement st;
	unsigned param_count;
	uint32_t oids[TOKEN_MAX_PARAMS]; /* the client's, else the cast's, else 0 */
};

struct portal {
	UT_hash_handle hh;
	char *name;
	struct prepared *prepared;
	char *data;          /* the Bind message: values point into it */
	struct buf *scratch; /* per parameter: what had to be decoded */
	struct dq_value *values;
	int16_t *formats;
	size_t format_count;
	bool is_run;
	struct buf rows; /* DataRows that a limited Execute has not sent yet */
	size_t rows_at;
	char tag[64];
};

/* From a Parse message; its statement is not read yet. NULL with e when it cannot be. Returned: end it with prepared_unref. */
struct prepared *prepared_new(struct msg_in *m, struct sqlerr *e);
void prepared_unref(struct prepared *p);
void prepared_remove(struct prepared **table, struct prepared *p);

/* st returns what p's statement did. */
bool prepared_is_same(const struct prepared *p, const struct statement *st);
void prepared_describe_params(const struct prepared *p, struct buf *out); /* ParameterDescription */

/* From the rest of a Bind message, behind the two names. NULL with e. */
struct portal *portal_new(const char *name, struct prepared *p, struct msg_in *m, struct sqlerr *e);
void portal_remove(struct portal **table, struct portal *portal);

/* Move at most limit (0: all) of the stored rows to out. True when none is left. */
bool portal_take_rows(struct portal *portal, int limit, struct buf *out);

#endif
