/* What stands behind the SQL front end in fuzz_sql_session: every function here takes the place of the real one at link time
 * (--wrap), answers later, and answers what the script says. */
#ifndef FUZZ_SQL_WORLD_H
#define FUZZ_SQL_WORLD_H

#include "store/frontend/internal.h"

#include <stdbool.h>
#include <stdint.h>

#define WORLD_SCRIPT_SIZE 16

void world_reset(struct frontend *f, const uint8_t script[WORLD_SCRIPT_SIZE]);

/* One request is answered, or one timer fires, or the leadership changes. False: nothing was waiting. */
bool world_turn(struct frontend *f);

/* No request is on its way: nobody has forgotten one. */
bool world_is_idle(void);

#endif
