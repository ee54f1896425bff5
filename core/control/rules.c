#include "core/control/rules.h"

/* First match wins, so the order within a state is the order of urgency. A row whose need and bar are 0 closes its state. One
 * row, one line. */
/* clang-format off */
const struct rule rules[] = {
    /* new: no primary was ever made */
    {110, STATE_NEW, F_ASSIGNED | F_FRESH, 0, STATE_CREATING, DO_CREATE, 0, "{primary} becomes the first primary"},
    {190, STATE_NEW, 0, 0, STATE_NEW, DO_STAY, 0, "waiting for {primary}, the first primary, to report"},

    /* creating: the first primary comes up */
    {210, STATE_CREATING, F_UP | F_LEASED, 0, STATE_STEADY, DO_FINISH, 0, "{primary} is up as the first primary"},
    {220, STATE_CREATING, F_FAILED, 0, STATE_CREATING, DO_STAY, 2, "{primary} cannot create the first primary: {error}"},
    {230, STATE_CREATING, F_LATE, 0, STATE_CREATING, DO_STAY, 2, "{primary} has not come up for two minutes: see its log"},
    {290, STATE_CREATING, 0, 0, STATE_CREATING, DO_STAY, 0, "{primary} is being created"},

    /* steady: one primary serves */
    {300, STATE_STEADY, F_PAUSE_ASKED, 0, STATE_STEADY, DO_PAUSE, 1, "paused by the operator: nothing is decided until resume"},
    {301, STATE_STEADY, F_RESUME_ASKED, 0, STATE_STEADY, DO_RESUME, 0, "resumed by the operator"},
    {302, STATE_STEADY, F_PAUSED | F_SWITCHOVER_ASKED, 0, STATE_STEADY, DO_REFUSE, 0, "the group is paused: resume it first"},
    {303, STATE_STEADY, F_PAUSED | F_FAILOVER_ASKED, 0, STATE_STEADY, DO_REFUSE, 0, "the group is paused: resume it first"},
    {305, STATE_STEADY, F_PAUSED, 0, STATE_STEADY, DO_STAY, 1, "paused by the operator: nothing is decided until resume"},
    {310, STATE_STEADY, F_DOWN | F_RESTART_FIRST, 0, STATE_RESTARTING, DO_RESTART, 1,
     "the server on {primary} has ended; policy: restart it in place first"},
    {312, STATE_STEADY, F_DOWN | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 1, "the server on {primary} has ended -> fail over"},
    {314, STATE_STEADY, F_DOWN, 0, STATE_RESTARTING, DO_RESTART, 2,
     "the server on {primary} has ended and nobody can take over ({why}) -> restart it in place"},
    {320, STATE_STEADY, F_CANDIDATE, F_FRESH | F_STREAMED, STATE_FENCING, DO_FENCE, 2,
     "{primary} is silent and no replica hears it -> fail over"},
    {322, STATE_STEADY, F_STREAMED, F_FRESH, STATE_STEADY, DO_STAY, 1, "{primary} is silent, but a replica still hears its server: wait"},
    {324, STATE_STEADY, 0, F_FRESH, STATE_STEADY, DO_STAY, 2, "{primary} is silent and nobody can take over: {why}"},
    {330, STATE_STEADY, F_STUCK | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 2, "the server on {primary} answers no probe -> fail over"},
    {332, STATE_STEADY, F_STUCK, 0, STATE_STEADY, DO_STAY, 2, "the server on {primary} answers no probe and nobody can take over: {why}"},
    {334, STATE_STEADY, F_UNSERVED | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 2, "{primary} is up but gets no lease -> fail over"},
    {340, STATE_STEADY, F_SWITCHOVER_ASKED | F_TARGET_READY | F_UP, 0, STATE_CHECKPOINT, DO_CHECKPOINT, 0,
     "switchover from {primary} to {target} asked for by the operator"},
    {342, STATE_STEADY, F_SWITCHOVER_ASKED, 0, STATE_STEADY, DO_REFUSE, 0, "no switchover: {unfit}"},
    {344, STATE_STEADY, F_FAILOVER_ASKED | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 1, "failover asked for by the operator"},
    {346, STATE_STEADY, F_FAILOVER_ASKED, 0, STATE_STEADY, DO_REFUSE, 0, "nobody can take over: {why}"},
    {350, STATE_STEADY, F_UP | F_SYNC_MOVES, 0, STATE_STEADY, DO_SYNC_SET, 0, "the synchronous set becomes {set}"},
    {360, STATE_STEADY, F_UP | F_LEASED | F_UNPROTECTED, 0, STATE_STEADY, DO_STAY, 1,
     "degraded to asynchronous: no standby is known to hold every commit"},
    {370, STATE_STEADY, F_UP | F_LEASED, 0, STATE_STEADY, DO_STAY, 0, ""},
    {380, STATE_STEADY, F_UP, 0, STATE_STEADY, DO_STAY, 1, "{primary} does not hold the lease yet: clients cannot reach it"},
    {390, STATE_STEADY, 0, 0, STATE_STEADY, DO_STAY, 1, "{primary} is not up as the primary of this epoch"},

    /* restarting: same primary, same epoch */
    {410, STATE_RESTARTING, F_UP | F_LEASED, 0, STATE_STEADY, DO_FINISH, 0, "{primary} serves again"},
    {420, STATE_RESTARTING, F_CANDIDATE, F_FRESH, STATE_FENCING, DO_FENCE, 2, "{primary} went silent while it was restarted -> fail over"},
    {430, STATE_RESTARTING, F_FAILED | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 2, "{primary} cannot be restarted ({error}) -> fail over"},
    {440, STATE_RESTARTING, F_LATE | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 2, "{primary} was not back in time -> fail over"},
    {450, STATE_RESTARTING, F_FAILED, 0, STATE_RESTARTING, DO_STAY, 2, "{primary} cannot be restarted ({error}) and nobody can take over: {why}"},
    {460, STATE_RESTARTING, 0, F_FRESH, STATE_RESTARTING, DO_STAY, 2, "{primary} is silent and nobody can take over: {why}"},
    {490, STATE_RESTARTING, 0, 0, STATE_RESTARTING, DO_STAY, 0, "{primary} is being restarted"},

    /* fencing: the old primary is stopped or loses its lease; replicas detach and report what they have */
    {510, STATE_FENCING, F_SYNC | F_SAFE | F_CANDIDATE, 0, STATE_PROMOTING, DO_PROMOTE_BEST, 1,
     "{best} has every acknowledged commit -> new primary"},
    {520, STATE_FENCING, F_COLLECTED | F_CANDIDATE, F_SYNC, STATE_PROMOTING, DO_PROMOTE_BEST, 1,
     "{best} is the most advanced replica -> new primary"},
    {530, STATE_FENCING, F_COLLECTED | F_CANDIDATE | F_FORCED, 0, STATE_PROMOTING, DO_PROMOTE_BEST, 2,
     "{best} -> new primary, forced by the operator: commits may be lost"},
    {535, STATE_FENCING, F_SYNC | F_FENCED | F_MISSING, F_FORCED, STATE_RESTARTING, DO_RESTART, 2,
     "{waiting} may hold commits that the others lack and cannot be asked -> {primary} is restarted in place"},
    {540, STATE_FENCING, F_FENCED | F_LATE, F_FORCED, STATE_RESTARTING, DO_RESTART, 2,
     "no failover within the time allowed ({why}) -> {primary} is restarted in place"},
    {550, STATE_FENCING, F_FENCED, F_CANDIDATE, STATE_RESTARTING, DO_RESTART, 2, "nobody can take over ({why}) -> {primary} is restarted in place"},
    {560, STATE_FENCING, F_CANDIDATE | F_SYNC, F_SAFE, STATE_FENCING, DO_STAY, 1,
     "waiting for {waiting}: they may hold commits that the others lack"},
    {570, STATE_FENCING, F_CANDIDATE, F_COLLECTED, STATE_FENCING, DO_STAY, 0, "waiting for the replicas to report their positions"},
    {590, STATE_FENCING, 0, 0, STATE_FENCING, DO_STAY, 2, "nobody can take over: {why}"},

    /* promoting: the epoch names the new primary */
    {610, STATE_PROMOTING, F_UP | F_LEASED, 0, STATE_STEADY, DO_FINISH, 0, "{primary} is the primary"},
    {620, STATE_PROMOTING, F_CANDIDATE, F_FRESH, STATE_FENCING, DO_FENCE, 2, "{primary} went silent while it was promoted -> fail over again"},
    {630, STATE_PROMOTING, F_FAILED | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 2, "{primary} cannot be promoted ({error}) -> fail over again"},
    {640, STATE_PROMOTING, F_LATE | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 2, "{primary} was not promoted in time -> fail over again"},
    {650, STATE_PROMOTING, F_FAILED, 0, STATE_PROMOTING, DO_STAY, 2, "{primary} cannot be promoted ({error}) and nobody else can: {why}"},
    {660, STATE_PROMOTING, F_UP, 0, STATE_PROMOTING, DO_STAY, 0, "{primary} is promoted and waits for the lease of its predecessor to end"},
    {690, STATE_PROMOTING, 0, 0, STATE_PROMOTING, DO_STAY, 0, "{primary} is being promoted"},

    /* checkpoint: a switchover writes out what it can while clients still work */
    {710, STATE_CHECKPOINT, F_CHECKPOINTED | F_TARGET_READY, 0, STATE_STOPPING, DO_STOP_OLD, 0, "{primary} stops writes for {target}"},
    {720, STATE_CHECKPOINT, F_DOWN | F_CANDIDATE, 0, STATE_FENCING, DO_FENCE, 1, "the server on {primary} has ended during the switchover -> fail over"},
    {722, STATE_CHECKPOINT, F_DOWN, 0, STATE_RESTARTING, DO_RESTART, 2, "the server on {primary} has ended and nobody can take over -> restart it"},
    {730, STATE_CHECKPOINT, F_CANDIDATE, F_FRESH | F_STREAMED, STATE_FENCING, DO_FENCE, 2, "{primary} went silent during the switchover -> fail over"},
    {740, STATE_CHECKPOINT, 0, F_TARGET_READY, STATE_STEADY, DO_ABANDON, 1, "switchover abandoned: {unfit}"},
    {750, STATE_CHECKPOINT, F_LATE, 0, STATE_STEADY, DO_ABANDON, 1, "switchover abandoned: the checkpoint took over a minute"},
    {790, STATE_CHECKPOINT, 0, 0, STATE_CHECKPOINT, DO_STAY, 0, "checkpoint on {primary} before the switchover"},

    /* stopping: no writes; the target receives the rest */
    {810, STATE_STOPPING, F_STOPPED_CLEAN | F_FENCED | F_TARGET_HAS_ALL, 0, STATE_PROMOTING, DO_PROMOTE_TARGET, 0,
     "{target} has everything -> new primary"},
    {820, STATE_STOPPING, F_CANDIDATE, F_FRESH, STATE_FENCING, DO_FENCE, 2, "{primary} went silent during the switchover -> fail over"},
    {830, STATE_STOPPING, F_LATE, 0, STATE_RESTARTING, DO_ABANDON, 1, "switchover abandoned: {target} did not get everything in time -> {primary} goes on"},
    {890, STATE_STOPPING, 0, 0, STATE_STOPPING, DO_STAY, 0, "{primary} stops, {target} receives the rest"},
};
/* clang-format on */

const size_t rule_count = sizeof rules / sizeof rules[0];

const char *rule_action_words(enum rule_action a)
{
	static const char *const words[RULE_ACTION_COUNT] = {
	        [DO_STAY] = "-",
	        [DO_SYNC_SET] = "commit the synchronous set",
	        [DO_CREATE] = "commit epoch 1, create the primary",
	        [DO_RESTART] = "bring the primary up again",
	        [DO_FENCE] = "stop the old primary, detach the replicas",
	        [DO_PROMOTE_BEST] = "commit a new epoch for the best candidate, promote it",
	        [DO_CHECKPOINT] = "checkpoint on the primary",
	        [DO_STOP_OLD] = "stop the old primary cleanly",
	        [DO_PROMOTE_TARGET] = "commit a new epoch for the target, promote it",
	        [DO_FINISH] = "close the operation: ok",
	        [DO_ABANDON] = "close the operation: failed",
	        [DO_REFUSE] = "refuse the command",
	        [DO_PAUSE] = "pause",
	        [DO_RESUME] = "resume",
	};

	return words[a];
}

const struct rule *rules_find(enum group_state state, fact_set facts)
{
	size_t i;

	for (i = 0; i < rule_count; i++)
		if (rules[i].state == state && (facts & rules[i].need) == rules[i].need && (facts & rules[i].bar) == 0)
			return &rules[i];
	return NULL;
}

/* An earlier row that asks for no more than a later one of its state takes every case of it: the later row can never fire. */
static bool is_shadowed(const struct rule *earlier, const struct rule *later)
{
	return earlier->state == later->state && (earlier->need & ~later->need) == 0 && (earlier->bar & ~later->bar) == 0;
}

int rules_check(struct err *e)
{
	size_t i, j;

	for (i = 0; i < rule_count; i++) {
		bool is_last = i + 1 == rule_count || rules[i + 1].state != rules[i].state;

		if (i > 0 && rules[i].number <= rules[i - 1].number)
			return err_set(e, ERR_INVAL, "rule %d: numbers must grow", rules[i].number);
		if ((rules[i].need & rules[i].bar) != 0)
			return err_set(e, ERR_INVAL, "rule %d needs and bars the same fact", rules[i].number);
		if (is_last != (rules[i].need == 0 && rules[i].bar == 0))
			return err_set(e, ERR_INVAL, "rule %d: each state ends in its one row without guards", rules[i].number);
		for (j = 0; j < i; j++)
			if (is_shadowed(&rules[j], &rules[i]))
				return err_set(e, ERR_INVAL, "rule %d can never fire: rule %d takes its cases", rules[i].number,
				               rules[j].number);
	}
	return ERR_OK;
}

static void document_facts(struct buf *out, fact_set facts, const char *prefix, bool *is_first)
{
	int i;

	for (i = 0; i < FACT_COUNT; i++) {
		if ((facts >> i & 1) == 0)
			continue;
		buf_printf(out, "%s%s%s", *is_first ? "" : "; ", prefix, fact_words((enum fact_index)i));
		*is_first = false;
	}
}

void rules_document(struct buf *out)
{
	size_t i;

	buf_puts(out, "# The rules of failover\n\n"
	              "Generated from `core/control/rules.c` (`fsm-document`); a test fails when this page differs. First "
	              "match within a state wins.\n"
	              "The reason is what the log, the event table, the shell and the API say.\n\n"
	              "| rule | state | when | next | action | reason |\n|--|--|--|--|--|--|\n");
	for (i = 0; i < rule_count; i++) {
		const struct rule *r = &rules[i];
		bool is_first = true;

		buf_printf(out, "| %d | %s | ", r->number, group_state_name(r->state));
		document_facts(out, r->need, "", &is_first);
		document_facts(out, r->bar, "not: ", &is_first);
		buf_printf(out, "%s | %s | %s | %s |\n", is_first ? "otherwise" : "",
		           r->next == r->state ? "-" : group_state_name(r->next), rule_action_words(r->action),
		           r->reason[0] != '\0' ? r->reason : "(healthy)");
	}
}
