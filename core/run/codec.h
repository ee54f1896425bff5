/* Frames between control processes as JSON: {"t":"hb"|"reply"|"order"|"release", ...}. Names on the wire, indices inside. */
#ifndef RUN_CODEC_H
#define RUN_CODEC_H

#include "core/base/config.h"
#include "core/base/err.h"
#include "core/control/report.h"

#include <jansson.h>
#include <stddef.h>

enum frame_type { FRAME_HEARTBEAT, FRAME_REPLY, FRAME_ORDER, FRAME_RELEASE };

/* A heartbeat and what its sender says about itself as a store member. */
struct hb_extra {
	char cluster_uuid[48]; /* "" not a member yet */
	char raft_id[24];
	char raft_address[64];
	char profile[16];
	uint64_t schema;                     /* newest version of the store's schema that its build knows; 0: it does not say */
	uint64_t schema_store;               /* that the store has, as far as it knows; 0: not known */
	uint64_t disk_free_mb, disk_percent; /* free, where its store lies; both 0: not known */
};

struct frame {
	enum frame_type type;
	struct heartbeat heartbeat; /* asks and reports point into the two arrays below */
	struct hb_extra extra;
	struct lease_ask asks[65];
	struct instance_report reports[64];
	struct lease_reply reply;
	struct order order;
	struct {
		char resource[LEASE_RESOURCE_SIZE];
		uint64_t value;
	} release;
};

/* Each returns a text to be freed with free(). */
char *codec_heartbeat(const struct config *c, const struct heartbeat *hb, const struct hb_extra *x);
char *codec_reply(const struct config *c, const struct lease_reply *r);
char *codec_order(const struct config *c, const struct order *o);
char *codec_release(const char *resource, uint64_t value);

/* Decode what `peer` sent; every field is checked, the sender is the link's peer whatever the text says. ERR_PROTOCOL names the
 * field. */
int codec_decode(const struct config *c, const char *peer, const char *json, size_t len, struct frame *ret,
                 struct err *e) MUST_USE;

/* Index of a node's name in the configuration, NODE_NONE. */
int codec_node(const struct config *c, const char *name);
/* "n1,n2"; buf of size bytes. Returns buf. */
char *codec_set_format(const struct config *c, node_set s, char *buf, size_t size);
/* False when a name is unknown: a set that lost a member would mean another majority, so such a set must not be used. */
bool codec_set_parse(const struct config *c, const char *names, node_set *ret) MUST_USE;

#endif
