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

struct counted {
	uint64_t id, changes;
	bool has_ended;
};

static struct {
	pthread_mutex_t lock;
	uint64_t last_id;
	struct running *running;
	size_t running_count, running_cap;
	uint64_t *wanted; /* to be stopped when they start */
	size_t wanted_count, wanted_cap;
	struct counted *counted; /* whose changes somebody will ask for; in the order in which they run */
	size_t counted_count, counted_cap;
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

/* 0: no mark. */
static uint64_t id_of(const char *sql)
{
	if (sql == NULL || strncmp(sql, MARK_PREFIX, strlen(MARK_PREFIX)) != 0)
		return 0;
	return strtoull(sql + strlen(MARK_PREFIX), NULL, 16);
}

static void note_start(sqlite3 *db, const char *sql)
{
	uint64_t id = id_of(sql);

	if (sql == NULL || strncmp(sql, "--", 2) == 0) /* a trigger inside the statement that was noted */
		return;
	remove_running(db);
	if (id == 0)
		return;
	registry.running = grow(registry.running, registry.running_count, &registry.running_cap, sizeof(*registry.running));
	registry.running[registry.running_count++] = (struct running){db, id};
	if (is_wanted(id))
		sqlite3_interrupt(db);
}

static void note_end(sqlite3_stmt *stmt)
{
	uint64_t id = registry.counted_count > 0 ? id_of(sqlite3_sql(stmt)) : 0;
	size_t i;

	for (i = 0; i < registry.counted_count && id != 0; i++)
		if (registry.counted[i].id == id) {
			registry.counted[i].changes = (uint64_t)sqlite3_changes64(sqlite3_db_handle(stmt));
			registry.counted[i].has_ended = true;
			return;
		}
}

static int trace_cb(unsigned event, void *context, void *p, void *x)
{
	(void)context;
	pthread_mutex_lock(&registry.lock);
	if (event == SQLITE_TRACE_STMT)
		note_start(sqlite3_db_handle(p), x);
	else if (event == SQLITE_TRACE_PROFILE)
		note_end(p);
	else
		remove_running(p); /* closed: the handle is about to go */
	pthread_mutex_unlock(&registry.lock);
	return 0;
}

static int extension_init(sqlite3 *db, const char **message, const struct sqlite3_api_routines *api)
{
	(void)message;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE | SQLITE_TRACE_CLOSE, trace_cb, NULL);
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

void interrupt_count(uint64_t id)
{
	pthread_mutex_lock(&registry.lock);
	registry.counted = grow(registry.counted, registry.counted_count, &registry.counted_cap, sizeof(*registry.counted));
	registry.counted[registry.counted_count++] = (struct counted){.id = id};
	pthread_mutex_unlock(&registry.lock);
}

bool interrupt_take_count(uint64_t id, uint64_t *ret)
{
	struct counted found = {0};
	size_t i;

	pthread_mutex_lock(&registry.lock);
	for (i = 0; i < registry.counted_count; i++)
		if (registry.counted[i].id == id) {
			found = registry.counted[i];
			registry.counted_count--;
			memmove(registry.counted + i, registry.counted + i + 1,
			        (registry.counted_count - i) * sizeof(*registry.counted));
			break;
		}
	pthread_mutex_unlock(&registry.lock);
	*ret = found.changes;
	return found.has_ended;
}
