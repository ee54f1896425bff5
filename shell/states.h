/* How nodes, instances, addresses and their states are shown; shared by the commands that show them. */
#ifndef SHELL_STATES_H
#define SHELL_STATES_H

#include "shell/output.h"

/* A state's colour: what is as it should be, what is on its way, what is not. COLOUR_WARN for words that we do not know. */
enum cell_colour states_colour(const char *state);

/* A cell with a state in its colour; NULL: not known. */
void states_cell(struct table *t, const char *state);

/* The word itself, in its colour where there is colour. */
void states_print(const struct out *o, const char *state);

/* Columns and rows for the "instances" of a group, the "vips" of a reply. */
void states_instances(struct table *t, const json_t *group);
void states_vips(struct table *t, const json_t *reply);

/* Print the members `keys` (ended by NULL) of each object of an array as CSV. */
void states_csv(const struct out *o, const json_t *array, const char *const *keys, bool with_titles);

#endif
