#include "core/control/quorum_lease.h"

#include "core/base/str.h"

#include <stdlib.h>
#include <string.h>

/* The LEASE_BREAK_... lines take one safety rule away each. Only the simulator's self-test compiles them, to show that it
 * notices. */

#define FIRST_SLOTS 8

void lease_voter_init(struct lease_voter *v, int64_t now_ms, int64_t term_ms)
{
	memset(v, 0, sizeof *v);
	v->start_ms = now_ms;
	v->term_ms = term_ms;
}

void lease_voter_done(struct lease_voter *v)
{
	free(v->slots);
	memset(v, 0, sizeof *v);
}

bool lease_voter_set(struct lease_voter *v, const struct voter_set *set)
{
#ifndef LEASE_BREAK_OLD_SET
	if (set->number <= v->set.number || set->members == 0)
		return false;
#endif
	v->set = *set;
	return true;
}

static struct lease_voter_slot *find_slot(const struct lease_voter *v, const char *resource)
{
	for (size_t i = 0; i < v->slot_count; i++) {
		if (strcmp(v->slots[i].resource, resource) == 0)
			return &v->slots[i];
	}
	return NULL;
}

/* The slot of resource, a new one if need be. NULL: the table is full, or the name is too long to be told apart. */
static struct lease_voter_slot *need_slot(struct lease_voter *v, const char *resource)
{
	struct lease_voter_slot *slot = find_slot(v, resource);
	bool is_full = v->slot_count >= FIRST_SLOTS && (v->slot_count & (v->slot_count - 1)) == 0;

	if (slot != NULL)
		return slot;
	if (v->slot_count == LEASE_MAX_RESOURCES || strlen(resource) >= LEASE_RESOURCE_SIZE)
		return NULL;
	/* The room doubles at every power of two, so the count alone says when. */
	if (v->slots == NULL)
		v->slots = mem_alloc(FIRST_SLOTS * sizeof *v->slots);
	else if (is_full)
		v->slots = mem_resize(v->slots, 2 * v->slot_count * sizeof *v->slots);
	slot = &v->slots[v->slot_count++];
	memset(slot, 0, sizeof *slot);
	str_copy(slot->resource, sizeof slot->resource, resource);
	return slot;
}

static enum lease_answer answer_wait(enum lease_answer answer, int64_t wait_ms, int64_t *ret_busy_ms)
{
	if (ret_busy_ms != NULL)
		*ret_busy_ms = wait_ms;
	return answer;
}

enum lease_answer lease_voter_ask(struct lease_voter *v, int64_t now_ms, const char *resource, uint64_t value,
                                  uint64_t set_number, int64_t *ret_busy_ms)
{
	struct lease_voter_slot *slot;

	if (set_number < v->set.number)
		return LEASE_OLD_SET;
#ifndef LEASE_BREAK_RESTART_WAIT
	/* What this voter granted before it forgot has lapsed at the end of its first L: it had started to run before the
	 * start. */
	if (now_ms < v->start_ms + v->term_ms)
		return answer_wait(LEASE_STARTING, v->start_ms + v->term_ms - now_ms, ret_busy_ms);
#endif
	slot = need_slot(v, resource);
	if (slot == NULL)
		return answer_wait(LEASE_BUSY, v->term_ms, ret_busy_ms);
	/* From the first request for a higher value on the lower one is not renewed: that is how a new holder's turn comes. */
	if (value < slot->highest)
		return LEASE_STALE;
	slot->highest = value;
#ifndef LEASE_BREAK_EXCLUSIVITY
	if (slot->value != value && now_ms < slot->until_ms)
		return answer_wait(LEASE_BUSY, slot->until_ms - now_ms, ret_busy_ms);
#endif
	slot->value = value;
	slot->until_ms = now_ms + v->term_ms;
	return LEASE_GRANTED;
}

void lease_voter_release(struct lease_voter *v, const char *resource, uint64_t value)
{
	struct lease_voter_slot *slot = find_slot(v, resource);

	if (slot != NULL && slot->value == value)
		slot->until_ms = 0;
}

void lease_hold(struct lease_holder *h, const char *resource, uint64_t value, int64_t term_ms)
{
	if (value <= h->value)
		return;
	/* Rounds of an earlier value, or of the same value before it was given up, must never count: their grants may be gone.
	 */
	memset(h, 0, sizeof *h);
	str_copy(h->resource, sizeof h->resource, resource);
	h->value = value;
	h->term_ms = term_ms;
}

void lease_drop(struct lease_holder *h)
{
	h->value = 0;
	h->until_ms = 0;
	h->retry_ms = 0;
	memset(h->rounds, 0, sizeof h->rounds);
}

void lease_round_sent(struct lease_holder *h, int64_t now_ms, uint64_t number, const struct voter_set *set)
{
	struct lease_round *round = &h->rounds[number % LEASE_ROUNDS];

	round->number = number;
	round->sent_ms = now_ms;
	round->set_number = set->number;
	round->granted = 0;
}

/* How long a lease lasts after its round was sent. Two clocks that are off by 1% each differ by less than the margin, but at
 * short terms only by a fraction of a millisecond less, and the voter's time of receipt was rounded down to whole milliseconds:
 * one more pays for that. */
static int64_t safe_term_ms(int64_t term_ms)
{
	return term_ms * (100 - LEASE_MARGIN_PERCENT) / 100 - 1;
}

/* The time from which the lease of a granted round counts: a voter's own count started at its receipt, which was later. */
static int64_t count_from_ms(const struct lease_holder *h, const struct lease_round *round)
{
	int64_t from_ms = round->sent_ms;

#ifdef LEASE_BREAK_COUNT_LATE /* as if the answer granted from about its receipt: the newest sending before it */
	for (size_t i = 0; i < LEASE_ROUNDS; i++) {
		if (h->rounds[i].sent_ms > from_ms)
			from_ms = h->rounds[i].sent_ms;
	}
#endif
	(void)h;
	return from_ms;
}

bool lease_answered(struct lease_holder *h, int voter, uint64_t value, uint64_t number, const struct voter_set *set)
{
	struct lease_round *round = &h->rounds[number % LEASE_ROUNDS];
	int64_t until_ms;

	if (value == 0 || value != h->value || number == 0 || round->number != number || round->set_number != set->number)
		return false;
	if (voter < 0 || voter >= MAX_NODES || (set->members & node_bit(voter)) == 0)
		return false;
	round->granted |= node_bit(voter);
	if (2 * node_set_count(round->granted) <= node_set_count(set->members))
		return false;
	until_ms = count_from_ms(h, round) + safe_term_ms(h->term_ms);
	if (until_ms <= h->until_ms)
		return false;
	h->until_ms = until_ms;
	return true;
}

bool lease_is_valid(const struct lease_holder *h, int64_t now_ms)
{
	return h->value != 0 && now_ms < h->until_ms;
}

void lease_settling_note(struct lease_settling *s, int64_t now_ms, uint64_t number)
{
	if (number <= s->number)
		return;
	s->number = number;
	s->since_ms = now_ms;
}

bool lease_is_settled(const struct lease_settling *s, int64_t now_ms, uint64_t number, int64_t term_ms)
{
	return number != 0 && s->number == number && now_ms - s->since_ms > term_ms;
}
