/* The processes of a database server, found by what they are: their working directory is the data directory and their program
 * has the server's name. Works for a server that another guard started, and for children whose postmaster is gone. Reads only
 * links in /proc that need no lock of the process, so that a process stuck in the kernel cannot hold the reader up. */
#ifndef DRIVERS_PROCS_H
#define DRIVERS_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* data_dir without symbolic links, as the functions below want it; buf must hold PATH_MAX bytes. May touch the disk. Returns
 * buf. */
char *procs_real_dir(const char *data_dir, char *buf);

/* Is this process one of the server's (and not a zombie)? */
bool procs_is_server(pid_t pid, const char *real_dir, const char *program);

/* The one whose parent is not itself one of the server's, 0: none runs. */
pid_t procs_find_main(const char *real_dir, const char *program);

/* Send sig (0: only count) to all but the process `except`. Returns how many there are. */
size_t procs_signal(const char *real_dir, const char *program, int sig, pid_t except);

#endif
