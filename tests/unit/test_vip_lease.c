#include "vipd/lease.h"

#include "core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A kernel that writes down what is asked of it: "open", "close", "add0", ... */
struct fake {
	char trace[512];
	int64_t now_ms;
	int64_t step_ms;     /* time that each opening of the fence takes */
	const char *failing; /* the step that fails */
	struct vip_set closed, opened;
	int64_t deadline_ms;
};

static struct fake k;
static struct lease_table t;
static struct allow allow = {
        .vips = {{.text = "10.0.0.1", .dev = "eth0"}, {.text = "10.0.0.2", .dev = "eth0"}},
        .vip_count = 2,
        .ports = {5432, 5433},
        .port_count = 2,
};

static int step(const char *name, struct err *e)
{
	size_t len = strlen(k.trace);

	snprintf(k.trace + len, sizeof k.trace - len, "%s%s", len > 0 ? " " : "", name);
	if (k.failing != NULL && strcmp(k.failing, name) == 0)
		return err_set(e, ERR_IO, "%s fails", name);
	return ERR_OK;
}

static int64_t now_ns(void *ctx)
{
	(void)ctx;
	return k.now_ms * CLOCK_NS_PER_MS;
}

static int fence_open(void *ctx, const struct vip_set *what, int64_t deadline_ns, struct err *e)
{
	(void)ctx;
	k.opened = *what;
	k.deadline_ms = deadline_ns / CLOCK_NS_PER_MS;
	k.now_ms += k.step_ms;
	return step("open", e);
}

static int fence_close(void *ctx, const struct vip_set *what, struct err *e)
{
	(void)ctx;
	k.closed = *what;
	return step("close", e);
}

static int address_set(void *ctx, unsigned vip, struct err *e)
{
	(void)ctx;
	return step(vip == 0 ? "add0" : "add1", e);
}

static int address_remove(void *ctx, unsigned vip, struct err *e)
{
	(void)ctx;
	return step(vip == 0 ? "del0" : "del1", e);
}

static void cut(void *ctx, const struct vip_set *what)
{
	(void)ctx;
	(void)what;
	assert_int_equal(step("cut", NULL), ERR_OK);
}

static void announce(void *ctx, unsigned vip, bool is_on)
{
	(void)ctx;
	(void)vip;
	assert_int_equal(step(is_on ? "tell" : "hush", NULL), ERR_OK);
}

static void complain(void *ctx, const char *owner, const struct err *e)
{
	(void)ctx;
	(void)owner;
	(void)e;
	assert_int_equal(step("complain", NULL), ERR_OK);
}

static void lapsed(void *ctx, const struct lease *l)
{
	(void)ctx;
	assert_false(l->is_held);
	assert_int_equal(step("lapsed", NULL), ERR_OK);
}

static const struct lease_ops ops = {now_ns, fence_open, fence_close, address_set, address_remove,
                                     cut,    announce,   complain,    lapsed};

static int reset(void **state)
{
	(void)state;
	memset(&k, 0, sizeof k);
	k.now_ms = 1000000;
	lease_init(&t, &allow, &ops, NULL);
	return 0;
}

static int take(const char *owner, uint64_t epoch, int64_t ms, struct vip_set what, struct err *e)
{
	struct lease_request r = {owner, epoch, (k.now_ms + ms) * CLOCK_NS_PER_MS, what};

	k.trace[0] = '\0';
	return lease_take(&t, &r, e);
}

static const struct vip_set first = {1, 1}, second = {2, 2}, port_only = {0, 1};

static void acquiring_opens_the_fence_before_the_address_is_there_and_announces_last(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, (struct vip_set){3, 1}, &e), ERR_OK);
	assert_string_equal(k.trace, "open add0 add1 tell tell");
	assert_int_equal(k.deadline_ms, k.now_ms + 800);
	assert_ptr_equal(lease_of_vip(&t, 1), lease_find(&t, "group:main"));
	assert_int_equal(lease_next_deadline(&t), (k.now_ms + 800) * CLOCK_NS_PER_MS);
}

static void renewing_only_moves_the_deadline(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	k.now_ms += 200;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	assert_string_equal(k.trace, "open");
	assert_int_equal(k.deadline_ms, k.now_ms + 800);
}

static void releasing_resets_clients_closes_and_removes_in_this_order(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	k.trace[0] = '\0';
	assert_int_equal(lease_release(&t, "group:main", 1, &e), ERR_OK);
	assert_string_equal(k.trace, "hush cut close del0");
	assert_null(lease_of_vip(&t, 0));
	assert_int_equal(lease_next_deadline(&t), 0);
	k.trace[0] = '\0';
	assert_int_equal(lease_release(&t, "group:main", 1, &e), ERR_OK);
	assert_int_equal(lease_release(&t, "nobody", 1, &e), ERR_OK);
	assert_string_equal(k.trace, "");
}

static void closing_goes_on_whatever_fails(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	k.failing = "close";
	k.trace[0] = '\0';
	assert_int_equal(lease_release(&t, "group:main", 1, &e), ERR_OK);
	assert_string_equal(k.trace, "hush cut close complain del0");
}

static void a_lease_of_ports_alone_touches_no_address(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, port_only, &e), ERR_OK);
	assert_string_equal(k.trace, "open");
	k.now_ms += 800;
	k.trace[0] = '\0';
	lease_expire(&t);
	assert_string_equal(k.trace, "cut close lapsed");
	assert_int_equal(k.closed.ports, 1);
}

static void a_lease_ends_at_its_deadline_not_after_it(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	k.trace[0] = '\0';
	k.now_ms += 799;
	lease_expire(&t);
	assert_string_equal(k.trace, "");
	k.now_ms += 1;
	assert_null(lease_of_vip(&t, 0));
	lease_expire(&t);
	assert_string_equal(k.trace, "hush cut close del0 lapsed");
	k.trace[0] = '\0';
	lease_expire(&t);
	lease_refresh_addresses(&t);
	assert_string_equal(k.trace, "");
}

static void a_lower_epoch_is_refused_even_when_the_lease_is_gone(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 7, 800, first, &e), ERR_OK);
	assert_int_equal(take("group:main", 6, 800, first, &e), ERR_REFUSED);
	assert_string_equal(k.trace, "");
	assert_non_null(lease_of_vip(&t, 0));
	assert_int_equal(lease_release(&t, "group:main", 6, &e), ERR_REFUSED);
	assert_int_equal(lease_release(&t, "group:main", 8, &e), ERR_OK);
	assert_int_equal(take("group:main", 7, 800, first, &e), ERR_REFUSED);
	assert_int_equal(take("leader", 1, 800, first, &e), ERR_OK);
}

static void two_owners_never_hold_the_same_thing(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	assert_int_equal(take("leader", 1, 800, (struct vip_set){1, 0}, &e), ERR_REFUSED);
	assert_string_equal(e.text, "10.0.0.1 is held by group:main");
	assert_int_equal(take("leader", 1, 800, (struct vip_set){2, 1}, &e), ERR_REFUSED);
	assert_string_equal(e.text, "port 5432 is held by group:main");
	assert_int_equal(take("leader", 1, 800, second, &e), ERR_OK);
	k.now_ms += 800;
	assert_int_equal(take("leader", 1, 800, first, &e), ERR_OK);
	assert_null(strstr(k.trace, "complain"));
}

static void what_a_renewal_no_longer_names_is_closed(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	assert_int_equal(take("group:main", 1, 800, second, &e), ERR_OK);
	assert_string_equal(k.trace, "hush cut close del0 open add1 tell");
	assert_int_equal(k.closed.vips, 1);
	assert_int_equal(k.closed.ports, 1);
	assert_int_equal(k.opened.vips, 2);
}

static void standing_still_between_the_clock_and_the_kernel_revokes(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	k.step_ms = 900;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_TIMEOUT);
	assert_string_equal(k.trace, "open add0 tell hush cut close del0");
	assert_null(lease_of_vip(&t, 0));
	assert_int_equal(lease_next_deadline(&t), 0);
}

static void a_deadline_that_has_passed_opens_nothing_and_ends_what_is_held(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 0, first, &e), ERR_TIMEOUT);
	assert_null(strstr(k.trace, "open"));
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	assert_int_equal(take("group:main", 1, -1, first, &e), ERR_TIMEOUT);
	assert_string_equal(k.trace, "hush cut close del0");
	assert_int_equal(take("group:main", 1, LEASE_MAX_MS + 1, first, &e), ERR_INVAL);
	assert_string_equal(k.trace, "");
}

static void a_step_that_fails_leaves_nothing_open(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	k.failing = "add1";
	assert_int_equal(take("group:main", 1, 800, (struct vip_set){3, 1}, &e), ERR_IO);
	assert_string_equal(k.trace, "open add0 add1 hush hush cut close del0 del1");
	k.failing = NULL;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	k.failing = "open";
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_IO);
	assert_string_equal(k.trace, "open hush cut close del0");
	assert_null(lease_of_vip(&t, 0));
}

static void addresses_are_renewed_only_while_leased(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(take("group:main", 1, 800, first, &e), ERR_OK);
	assert_int_equal(take("leader", 1, 300, second, &e), ERR_OK);
	k.trace[0] = '\0';
	lease_refresh_addresses(&t);
	assert_string_equal(k.trace, "add0 add1");
	k.now_ms += 300;
	k.trace[0] = '\0';
	lease_refresh_addresses(&t);
	assert_string_equal(k.trace, "hush cut close del1 lapsed add0");
	lease_drop_all(&t);
	assert_null(lease_of_vip(&t, 0));
}

static void owners_are_never_forgotten_for_others(void **state)
{
	struct err e = ERR_INIT;
	char name[24];
	int i;

	(void)state;
	for (i = 0; i < LEASE_MAX_OWNERS; i++) {
		snprintf(name, sizeof name, "group:g%d", i);
		assert_int_equal(take(name, 5, 10, port_only, &e), ERR_OK);
		assert_int_equal(lease_release(&t, name, 5, &e), ERR_OK);
	}
	assert_int_equal(take("group:more", 5, 10, port_only, &e), ERR_REFUSED);
	assert_int_equal(take("group:g0", 4, 10, port_only, &e), ERR_REFUSED);
	assert_int_equal(take("group:g0", 5, 10, port_only, &e), ERR_OK);
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(acquiring_opens_the_fence_before_the_address_is_there_and_announces_last),
	        TEST(renewing_only_moves_the_deadline),
	        TEST(releasing_resets_clients_closes_and_removes_in_this_order),
	        TEST(closing_goes_on_whatever_fails),
	        TEST(a_lease_of_ports_alone_touches_no_address),
	        TEST(a_lease_ends_at_its_deadline_not_after_it),
	        TEST(a_lower_epoch_is_refused_even_when_the_lease_is_gone),
	        TEST(two_owners_never_hold_the_same_thing),
	        TEST(what_a_renewal_no_longer_names_is_closed),
	        TEST(standing_still_between_the_clock_and_the_kernel_revokes),
	        TEST(a_deadline_that_has_passed_opens_nothing_and_ends_what_is_held),
	        TEST(a_step_that_fails_leaves_nothing_open),
	        TEST(addresses_are_renewed_only_while_leased),
	        TEST(owners_are_never_forgotten_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
