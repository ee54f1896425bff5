/* What is refused is logged once per address and reason; repeats are counted and told once a minute. */
#ifndef STORE_FRONT_REFUSAL_H
#define STORE_FRONT_REFUSAL_H

#include <stdint.h>

#define REFUSAL_KINDS 32 /* told apart; further ones are only counted */

struct refusals {
	struct refusal {
		char who[80], why[256]; /* who[0] == 0: free */
		int64_t since_ms;
		unsigned repeats;
	} list[REFUSAL_KINDS];
	unsigned others;
	int64_t others_since_ms;
};

void refusal_note(struct refusals *r, const char *who, const char *why, int64_t now_ms);
void refusal_tick(struct refusals *r, int64_t now_ms);

#endif
