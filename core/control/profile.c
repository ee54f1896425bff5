#include "core/control/control.h"

#include <string.h>

/* Silence is three quarters of a lease: the decision, the new epoch and the promotion fit into the rest of it, and the lease is
 * what the new primary waits for. */
static const struct profile profiles[] = {
        {"fast", 800, 200, 600, 20},
        {"default", 1500, 200, 1100, 40},
        {"relaxed", 4000, 200, 3000, 100},
};

const struct profile *profile_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof profiles / sizeof profiles[0]; i++)
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	return NULL;
}
