#include "vipd/allow.h"

#include "core/base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WORDS 5

static int parse_address(const char *word, const char *what, struct in_addr *ret, struct err *e)
{
	if (strchr(word, ':') != NULL)
		return err_set(e, ERR_INVAL, "%s \"%s\" is an IPv6 address; only IPv4 is supported", what, word);
	if (inet_pton(AF_INET, word, ret) != 1)
		return err_set(e, ERR_INVAL, "%s \"%s\" is no IPv4 address", what, word);
	return ERR_OK;
}

static bool is_host_address(struct in_addr addr)
{
	uint32_t a = ntohl(addr.s_addr);

	return a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 14;
}

static int add_vip(struct allow *a, char **words, unsigned count, struct err *e)
{
	struct allow_vip v = {0};
	char *slash;
	int rc;

	if (count != 4 || strcmp(words[2], "dev") != 0)
		return err_set(e, ERR_INVAL, "write \"vip ADDRESS/32 dev INTERFACE\"");
	slash = strchr(words[1], '/');
	/* A /24 VIP would be deleted together with the interface's own address, and chosen as a source address. */
	if (slash != NULL && strcmp(slash, "/32") != 0)
		return err_set(e, ERR_INVAL, "vip \"%s\": the prefix must be /32", words[1]);
	if (slash != NULL)
		*slash = '\0';
	rc = parse_address(words[1], "vip", &v.addr, e);
	if (rc != ERR_OK)
		return rc;
	if (!is_host_address(v.addr))
		return err_set(e, ERR_INVAL, "vip \"%s\" is not an address that a host can have", words[1]);
	if (!str_copy(v.dev, sizeof v.dev, words[3]))
		return err_set(e, ERR_INVAL, "interface \"%s\" is longer than %zu characters", words[3], sizeof v.dev - 1);
	if (allow_find_vip(a, v.addr) >= 0)
		return err_set(e, ERR_INVAL, "vip \"%s\" is listed twice", words[1]);
	if (a->vip_count == ALLOW_MAX_VIPS)
		return err_set(e, ERR_INVAL, "more than %d vips", ALLOW_MAX_VIPS);
	inet_ntop(AF_INET, &v.addr, v.text, sizeof v.text);
	a->vips[a->vip_count++] = v;
	return ERR_OK;
}

static int add_port(struct allow *a, char **words, unsigned count, struct err *e)
{
	uint64_t port;
	int rc;

	if (count != 2)
		return err_set(e, ERR_INVAL, "write \"port NUMBER\"");
	rc = str_to_u64(words[1], "port", 1, 65535, &port, e);
	if (rc != ERR_OK)
		return rc;
	if (allow_find_port(a, (uint16_t)port) >= 0)
		return err_set(e, ERR_INVAL, "port %s is listed twice", words[1]);
	if (a->port_count == ALLOW_MAX_PORTS)
		return err_set(e, ERR_INVAL, "more than %d ports", ALLOW_MAX_PORTS);
	a->ports[a->port_count++] = (uint16_t)port;
	return ERR_OK;
}

static int add_peer(struct allow *a, char **words, unsigned count, struct err *e)
{
	struct in_addr addr;
	int rc;

	if (count != 2)
		return err_set(e, ERR_INVAL, "write \"peer ADDRESS\"");
	rc = parse_address(words[1], "peer", &addr, e);
	if (rc != ERR_OK)
		return rc;
	if (allow_is_peer(a, addr))
		return ERR_OK;
	if (a->peer_count == ALLOW_MAX_PEERS)
		return err_set(e, ERR_INVAL, "more than %d peers", ALLOW_MAX_PEERS);
	a->peers[a->peer_count++] = addr;
	return ERR_OK;
}

/* So wide a net would be a mistake, not a cluster's network. */
#define NET_BITS_MIN 8

static int add_net(struct allow *a, char **words, unsigned count, struct err *e)
{
	char *slash = count == 2 ? strchr(words[1], '/') : NULL;
	struct allow_net net;
	uint64_t bits;
	int rc;

	if (slash == NULL)
		return err_set(e, ERR_INVAL, "write \"peer-net ADDRESS/BITS\"");
	*slash = '\0';
	rc = parse_address(words[1], "peer-net", &net.addr, e);
	if (rc == ERR_OK)
		rc = str_to_u64(slash + 1, "the prefix of peer-net", NET_BITS_MIN, 32, &bits, e);
	if (rc != ERR_OK)
		return rc;
	net.mask.s_addr = htonl(UINT32_MAX << (32 - bits));
	if ((net.addr.s_addr & ~net.mask.s_addr) != 0)
		return err_set(e, ERR_INVAL, "peer-net %s/%s is the address of a host: write that of the net", words[1],
		               slash + 1);
	if (!is_host_address(net.addr))
		return err_set(e, ERR_INVAL, "peer-net \"%s\" has no addresses that a host can have", words[1]);
	if (a->net_count == ALLOW_MAX_NETS)
		return err_set(e, ERR_INVAL, "more than %d peer-nets", ALLOW_MAX_NETS);
	a->nets[a->net_count++] = net;
	return ERR_OK;
}

static int parse_line(struct allow *a, char *line, struct err *e)
{
	char *words[MAX_WORDS], *save = NULL, *w;
	unsigned count = 0;

	line[strcspn(line, "#\n")] = '\0';
	for (w = strtok_r(line, " \t\r", &save); w != NULL; w = strtok_r(NULL, " \t\r", &save)) {
		if (count == MAX_WORDS)
			return err_set(e, ERR_INVAL, "too many words");
		words[count++] = w;
	}
	if (count == 0)
		return ERR_OK;
	if (strcmp(words[0], "vip") == 0)
		return add_vip(a, words, count, e);
	if (strcmp(words[0], "port") == 0)
		return add_port(a, words, count, e);
	if (strcmp(words[0], "peer") == 0)
		return add_peer(a, words, count, e);
	if (strcmp(words[0], "peer-net") == 0)
		return add_net(a, words, count, e);
	return err_set(e, ERR_INVAL, "\"%s\" is none of vip, port, peer, peer-net", words[0]);
}

/* Whoever may write the file decides what a program with network privileges does. */
static int check_owner(FILE *f, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fileno(f), &st) != 0)
		return err_sys(e, errno, "\"%s\"", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_REFUSED, "\"%s\" is no regular file", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(e, ERR_REFUSED, "\"%s\" belongs to uid %u: it must belong to root (chown root \"%s\")", path,
		               (unsigned)st.st_uid, path);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(e, ERR_REFUSED, "\"%s\" can be written by others than its owner (chmod go-w \"%s\")", path,
		               path);
	return ERR_OK;
}

int allow_load(const char *path, struct allow *ret, struct err *e)
{
	struct allow a = {0};
	char *line = NULL;
	size_t cap = 0;
	unsigned number = 0;
	FILE *f;
	int rc;

	if (!str_copy(a.path, sizeof a.path, path))
		return err_set(e, ERR_INVAL, "the path \"%s\" is longer than %zu bytes", path, sizeof a.path - 1);
	f = fopen(path, "re");
	if (f == NULL && errno == ENOENT)
		return err_set(e, ERR_NOTFOUND,
		               "\"%s\" does not exist: list there the addresses (vip), database ports (port) and "
		               "cluster hosts (peer) that mha-vipd may handle",
		               path);
	if (f == NULL)
		return err_sys(e, errno, "\"%s\"", path);
	rc = check_owner(f, path, e);
	while (rc == ERR_OK && getline(&line, &cap, f) >= 0) {
		number++;
		rc = parse_line(&a, line, e);
		if (rc != ERR_OK)
			rc = err_wrap(e, "\"%s\" line %u", path, number);
	}
	if (rc == ERR_OK && ferror(f))
		rc = err_sys(e, errno, "reading \"%s\"", path);
	free(line);
	fclose(f);
	if (rc == ERR_OK)
		*ret = a;
	return rc;
}

int allow_find_vip(const struct allow *a, struct in_addr addr)
{
	unsigned i;

	for (i = 0; i < a->vip_count; i++)
		if (a->vips[i].addr.s_addr == addr.s_addr)
			return (int)i;
	return -1;
}

int allow_find_port(const struct allow *a, uint16_t port)
{
	unsigned i;

	for (i = 0; i < a->port_count; i++)
		if (a->ports[i] == port)
			return (int)i;
	return -1;
}

static bool is_listed(const struct in_addr *list, unsigned count, struct in_addr addr)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (list[i].s_addr == addr.s_addr)
			return true;
	return false;
}

bool allow_is_peer(const struct allow *a, struct in_addr addr)
{
	return is_listed(a->peers, a->peer_count, addr) || is_listed(a->named, a->named_count, addr);
}

static bool is_in_net(const struct allow *a, struct in_addr addr)
{
	unsigned i;

	for (i = 0; i < a->net_count; i++)
		if ((addr.s_addr & a->nets[i].mask.s_addr) == a->nets[i].addr.s_addr)
			return true;
	return false;
}

int allow_name_peers(struct allow *a, const struct in_addr *addrs, unsigned count, struct err *e)
{
	char text[INET_ADDRSTRLEN];
	int rc = ERR_OK;
	unsigned i;

	a->named_count = 0;
	for (i = 0; i < count; i++) {
		if (allow_is_peer(a, addrs[i]))
			continue;
		if (is_in_net(a, addrs[i]) && a->named_count < ALLOW_MAX_NAMED)
			a->named[a->named_count++] = addrs[i];
		else if (rc == ERR_OK)
			rc = err_set(e, ERR_REFUSED,
			             "%s is no peer in %s and lies in none of its peer-nets: its replication stays shut out "
			             "here until the line \"peer %s\" is added and mha-vipd restarted",
			             inet_ntop(AF_INET, &addrs[i], text, sizeof text), a->path, text);
	}
	return rc;
}

unsigned allow_peers(const struct allow *a, struct in_addr *ret)
{
	memcpy(ret, a->peers, a->peer_count * sizeof *ret);
	memcpy(ret + a->peer_count, a->named, a->named_count * sizeof *ret);
	return a->peer_count + a->named_count;
}

struct vip_set allow_all(const struct allow *a)
{
	struct vip_set all = {0, 0};

	if (a->vip_count > 0)
		all.vips = UINT32_MAX >> (ALLOW_MAX_VIPS - a->vip_count);
	if (a->port_count > 0)
		all.ports = UINT32_MAX >> (ALLOW_MAX_PORTS - a->port_count);
	return all;
}

const char *allow_describe(const struct allow *a, const struct vip_set *what, char *buf, size_t cap)
{
	size_t len = 0;
	unsigned i;

	str_copy(buf, cap, "nothing");
	for (i = 0; i < a->vip_count && len < cap; i++)
		if ((what->vips >> i & 1) != 0)
			len += (size_t)snprintf(buf + len, cap - len, "%s%s", len > 0 ? ", " : "", a->vips[i].text);
	for (i = 0; i < a->port_count && len < cap; i++)
		if ((what->ports >> i & 1) != 0)
			len += (size_t)snprintf(buf + len, cap - len, "%sport %u", len > 0 ? ", " : "", a->ports[i]);
	return buf;
}
