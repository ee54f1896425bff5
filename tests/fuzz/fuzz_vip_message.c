/* Messages to mha-vipd: what the control process may ask of a program with network privileges. Input: records of one struct
 * vip_msg each, and the time that passes between them. The check and the leases behind it are the real ones; after every step
 * nothing may be open that is not allowed, held for two owners, or past its deadline. */
#include "core/base/clock.h"
#include "core/base/str.h"
#include "tests/fuzz/fuzz.h"
#include "vipd/lease.h"
#include "vipd/protocol.h"

#include <arpa/inet.h>
#include <string.h>

struct world {
	int64_t now_ns;
	struct allow allow;
	struct lease_table table;
	int64_t open_until_ns[64]; /* vips, then ports; 0: closed */
	uint32_t addresses;
	uint64_t epochs[4]; /* highest that an owner "group:<i>" was granted */
	uint8_t failures;   /* bits: which operations fail */
};

static int outcome(const struct world *w, unsigned bit, struct err *e)
{
	return (w->failures >> bit & 1) != 0 ? err_set(e, ERR_IO, "made to fail") : ERR_OK;
}

static int64_t now_ns(void *ctx)
{
	return ((struct world *)ctx)->now_ns;
}

static void set_open(struct world *w, const struct vip_set *what, int64_t until_ns)
{
	unsigned i;

	for (i = 0; i < 32; i++) {
		if ((what->vips >> i & 1) != 0)
			w->open_until_ns[i] = until_ns;
		if ((what->ports >> i & 1) != 0)
			w->open_until_ns[32 + i] = until_ns;
	}
}

static int fence_open(void *ctx, const struct vip_set *what, int64_t deadline_ns, struct err *e)
{
	struct world *w = ctx;

	FUZZ_CHECK(deadline_ns > w->now_ns && deadline_ns - w->now_ns <= LEASE_MAX_MS * CLOCK_NS_PER_MS);
	if (outcome(w, 0, e) != ERR_OK)
		return ERR_IO;
	set_open(w, what, deadline_ns);
	return ERR_OK;
}

static int fence_close(void *ctx, const struct vip_set *what, struct err *e)
{
	set_open(ctx, what, 0);
	return outcome(ctx, 1, e);
}

static int address_set(void *ctx, unsigned vip, struct err *e)
{
	struct world *w = ctx;

	FUZZ_CHECK(vip < w->allow.vip_count);
	w->addresses |= UINT32_C(1) << vip;
	return outcome(w, 2, e);
}

static int address_remove(void *ctx, unsigned vip, struct err *e)
{
	struct world *w = ctx;

	FUZZ_CHECK(vip < w->allow.vip_count);
	w->addresses &= ~(UINT32_C(1) << vip);
	return outcome(w, 3, e);
}

static void cut_clients(void *ctx, const struct vip_set *what)
{
	(void)ctx;
	(void)what;
}

static void announce(void *ctx, unsigned vip, bool is_on)
{
	(void)is_on;
	FUZZ_CHECK(vip < ((struct world *)ctx)->allow.vip_count);
}

static void complain(void *ctx, const char *owner, const struct err *e)
{
	(void)ctx;
	FUZZ_CHECK(owner[0] != '\0' && e->text[0] != '\0');
}

static void lapsed(void *ctx, const struct lease *l)
{
	FUZZ_CHECK(l->deadline_ns <= ((struct world *)ctx)->now_ns);
}

static const struct lease_ops ops = {now_ns,      fence_open, fence_close, address_set, address_remove,
                                     cut_clients, announce,   complain,    lapsed};

static void check(const struct world *w)
{
	struct vip_set seen = {0, 0};
	unsigned i;

	for (i = 0; i < LEASE_MAX_OWNERS; i++) {
		const struct lease *l = &w->table.leases[i];

		if (!l->is_held) {
			FUZZ_CHECK(l->what.vips == 0 && l->what.ports == 0);
			continue;
		}
		FUZZ_CHECK(l->owner[0] != '\0' && memchr(l->owner, '\0', sizeof l->owner) != NULL);
		FUZZ_CHECK((seen.vips & l->what.vips) == 0 && (seen.ports & l->what.ports) == 0);
		seen.vips |= l->what.vips;
		seen.ports |= l->what.ports;
	}
	FUZZ_CHECK(seen.vips >> w->allow.vip_count == 0 && seen.ports >> w->allow.port_count == 0);
	/* An address is there for a lease only; what the kernel keeps open lapses by itself. */
	FUZZ_CHECK((w->addresses & ~seen.vips) == 0);
	for (i = 0; i < 32; i++) {
		FUZZ_CHECK(w->open_until_ns[i] <= w->now_ns || (seen.vips >> i & 1) != 0);
		FUZZ_CHECK(w->open_until_ns[32 + i] <= w->now_ns || (seen.ports >> i & 1) != 0);
	}
}

/* Nobody holds anything under an epoch that is over. */
static void check_epoch(struct world *w, const struct vip_msg *m)
{
	size_t i = strncmp(m->owner, "group:", 6) == 0 ? (size_t)(m->owner[6] - '0') : 4;

	if (i >= 4 || m->owner[7] != '\0')
		return;
	FUZZ_CHECK(m->epoch >= w->epochs[i]);
	w->epochs[i] = m->epoch;
}

static void request(struct world *w, const struct vip_msg *m)
{
	struct vip_set what = {0, 0};
	struct err e = ERR_INIT;
	struct lease_request r = {.owner = m->owner, .epoch = m->epoch, .deadline_ns = m->deadline_ns};
	int rc = protocol_check(m, &w->allow, &what, &e);

	if (rc != ERR_OK) {
		FUZZ_CHECK(e.text[0] != '\0' && what.vips == 0 && what.ports == 0);
		return;
	}
	FUZZ_CHECK(what.vips >> w->allow.vip_count == 0 && what.ports >> w->allow.port_count == 0);
	r.what = what;
	if (m->type == VIP_LEASE)
		rc = lease_take(&w->table, &r, &e);
	else if (m->type == VIP_RELEASE)
		rc = lease_release(&w->table, m->owner, m->epoch, &e);
	FUZZ_CHECK(rc == ERR_OK || e.text[0] != '\0');
	if (rc == ERR_OK && m->type == VIP_LEASE)
		check_epoch(w, m);
}

/* Most bytes of a message matter little: the few that do come from the input one by one, so that many get through the check. */
static void make(struct fuzz_input *in, const struct world *w, struct vip_msg *m)
{
	uint8_t kind = fuzz_byte(in), where = fuzz_byte(in);
	unsigned i;

	memset(m, 0, sizeof *m);
	m->version = VIP_MSG_VERSION;
	m->type = (uint16_t)(1 + kind % 4);
	m->seq = 1;
	m->epoch = fuzz_byte(in);
	m->deadline_ns = w->now_ns + (int64_t)fuzz_byte(in) * 150 * CLOCK_NS_PER_MS;
	snprintf(m->owner, sizeof m->owner, "group:%u", where & 3);
	m->addr_count = (uint16_t)(where >> 2 & 3);
	m->port_count = (uint16_t)(where >> 4 & 3);
	for (i = 0; i < m->addr_count; i++)
		protocol_put_address(&m->addrs[i], w->allow.vips[((where >> 6) + i) % 3].addr);
	for (i = 0; i < m->port_count; i++)
		m->ports[i] = (uint16_t)(5432 + ((where >> 6) + i) % 4);
}

static void init(struct world *w)
{
	unsigned i;

	memset(w, 0, sizeof *w);
	w->now_ns = CLOCK_NS_PER_MS;
	str_copy(w->allow.path, sizeof w->allow.path, "vip.allow");
	for (i = 0; i < 3; i++) {
		w->allow.vips[i].addr.s_addr = htonl(0x0a000064 + i);
		snprintf(w->allow.vips[i].text, sizeof w->allow.vips[i].text, "10.0.0.%u", 100 + i);
		w->allow.ports[i] = (uint16_t)(5432 + i);
	}
	w->allow.vip_count = w->allow.port_count = 3;
	lease_init(&w->table, &w->allow, &ops, w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct fuzz_input in = {data, size};
	struct vip_msg m;

	init(&w);
	while (in.left > 0) {
		uint8_t what = fuzz_byte(&in);

		/* The daemon's loop: timers come before messages. */
		w.now_ns += (int64_t)(what & 0x3f) * 100 * CLOCK_NS_PER_MS;
		lease_expire(&w.table);
		check(&w);
		if ((what & 0x80) != 0) {
			memset(&m, 0, sizeof m);
			(void)fuzz_bytes(&in, &m, sizeof m);
		} else {
			w.failures = (what & 0x40) != 0 ? fuzz_byte(&in) : 0;
			make(&in, &w, &m);
		}
		request(&w, &m);
		check(&w);
	}
	return 0;
}
