/* What TAB offers at the prompt. */
#ifndef SHELL_COMPLETE_H
#define SHELL_COMPLETE_H

#include <jansson.h>
#include <stddef.h>

/* The words that can stand at the end of `line` (the text before the cursor) and begin like its last word, at most cap of them:
 * nouns, verbs, options of the command, and names of groups and nodes from status (the last known; may be NULL). *ret_word is
 * the unfinished word within line. Returns how many; the words are borrowed from the command table and from status. */
size_t complete_line(const char *line, const json_t *status, const char **ret, size_t cap, const char **ret_word);

#endif
