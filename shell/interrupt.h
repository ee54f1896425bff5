/* Ctrl-C while something runs: a flag instead of the end of the program, where there is something better to do than to end. */
#ifndef SHELL_INTERRUPT_H
#define SHELL_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

/* From here on SIGINT only sets the flag; *ret_old is what interrupt_release restores. Waiting system calls are interrupted. */
void interrupt_catch(struct sigaction *ret_old);
void interrupt_release(const struct sigaction *old);

bool interrupt_is_set(void);
void interrupt_clear(void);

#endif
