/* The fixed firewall rules of the fence as text for the `nft` program. */
#ifndef VIPD_RULESET_H
#define VIPD_RULESET_H

#include "core/base/str.h"
#include "vipd/allow.h"

#define RULESET_DEFAULT_NAME "mha"
#define RULESET_NAME_SIZE    40

/* One atomic transaction that replaces tables `inet NAME`, `arp NAME` and `inet NAME_db`; their lease sets are empty
 * afterwards, so everything is closed. Appended to out. */
void ruleset_load(const struct allow *a, const char *name, struct buf *out);

/* One atomic transaction that removes the three tables, also when they are not there. */
void ruleset_unload(const char *name, struct buf *out);

#endif
