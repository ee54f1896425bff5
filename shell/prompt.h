/* The prompt: commands as on the command line, SQL ended by ';', backslash commands. */
#ifndef SHELL_PROMPT_H
#define SHELL_PROMPT_H

#include "shell/shell.h"

/* Read and run lines until the end of input or quit. On a terminal what fails is reported and the prompt goes on (SHELL_OK at
 * the end); from a pipe the first failure ends it with its exit code. base: what the command line said, kept for each line. */
enum shell_exit prompt_run(struct shell *sh, const struct options *base);

/* The prompt's text for a status (NULL: no node answers) into b: "lab[leader:n1 ok]> ". */
void prompt_text(struct buf *b, const json_t *status, bool in_transaction);

/* Does a line with this first word begin SQL? */
bool prompt_is_sql(const char *line);

#endif
