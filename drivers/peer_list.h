/* The addresses of the cluster's data nodes, which may replicate from the server here: named by the control process
 * (DBD_PEERS), kept in the instance's state directory, until then taken from the configuration. */
#ifndef DRIVERS_PEER_LIST_H
#define DRIVERS_PEER_LIST_H

#include "core/base/config.h"
#include "core/base/dbd_msg.h"
#include "core/base/err.h"

#include <stdbool.h>

#define PEER_LIST_FILE "peers" /* in <state_dir>/dbd/<group> */

struct peer_list {
	unsigned count;
	char address[DBD_MAX_PEERS][DBD_ADDRESS_SIZE]; /* numeric */
};

/* ERR_INVAL names what is no address, or the number that is too high; *ret is untouched then. */
int peer_list_take(const struct dbd_msg *m, struct peer_list *ret, struct err *e) MUST_USE;
bool peer_list_is_same(const struct peer_list *a, const struct peer_list *b);

/* The data nodes that have not been removed. */
void peer_list_from_config(const struct config *cfg, struct peer_list *ret);

/* One address a line. ERR_NOTFOUND: nobody has named any yet. ERR_INVAL: the file is damaged. */
int peer_list_load(const char *path, struct peer_list *ret, struct err *e) MUST_USE;
int peer_list_save(const char *path, const struct peer_list *l, struct err *e) MUST_USE;

#endif
