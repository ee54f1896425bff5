#include "core/base/secrecy.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

void secrecy_begin(void)
{
	const struct rlimit none = {0, 0};

	umask(077);
#ifndef __SANITIZE_ADDRESS__ /* the leak check looks into its own process from outside */
	if (getenv("MHA_CORE_DUMPS") != NULL)
		return;
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#else
	(void)none;
#endif
}
