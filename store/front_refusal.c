#include "store/front_refusal.h"

#include "core/base/log.h"
#include "core/base/str.h"

#include <string.h>

#define PERIOD_MS 60000
#define OBJECT    "raft port"

void refusal_note(struct refusals *r, const char *who, const char *why, int64_t now_ms)
{
	struct refusal *free_one = NULL;

	for (unsigned i = 0; i < REFUSAL_KINDS; i++) {
		struct refusal *one = &r->list[i];

		if (one->who[0] == '\0') {
			free_one = one;
		} else if (strcmp(one->who, who) == 0 && strcmp(one->why, why) == 0) {
			one->repeats++;
			return;
		}
	}
	if (free_one == NULL) {
		if (r->others++ == 0)
			r->others_since_ms = now_ms;
		return;
	}
	str_copy(free_one->who, sizeof free_one->who, who);
	str_copy(free_one->why, sizeof free_one->why, why);
	free_one->since_ms = now_ms;
	free_one->repeats = 0;
	log_warn(OBJECT, "%s: %s", free_one->who, free_one->why);
}

void refusal_tick(struct refusals *r, int64_t now_ms)
{
	for (unsigned i = 0; i < REFUSAL_KINDS; i++) {
		struct refusal *one = &r->list[i];

		if (one->who[0] == '\0' || now_ms - one->since_ms < PERIOD_MS)
			continue;
		if (one->repeats > 0)
			log_warn(OBJECT, "%s: %s (%u more in the last minute)", one->who, one->why, one->repeats);
		else
			one->who[0] = '\0';
		one->since_ms = now_ms;
		one->repeats = 0;
	}
	if (r->others > 0 && now_ms - r->others_since_ms >= PERIOD_MS) {
		log_warn(OBJECT,
		         "%u more connections were refused in the last minute, for further reasons or from further addresses",
		         r->others);
		r->others = 0;
	}
}
