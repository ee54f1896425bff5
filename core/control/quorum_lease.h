/* The quorum lease: one mechanism for every exclusive role (DESIGN section 4).
 *
 * A VOTER grants one value of a resource at a time, exclusively, for L from the receipt of the request; it never goes back to a
 * lower value, and for its first L after a start it grants nothing (it may have granted to somebody before it forgot). A
 * HOLDER's lease is valid until (the time it SENT the newest round that a majority granted) + L, shortened by
 * LEASE_MARGIN_PERCENT.
 *
 * Why two holders never overlap: take the majorities that granted two values; they share a voter. It granted the first value at
 * its receipt r1 >= s1 (the sending), and may grant another only after r1 + L on its own clock; the holder counts from s1,
 * shortened by more than two clocks that are each off by 1% can differ. So the first lease has ended before the second can
 * begin. A restarted voter cannot break this, because what it forgot has lapsed when it grants again. Pure: no clock inside,
 * times in ms of the caller's CLOCK_BOOTTIME. */
#ifndef CONTROL_QUORUM_LEASE_H
#define CONTROL_QUORUM_LEASE_H

#include "core/control/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_MARGIN_PERCENT 2
#define LEASE_MAX_RESOURCES  512
#define LEASE_ROUNDS         16 /* rounds of a holder that may still be answered */
#define LEASE_RESOURCE_SIZE  (NAME_SIZE + 8)

/* The members whose majority counts, numbered: a higher number replaces a lower one. Bits are indices in the cluster's node
 * list. */
struct voter_set {
	uint64_t number;
	node_set members;
};

enum lease_answer {
	LEASE_GRANTED,
	LEASE_BUSY,     /* another value is out: busy_ms says how long at the most */
	LEASE_STALE,    /* a higher value was asked for before */
	LEASE_STARTING, /* this voter has just started */
	LEASE_OLD_SET   /* the request's voter set is older than this voter's */
};

struct lease_voter_slot {
	char resource[LEASE_RESOURCE_SIZE];
	uint64_t value;   /* granted last */
	uint64_t highest; /* asked for, ever */
	int64_t until_ms; /* of the grant */
};

struct lease_voter {
	int64_t start_ms;
	int64_t term_ms; /* L */
	struct voter_set set;
	struct lease_voter_slot *slots; /* owned */
	size_t slot_count;
};

void lease_voter_init(struct lease_voter *v, int64_t now_ms, int64_t term_ms);
void lease_voter_done(struct lease_voter *v);

/* A newer set is taken; an older one, or one without members (this process does not know them all yet), is ignored. Returns
 * true when it was taken. */
bool lease_voter_set(struct lease_voter *v, const struct voter_set *set);

/* Answer one request. *ret_busy_ms (may be NULL) is set for LEASE_BUSY and LEASE_STARTING: how long to wait before asking
 * again. */
enum lease_answer lease_voter_ask(struct lease_voter *v, int64_t now_ms, const char *resource, uint64_t value,
                                  uint64_t set_number, int64_t *ret_busy_ms);

/* The holder of value stops on purpose: its grant ends now. Another value's grant is left alone. */
void lease_voter_release(struct lease_voter *v, const char *resource, uint64_t value);

struct lease_round {
	uint64_t number;
	int64_t sent_ms;
	uint64_t set_number;
	node_set granted;
};

struct lease_holder {
	char resource[LEASE_RESOURCE_SIZE];
	uint64_t value;   /* 0: not wanted */
	int64_t term_ms;  /* L */
	int64_t until_ms; /* valid while now < until_ms; 0: never yet */
	int64_t retry_ms; /* a voter said busy: the earliest time at which asking again can help; 0: none */
	struct lease_round rounds[LEASE_ROUNDS]; /* a ring by number */
};

/* Want resource under value. A higher value starts anew; the same or a lower one changes nothing. */
void lease_hold(struct lease_holder *h, const char *resource, uint64_t value, int64_t term_ms);

/* Stop wanting: no longer valid from now on. The caller tells the voters (lease_voter_release). */
void lease_drop(struct lease_holder *h);

/* Record that a round is being sent now under set; number grows. */
void lease_round_sent(struct lease_holder *h, int64_t now_ms, uint64_t number, const struct voter_set *set);

/* Record one voter's answer to a round. Returns true when until_ms moved. Answers for an unknown round, another value, a voter
 * that is not in the set or an older set than `set` are ignored. */
bool lease_answered(struct lease_holder *h, int voter, uint64_t value, uint64_t number, const struct voter_set *set);

bool lease_is_valid(const struct lease_holder *h, int64_t now_ms);

/* When the voter set may change again. Majorities of sets that differ by one voter meet in a voter that grants to one side
 * only; those of sets two changes apart need not meet. So before a set follows set n nobody may hold, or ever get, a lease of a
 * set below n. The time since n was committed proves nothing of that: voters that are cut off may not have heard of n and go on
 * granting among themselves. What proves it is a lease granted under n: then a majority of n, and with it a voter of every
 * majority of the set before, has taken n and grants nothing below it any more (it keeps n on disk before it answers); and L
 * later what they had granted before has ended. */
struct lease_settling {
	uint64_t number;  /* of the newest set under which a majority has granted */
	int64_t since_ms; /* when this was first seen */
};
/* lease_answered said that a majority has granted under set `number`. */
void lease_settling_note(struct lease_settling *s, int64_t now_ms, uint64_t number);
/* Set `number` may be followed by another one. */
bool lease_is_settled(const struct lease_settling *s, int64_t now_ms, uint64_t number, int64_t term_ms);

#endif
