#include "core/base/dbd_msg.h"

#include <stddef.h>
#include <string.h>

#define IS_ENDED(text) (memchr(text, '\0', sizeof(text)) != NULL)

static bool is_report_sound(const struct dbd_report *r)
{
	size_t i;

	if (r->process > DBD_PROC_STOPPING || r->role > DBD_ROLE_REPLICA || r->standby_count > DBD_MAX_STANDBYS)
		return false;
	for (i = 0; i < r->standby_count; i++)
		if (!IS_ENDED(r->standbys[i].name))
			return false;
	return IS_ENDED(r->system_id) && IS_ENDED(r->upstream) && IS_ENDED(r->sync_members) && IS_ENDED(r->position_text) &&
	       IS_ENDED(r->last_error);
}

bool dbd_msg_is_sound(const struct dbd_msg *m)
{
	size_t i;

	for (i = 0; i < DBD_MAX_PEERS; i++)
		if (!IS_ENDED(m->peers[i]))
			return false;
	return IS_ENDED(m->peer_node) && IS_ENDED(m->peer_host) && IS_ENDED(m->system_id) && IS_ENDED(m->sync_members) &&
	       IS_ENDED(m->text) && is_report_sound(&m->report);
}
