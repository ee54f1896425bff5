#include "vipd/ruleset.h"

#include <arpa/inet.h>

/* nft 1.0.6 cannot delete a table that may be missing; "add" makes sure that it is there. Families and names in pairs. */
void ruleset_unload(const char *name, struct buf *out)
{
	buf_printf(out,
	           "add table inet %s\ndelete table inet %s\n"
	           "add table arp %s\ndelete table arp %s\n"
	           "add table inet %s_db\ndelete table inet %s_db\n",
	           name, name, name, name, name, name);
}

/* nft 1.0.6 wants a newline before every closing brace, and refuses an empty list of elements. */
static void put_addresses(struct buf *out, const char *set, const struct in_addr *addr, size_t stride, unsigned count)
{
	char text[INET_ADDRSTRLEN];
	unsigned i;

	buf_printf(out, "\tset %s {\n\t\ttype ipv4_addr\n", set);
	for (i = 0; i < count; i++) {
		const struct in_addr *a = (const struct in_addr *)(const void *)((const char *)addr + i * stride);

		inet_ntop(AF_INET, a, text, sizeof text);
		buf_printf(out, "%s%s", i == 0 ? "\t\telements = { " : ", ", text);
	}
	buf_puts(out, count > 0 ? " }\n\t}\n" : "\t}\n");
}

static void put_ports(struct buf *out, const struct allow *a)
{
	unsigned i;

	buf_puts(out, "\tset ports {\n\t\ttype inet_service\n");
	for (i = 0; i < a->port_count; i++)
		buf_printf(out, "%s%u", i == 0 ? "\t\telements = { " : ", ", a->ports[i]);
	buf_puts(out, a->port_count > 0 ? " }\n\t}\n" : "\t}\n");
}

static void put_lease(struct buf *out, const char *type)
{
	buf_printf(out, "\tset lease {\n\t\ttype %s\n\t\tflags timeout\n\t}\n", type);
}

static void put_vips(struct buf *out, const struct allow *a)
{
	put_addresses(out, "vips", &a->vips[0].addr, sizeof a->vips[0], a->vip_count);
	put_lease(out, "ipv4_addr");
}

void ruleset_load(const struct allow *a, const char *name, struct buf *out)
{
	struct in_addr peers[ALLOW_ALL_PEERS];
	unsigned peer_count = allow_peers(a, peers);

	ruleset_unload(name, out);
	/* Both directions: one packet that a former owner sends from the VIP poisons its neighbours' caches again. */
	buf_printf(out, "table inet %s {\n", name);
	put_vips(out, a);
	buf_puts(out, "\tchain in {\n\t\ttype filter hook input priority -10; policy accept;\n"
	              "\t\tip daddr @vips ip daddr != @lease counter drop\n\t}\n"
	              "\tchain out {\n\t\ttype filter hook output priority -10; policy accept;\n"
	              "\t\tip saddr @vips ip saddr != @lease counter drop\n\t}\n}\n");
	buf_printf(out, "table arp %s {\n", name);
	put_vips(out, a);
	buf_puts(out, "\tchain in {\n\t\ttype filter hook input priority 0; policy accept;\n"
	              "\t\tarp daddr ip @vips arp daddr ip != @lease counter drop\n\t}\n"
	              "\tchain out {\n\t\ttype filter hook output priority 0; policy accept;\n"
	              "\t\tarp saddr ip @vips arp saddr ip != @lease counter drop\n\t}\n}\n");
	/* Every packet is checked, not only the first of a connection, so established clients are cut as well. */
	buf_printf(out, "table inet %s_db {\n", name);
	put_ports(out, a);
	put_lease(out, "inet_service");
	put_addresses(out, "peers", peers, sizeof peers[0], peer_count);
	buf_puts(out, "\tchain in {\n\t\ttype filter hook input priority -5; policy accept;\n"
	              "\t\tiifname \"lo\" accept\n\t\tip saddr @peers accept\n"
	              "\t\ttcp dport @ports tcp dport != @lease counter reject with tcp reset\n\t}\n}\n");
}
