#include "vipd/lease.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <inttypes.h>
#include <string.h>

void lease_init(struct lease_table *t, const struct allow *allow, const struct lease_ops *ops, void *ctx)
{
	memset(t, 0, sizeof *t);
	t->allow = allow;
	t->ops = ops;
	t->ctx = ctx;
}

static int index_of(const struct lease_table *t, const char *owner)
{
	int i;

	for (i = 0; i < LEASE_MAX_OWNERS; i++)
		if (t->leases[i].owner[0] != '\0' && strcmp(t->leases[i].owner, owner) == 0)
			return i;
	return -1;
}

const struct lease *lease_find(const struct lease_table *t, const char *owner)
{
	int i = index_of(t, owner);

	return i >= 0 ? &t->leases[i] : NULL;
}

const struct lease *lease_of_vip(const struct lease_table *t, unsigned vip)
{
	int64_t now = t->ops->now_ns(t->ctx);
	unsigned i;

	for (i = 0; i < LEASE_MAX_OWNERS; i++) {
		const struct lease *l = &t->leases[i];

		if (l->is_held && l->deadline_ns > now && (l->what.vips >> vip & 1) != 0)
			return l;
	}
	return NULL;
}

/* Connections are reset while the VIP may still send; then the gate closes; the address goes last (nobody can reach it). */
static void close_set(struct lease_table *t, const char *owner, const struct vip_set *what)
{
	struct err e = ERR_INIT;
	unsigned i;

	if (what->vips == 0 && what->ports == 0)
		return;
	for (i = 0; i < t->allow->vip_count; i++)
		if ((what->vips >> i & 1) != 0)
			t->ops->announce(t->ctx, i, false);
	t->ops->cut_clients(t->ctx, what);
	if (t->ops->fence_close(t->ctx, what, &e) != ERR_OK)
		t->ops->complain(t->ctx, owner, &e);
	for (i = 0; i < t->allow->vip_count; i++)
		if ((what->vips >> i & 1) != 0 && t->ops->address_remove(t->ctx, i, &e) != ERR_OK)
			t->ops->complain(t->ctx, owner, &e);
}

static void drop(struct lease_table *t, struct lease *l)
{
	struct vip_set what = l->what;

	l->is_held = false;
	l->what = (struct vip_set){0, 0};
	close_set(t, l->owner, &what);
}

static int check_epoch(const struct lease *l, uint64_t epoch, struct err *e)
{
	if (l != NULL && epoch < l->epoch)
		return err_set(e, ERR_REFUSED, "epoch %" PRIu64 " of %s is older than %" PRIu64 ", which was seen before",
		               epoch, l->owner, l->epoch);
	return ERR_OK;
}

/* One address or port is never open for two owners. */
static int check_free(const struct lease_table *t, const struct lease_request *r, struct err *e)
{
	unsigned i, bit;

	for (i = 0; i < LEASE_MAX_OWNERS; i++) {
		const struct lease *l = &t->leases[i];

		if (!l->is_held || strcmp(l->owner, r->owner) == 0)
			continue;
		for (bit = 0; bit < t->allow->vip_count; bit++)
			if ((l->what.vips & r->what.vips) >> bit & 1)
				return err_set(e, ERR_REFUSED, "%s is held by %s", t->allow->vips[bit].text, l->owner);
		for (bit = 0; bit < t->allow->port_count; bit++)
			if ((l->what.ports & r->what.ports) >> bit & 1)
				return err_set(e, ERR_REFUSED, "port %u is held by %s", t->allow->ports[bit], l->owner);
	}
	return ERR_OK;
}

static int find_slot(struct lease_table *t, const char *owner, struct lease **ret, struct err *e)
{
	int i = index_of(t, owner);

	if (i < 0)
		for (i = 0; i < LEASE_MAX_OWNERS && t->leases[i].owner[0] != '\0'; i++)
			;
	/* A slot is never taken from another owner: its highest epoch must stay known. */
	if (i == LEASE_MAX_OWNERS)
		return err_set(e, ERR_REFUSED, "%d owners are known already; restart mha-vipd to forget them",
		               LEASE_MAX_OWNERS);
	*ret = &t->leases[i];
	return ERR_OK;
}

static int open_addresses(struct lease_table *t, uint32_t vips, struct err *e)
{
	unsigned i;
	int rc;

	for (i = 0; i < t->allow->vip_count; i++) {
		if ((vips >> i & 1) == 0)
			continue;
		rc = t->ops->address_set(t->ctx, i, e);
		if (rc != ERR_OK)
			return rc;
	}
	for (i = 0; i < t->allow->vip_count; i++)
		if ((vips >> i & 1) != 0)
			t->ops->announce(t->ctx, i, true);
	return ERR_OK;
}

static int check_request(struct lease_table *t, const struct lease_request *r, struct err *e)
{
	int64_t left_ms = (r->deadline_ns - t->ops->now_ns(t->ctx)) / CLOCK_NS_PER_MS;
	int rc;

	if (left_ms > LEASE_MAX_MS)
		return err_set(e, ERR_INVAL, "the deadline is %" PRId64 " ms away; %d ms is the most", left_ms, LEASE_MAX_MS);
	rc = check_epoch(lease_find(t, r->owner), r->epoch, e);
	return rc != ERR_OK ? rc : check_free(t, r, e);
}

static int check_deadline(const struct lease_table *t, const struct lease *l, struct err *e)
{
	if (t->ops->now_ns(t->ctx) >= l->deadline_ns)
		return err_set(e, ERR_TIMEOUT, "the deadline of %s's lease has passed", l->owner);
	return ERR_OK;
}

static int open_set(struct lease_table *t, struct lease *l, uint32_t new_vips, struct err *e)
{
	int rc = check_deadline(t, l, e);

	if (rc == ERR_OK)
		rc = t->ops->fence_open(t->ctx, &l->what, l->deadline_ns, e);
	if (rc == ERR_OK)
		rc = open_addresses(t, new_vips, e);
	/* The process may have stood still between reading the clock and the kernel's doing: look again afterwards. */
	return rc == ERR_OK ? check_deadline(t, l, e) : rc;
}

int lease_take(struct lease_table *t, const struct lease_request *r, struct err *e)
{
	struct vip_set gone;
	struct lease *l = NULL;
	uint32_t new_vips;
	int rc;

	lease_expire(t);
	rc = check_request(t, r, e);
	if (rc == ERR_OK)
		rc = find_slot(t, r->owner, &l, e);
	if (rc != ERR_OK)
		return rc;
	gone = (struct vip_set){l->what.vips & ~r->what.vips, l->what.ports & ~r->what.ports};
	new_vips = r->what.vips & ~l->what.vips;
	str_copy(l->owner, sizeof l->owner, r->owner);
	l->epoch = r->epoch;
	l->deadline_ns = r->deadline_ns;
	l->what = r->what;
	l->is_held = true;
	close_set(t, l->owner, &gone);
	rc = open_set(t, l, new_vips, e);
	/* Half a lease is nobody's intention. */
	if (rc != ERR_OK)
		drop(t, l);
	return rc;
}

int lease_release(struct lease_table *t, const char *owner, uint64_t epoch, struct err *e)
{
	int i = index_of(t, owner), rc;
	struct lease *l;

	if (i < 0)
		return ERR_OK;
	l = &t->leases[i];
	rc = check_epoch(l, epoch, e);
	if (rc != ERR_OK)
		return rc;
	l->epoch = epoch;
	if (l->is_held)
		drop(t, l);
	return ERR_OK;
}

void lease_expire(struct lease_table *t)
{
	int64_t now = t->ops->now_ns(t->ctx);
	unsigned i;

	for (i = 0; i < LEASE_MAX_OWNERS; i++) {
		struct lease *l = &t->leases[i];

		if (!l->is_held || l->deadline_ns > now)
			continue;
		drop(t, l);
		t->ops->lapsed(t->ctx, l);
	}
}

void lease_drop_all(struct lease_table *t)
{
	unsigned i;

	for (i = 0; i < LEASE_MAX_OWNERS; i++)
		if (t->leases[i].is_held)
			drop(t, &t->leases[i]);
}

void lease_refresh_addresses(struct lease_table *t)
{
	struct err e = ERR_INIT;
	unsigned i;

	lease_expire(t);
	for (i = 0; i < t->allow->vip_count; i++) {
		const struct lease *l = lease_of_vip(t, i);

		if (l != NULL && t->ops->address_set(t->ctx, i, &e) != ERR_OK)
			t->ops->complain(t->ctx, l->owner, &e);
	}
}

int64_t lease_next_deadline(const struct lease_table *t)
{
	int64_t next = 0;
	unsigned i;

	for (i = 0; i < LEASE_MAX_OWNERS; i++) {
		const struct lease *l = &t->leases[i];

		if (l->is_held && (next == 0 || l->deadline_ns < next))
			next = l->deadline_ns;
	}
	return next;
}
