/* For the processes that have private keys and passwords in their memory. */
#ifndef BASE_SECRECY_H
#define BASE_SECRECY_H

/* No core dumps, no other process of the same OS user may look into this one, and what it makes is for its owner only (umask
 * 077). With MHA_CORE_DUMPS in the environment the first two stay allowed, for whoever has to debug it. */
void secrecy_begin(void);

#endif
