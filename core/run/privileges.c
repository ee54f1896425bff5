#include "core/run/privileges.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static const cap_value_t kept[] = {CAP_SETUID, CAP_SETGID, CAP_KILL, CAP_NET_ADMIN, CAP_NET_RAW};
#define KEPT_COUNT (sizeof kept / sizeof kept[0])

static bool is_kept(cap_value_t cap)
{
	size_t i;

	for (i = 0; i < KEPT_COUNT; i++)
		if (kept[i] == cap)
			return true;
	return false;
}

/* Permitted, effective and inheritable: what we have and keep. Ambient capabilities beyond them end by themselves. */
static int keep(struct err *e)
{
	cap_t caps = cap_get_proc();
	cap_value_t cap;
	int rc = ERR_OK;

	if (caps == NULL)
		return err_sys(e, errno, "capabilities");
	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!is_kept(cap) && (cap_set_flag(caps, CAP_EFFECTIVE, 1, &cap, CAP_CLEAR) != 0 ||
		                      cap_set_flag(caps, CAP_PERMITTED, 1, &cap, CAP_CLEAR) != 0 ||
		                      cap_set_flag(caps, CAP_INHERITABLE, 1, &cap, CAP_CLEAR) != 0))
			break;
	if (cap <= CAP_LAST_CAP || cap_set_proc(caps) != 0)
		rc = err_sys(e, errno, "dropping capabilities");
	cap_free(caps);
	return rc;
}

int privileges_reduce(struct err *e)
{
	cap_value_t cap;
	int rc;

	/* Shrinking the bounding set takes CAP_SETPCAP, so it goes first; who has none cannot gain anything through it either.
	 */
	for (cap = 0; cap_get_bound(cap) >= 0; cap++)
		if (!is_kept(cap) && cap_drop_bound(cap) != 0)
			break;
	rc = keep(e);
	if (rc != ERR_OK)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_sys(e, errno, "no_new_privs");
	umask(077);
	return ERR_OK;
}
