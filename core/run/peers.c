/* Who may be linked with, and what a node makes of being refused. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/run/control.h"

#include <stdio.h>
#include <string.h>

#define OUTCAST_MS 3000

static void note_refusal(struct control *c, const char *peer)
{
	if (c->refused_by == 0)
		c->refused_ms = clock_now_ms();
	c->refused_by |= node_bit(codec_node(c->config, peer));
}

/* Refused by most of the others for a while and taken in by nobody: this node is set up wrongly, and waiting does not help. One
 * wrong host alone never stops a good one, and a leader is a cluster of its own. */
bool peers_is_outcast(const struct control *c, int64_t now)
{
	int others = (int)c->config->nodes_count - 1;

	return c->refused_by != 0 && now - c->refused_ms > OUTCAST_MS && !c->has_accepted_member && !c->is_leader &&
	       node_set_count(c->refused_by) * 2 > others;
}

bool peers_hello(void *arg, const char *peer, const char *json, char *reason, size_t size)
{
	struct control *c = arg;
	json_t *o = json_loads(json, 0, NULL);
	const char *cluster = json_string_value(json_object_get(o, "cluster"));
	const char *uuid = json_string_value(json_object_get(o, "uuid"));
	const char *address = json_string_value(json_object_get(o, "address"));
	const struct config_node *n = config_find_node(c->config, peer);

	reason[0] = '\0';
	if (cluster == NULL || uuid == NULL || address == NULL || n == NULL)
		snprintf(reason, size, "node \"%s\" did not say who it is", peer);
	else if (n->is_removed)
		snprintf(reason, size,
		         "node \"%s\" was removed from the cluster: empty its state directory and join with a new token", peer);
	else if (strcmp(cluster, c->config->cluster) != 0)
		snprintf(reason, size,
		         "node \"%s\" belongs to cluster \"%s\", this is \"%s\": correct `cluster` or `nodes` in its node.yaml",
		         peer, cluster, c->config->cluster);
	else if (uuid[0] != '\0' && c->member.is_member && strcmp(uuid, c->member.uuid) != 0)
		snprintf(reason, size,
		         "node \"%s\" is a member of another cluster (uuid %s, this is %s): empty its state directory before "
		         "it joins",
		         peer, uuid, c->member.uuid);
	else if (strcmp(address, n->address) != 0)
		snprintf(reason, size,
		         "two hosts are named \"%s\": it is listed at %s, another one says so at %s; give each host a name of "
		         "its own",
		         peer, n->address, address);
	else if (uuid[0] != '\0')
		c->members_met |= node_bit(codec_node(c->config, peer));
	if (reason[0] != '\0' && uuid != NULL && uuid[0] != '\0' && c->member.is_member)
		note_refusal(c, peer);
	json_decref(o);
	return reason[0] == '\0';
}

void peers_up(void *arg, const char *peer)
{
	struct control *c = arg;

	/* Both sides have agreed: a member of the cluster has taken this node in. */
	if ((c->members_met & node_bit(codec_node(c->config, peer))) != 0)
		c->has_accepted_member = true;
	c->refused_by &= ~node_bit(codec_node(c->config, peer));
	log_info("peer", "linked with %s", peer);
	nodes_link_up(c, peer);
}

void peers_down(void *arg, const char *peer, const char *reason)
{
	log_info("peer", "link with %s is down: %s", peer, reason);
	forward_link_down(arg, peer);
}

void peers_refused(void *arg, const char *peer, const char *reason)
{
	struct control *c = arg;

	/* The dialler tries again every second: said once. */
	if ((c->refused_by & node_bit(codec_node(c->config, peer))) == 0)
		log_error("peer", "%s refuses this node: %s", peer, reason);
	note_refusal(c, peer);
}
