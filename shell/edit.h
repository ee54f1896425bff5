/* Lines from the operator: with editing, history and completion on a terminal, plain ones from a pipe. */
#ifndef SHELL_EDIT_H
#define SHELL_EDIT_H

#include <jansson.h>

enum edit_result { EDIT_LINE, EDIT_CANCELLED /* Ctrl-C */, EDIT_END };

struct edit;

/* History is kept in ~/.mha_history, readable by its owner only. Never fails: without a terminal that works there is no
 * editing. */
struct edit *edit_new(void);
void edit_free(struct edit *ed); /* writes the history */

/* *ret_line is borrowed until the next call, without its line end. status (borrowed, may be NULL) is what completion knows of
 * names. */
enum edit_result edit_read(struct edit *ed, const char *prompt, const json_t *status, const char **ret_line);

/* Remember what was typed; several lines of one statement become one entry. */
void edit_remember(struct edit *ed, const char *text);

#endif
