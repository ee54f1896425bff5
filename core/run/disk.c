/* Room where the store lies. Each node says in its heartbeat how much is free; the controller writes the events. A node that
 * has nearly none left leads no longer if another one can: a leader that cannot write takes the store down with it for an
 * election. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define LOOK_MS         2000
#define EVENT_MS        5000
#define MOVE_MS         10000
#define WARNING_PERCENT 15
#define WARNING_MB      200
#define LEADER_MB       64
#define LIMIT_MAX       (1 << 20)
#define SLACK           2 /* per cent, and a tenth of the MB: an alarm ends clearly above where it began */

static uint64_t limit_of(uint64_t policy, uint64_t standard)
{
	return policy != 0 ? policy : standard;
}

void disk_policy(struct control *c, const char *name, const char *value)
{
	struct disk_limits *l = &c->disk.limits;
	uint64_t n;

	if (value == NULL || str_to_u64(value, name, 1, LIMIT_MAX, &n, NULL) != ERR_OK)
		return;
	if (strcmp(name, DISK_PERCENT_POLICY) == 0)
		l->percent = n;
	else if (strcmp(name, DISK_MB_POLICY) == 0)
		l->mb = n;
	else if (strcmp(name, DISK_LEADER_POLICY) == 0)
		l->leader_mb = n;
}

static bool is_low(const struct disk_limits *l, uint64_t free_mb, uint64_t percent, bool was_low)
{
	uint64_t mb = limit_of(l->mb, WARNING_MB);
	uint64_t min_percent = limit_of(l->percent, WARNING_PERCENT) + (was_low ? SLACK : 0),
	         min_mb = mb + (was_low ? mb / 10 : 0);

	return (free_mb != 0 || percent != 0) && (percent < min_percent || free_mb < min_mb);
}

static void look(struct control *c)
{
	struct statvfs fs;
	char path[512];
	bool was = c->disk.is_said;

	snprintf(path, sizeof path, "%s/store", c->config->state_dir);
	if (statvfs(path, &fs) != 0 || fs.f_blocks == 0)
		return;
	c->disk.free_mb = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
	c->disk.percent = (uint64_t)fs.f_bavail * 100 / fs.f_blocks;
	if (c->disk.free_mb == 0 && c->disk.percent == 0)
		c->disk.percent = 1; /* both 0 mean: not known */
	c->disk.is_said = is_low(&c->disk.limits, c->disk.free_mb, c->disk.percent, was);
	if (c->disk.is_said && !was)
		log_warn("disk", "%" PRIu64 " MB (%" PRIu64 " %%) are free under %s: free some space, or the store stops here",
		         c->disk.free_mb, c->disk.percent, path);
	else if (was && !c->disk.is_said)
		log_info("disk", "%" PRIu64 " MB (%" PRIu64 " %%) are free again under %s", c->disk.free_mb, c->disk.percent,
		         path);
}

static void write_event(struct control *c, int node, bool is_alarm, const struct hb_extra *x)
{
	struct buf b = {0};

	persist_guard(&b, c->generation);
	buf_printf(&b,
	           "INSERT INTO event (at, generation, severity, text) VALUES (%" PRId64 ", %" PRIu64
	           ", '%s', 'node %s: %" PRIu64 " MB (%" PRIu64 " %%) are free for the store%s');SELECT 1",
	           clock_wall_ms(), c->generation, is_alarm ? "warning" : "info", c->config->nodes[node].name, x->disk_free_mb,
	           x->disk_percent, is_alarm ? ": free some space there" : " again");
	store_session_query(c->store, b.data, EVENT_MS, NULL, NULL);
	buf_done(&b);
}

/* As controller: what the nodes say, own one included. */
static void judge(struct control *c)
{
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++) {
		const struct hb_extra own = {.disk_free_mb = c->disk.free_mb, .disk_percent = c->disk.percent};
		const struct hb_extra *x = (int)i == c->self ? &own : &c->last[i].extra;
		bool was = (c->disk.alarmed & node_bit((int)i)) != 0,
		     is = is_low(&c->disk.limits, x->disk_free_mb, x->disk_percent, was);

		if (is == was)
			continue;
		c->disk.alarmed ^= node_bit((int)i);
		write_event(c, (int)i, is, x);
	}
}

/* A data node that votes, is heard, and has room; the one with the most. */
static int find_roomy(const struct control *c, int64_t now)
{
	uint64_t enough_mb = limit_of(c->disk.limits.leader_mb, LEADER_MB) * 2;
	const struct voter_set *v = agent_voters(c->agent);
	int best = NODE_NONE;
	unsigned i;

	for (i = 0; i < c->config->nodes_count; i++) {
		const struct last_heartbeat *l = &c->last[i];

		if ((int)i == c->self || l->json == NULL || (v->members & node_bit((int)i)) == 0 ||
		    strcmp(c->config->nodes[i].role, "arbiter") == 0 || now - l->at_ms > c->member.profile->silence_ms ||
		    l->extra.disk_free_mb < enough_mb)
			continue;
		if (best == NODE_NONE || l->extra.disk_free_mb > c->last[best].extra.disk_free_mb)
			best = (int)i;
	}
	return best;
}

static void give_leadership_away(struct control *c, int64_t now)
{
	int node = find_roomy(c, now);

	if (node == NODE_NONE || now - c->disk.moved_ms < MOVE_MS)
		return;
	c->disk.moved_ms = now;
	log_warn("disk", "%" PRIu64 " MB are left here -> the leadership goes to %s", c->disk.free_mb,
	         c->config->nodes[node].name);
	leadership_transfer(c, node, "the disk is nearly full here");
}

void disk_tick(struct control *c)
{
	int64_t now = clock_now_ms();

	if (now - c->disk.looked_ms < LOOK_MS)
		return;
	c->disk.looked_ms = now;
	look(c);
	if (c->leadership != LEADERSHIP_ACTIVE || c->agent == NULL) {
		c->disk.alarmed = 0;
		return;
	}
	judge(c);
	if (c->disk.percent != 0 && c->disk.free_mb < limit_of(c->disk.limits.leader_mb, LEADER_MB))
		give_leadership_away(c, now);
}
