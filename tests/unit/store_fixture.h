/* What the store's tests share: a directory of their own, a configuration without a file, and answers that are waited for. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "core/base/config.h"
#include "store/admin.h"
#include "store/dq.h"

#include <stdbool.h>
#include <uv.h>

#define FIXTURE_CELLS 1024
#define FIXTURE_UUID  "0b9bd0a1-2b3c-4d5e-8f90-0123456789ab"

/* Everything of the answer to one request, all calls of a query together. Cells beyond FIXTURE_CELLS are counted only. */
struct answer {
	bool is_done;
	int code;
	char message[512], sqlstate[6];
	uint64_t changes;
	size_t rows, columns, calls;
	bool was_sent;
	char cells[FIXTURE_CELLS][48];
};

/* Callbacks that fill a struct answer. */
void answer_dq_cb(void *arg, const struct dq_result *r);
void answer_admin_cb(void *arg, const struct admin_result *r);

/* Turn the loop until the answer is there; fails the test after 60 s. */
void answer_wait(uv_loop_t *loop, struct answer *a);

/* The same for any condition. Returns false after limit_ms. */
bool fixture_wait(uv_loop_t *loop, bool (*is_met)(void *arg), void *arg, int64_t limit_ms);

int fixture_exec(uv_loop_t *loop, struct dq *d, const char *sql, struct answer *a); /* returns the code */
int fixture_query(uv_loop_t *loop, struct dq *d, const char *sql, struct answer *a);

/* A new directory under /tmp, and its removal with all that is in it. */
void fixture_make_dir(char *buf, size_t cap);
void fixture_remove_dir(const char *path);

/* A configuration for node `name` at address:port, keeping its state under dir/name. All borrowed from static or given memory.
 */
void fixture_config(struct config *c, const char *name, const char *address, uint16_t port, const char *dir);
void fixture_config_done(struct config *c);

uint16_t fixture_port(unsigned offset); /* differs between test processes that run at the same time */

#endif
