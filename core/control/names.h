/* Sizes of names, and sets of nodes as bits: node i of a controller's view is bit i. */
#ifndef CONTROL_NAMES_H
#define CONTROL_NAMES_H

#include <stdint.h>

#define NAME_SIZE 40
#define MAX_NODES 16 /* nodes of one cluster, voters and standbys */
#define MAX_VIPS  8  /* addresses of one owner */
#define NODE_NONE (-1)

typedef uint32_t node_set;

static inline node_set node_bit(int node)
{
	return node < 0 ? 0 : (node_set)1 << node;
}

static inline int node_set_count(node_set s)
{
	return __builtin_popcount(s);
}

#endif
