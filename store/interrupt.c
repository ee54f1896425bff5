#include "store/interrupt.h"

#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_PREFIX "/*mha:"
#define MARK_DIGITS 16

struct running {
	sqlite3 *db; /* of dqlite */
	uint64_t id; /* the marked statement that started last on it */
};

static struct {
	pthread_mutex_t lock;
	uint64_t last_id;
	struct running *running;
	size_t running_count, running_cap;
	uint64_t *wanted; /* to be stopped when they start */
	size_t wanted_count, wanted_cap;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Room for one more. */
static void *grow(void *items, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return items;
	*cap = *cap > 0 ? 2 * *cap : 16;
	return mem_resize(items, *cap * size);
}

static void remove_running(const sqlite3 *db)
{
	size_t i;

	for (i = 0; i < registry.running_count; i++)
		if (registry.running[i].db == db)
			registry.running[i--] = registry.running[--registry.running_count];
}

static bool is_wanted(uint64_t id)
{
	size_t i;

	for (i = 0; i < registry.wanted_count; i++)
		if (registry.wanted[i] == id)
			return true;
	return false;
}

static void note_start(sqlite3 *db, const char *sql)
{
	uint64_t id = 0;

	if (sql == NULL || strncmp(sql, "--", 2) == 0) /* a trigger inside the statement that was noted */
		return;
	if (strncmp(sql, MARK_PREFIX, strlen(MARK_PREFIX)) == 0)
		id = strtoull(sql + strlen(MARK_PREFIX), NULL, 16);
	remove_running(db);
	if (id == 0)
		return;
	registry.running = grow(registry.running, registry.running_count, &registry.running_cap, sizeof(*registry.running));
	registry.running[registry.running_count++] = (struct running){db, id};
	if (is_wanted(id))
		sqlite3_interrupt(db);
}

static int trace_cb(unsigned event, void *context, void *p, void *x)
{
	(void)context;
	pthread_mutex_lock(&registry.lock);
	if (event == SQLITE_TRACE_STMT)
		note_start(sqlite3_db_handle(p), x);
	else
		remove_running(p); /* closed: the handle is about to go */
	pthread_mutex_unlock(&registry.lock);
	return 0;
}

static int extension_init(sqlite3 *db, const char **message, const struct sqlite3_api_routines *api)
{
	(void)message;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_CLOSE, trace_cb, NULL);
}

void interrupt_install(void)
{
	(void)sqlite3_auto_extension((void (*)(void))extension_init); /* it fails without memory only */
}

uint64_t interrupt_next_id(void)
{
	uint64_t id;

	pthread_mutex_lock(&registry.lock);
	id = ++registry.last_id;
	pthread_mutex_unlock(&registry.lock);
	return id;
}

void interrupt_put_mark(struct buf *sql, uint64_t id)
{
	buf_printf(sql, MARK_PREFIX "%0*" PRIx64 "*/", MARK_DIGITS, id);
}

void interrupt_request(uint64_t id)
{
	size_t i;

	pthread_mutex_lock(&registry.lock);
	for (i = 0; i < registry.running_count; i++)
		if (registry.running[i].id == id)
			sqlite3_interrupt(
			        registry.running[i].db); /* the lock keeps its CLOSE event, and so the handle, waiting */
	if (!is_wanted(id)) {
		registry.wanted = grow(registry.wanted, registry.wanted_count, &registry.wanted_cap, sizeof(*registry.wanted));
		registry.wanted[registry.wanted_count++] = id;
	}
	pthread_mutex_unlock(&registry.lock);
}

void interrupt_forget(uint64_t id)
{
	size_t i;

	pthread_mutex_lock(&registry.lock);
	for (i = 0; i < registry.wanted_count; i++)
		if (registry.wanted[i] == id)
			registry.wanted[i--] = registry.wanted[--registry.wanted_count];
	pthread_mutex_unlock(&registry.lock);
}
