#include "drivers/peer_list.h"

#include "core/base/str.h"
#include "drivers/file.h"

#include <arpa/inet.h>
#include <string.h>

#define FILE_MAX (DBD_MAX_PEERS * (DBD_ADDRESS_SIZE + 1))

static bool is_numeric(const char *address)
{
	unsigned char any[16];

	return inet_pton(AF_INET, address, any) == 1 || inet_pton(AF_INET6, address, any) == 1;
}

/* Every address becomes part of a line of a server's access rules: nothing but digits, dots and colons may get there. */
static int add(struct peer_list *l, const char *address, struct err *e)
{
	if (l->count == DBD_MAX_PEERS)
		return err_set(e, ERR_INVAL, "more than %d peers", DBD_MAX_PEERS);
	if (!is_numeric(address))
		return err_set(e, ERR_INVAL, "peer \"%.60s\" is no numeric address", address);
	str_copy(l->address[l->count++], DBD_ADDRESS_SIZE, address);
	return ERR_OK;
}

int peer_list_take(const struct dbd_msg *m, struct peer_list *ret, struct err *e)
{
	struct peer_list l = {0};
	unsigned i;
	int rc = ERR_OK;

	if (m->peer_count > DBD_MAX_PEERS)
		return err_set(e, ERR_INVAL, "%u peers; %d are the most", m->peer_count, DBD_MAX_PEERS);
	for (i = 0; rc == ERR_OK && i < m->peer_count; i++) {
		if (memchr(m->peers[i], '\0', sizeof m->peers[i]) == NULL)
			return err_set(e, ERR_INVAL, "the address of peer %u does not end", i);
		rc = add(&l, m->peers[i], e);
	}
	if (rc == ERR_OK)
		*ret = l;
	return rc;
}

bool peer_list_is_same(const struct peer_list *a, const struct peer_list *b)
{
	unsigned i;

	if (a->count != b->count)
		return false;
	for (i = 0; i < a->count; i++)
		if (strcmp(a->address[i], b->address[i]) != 0)
			return false;
	return true;
}

void peer_list_from_config(const struct config *cfg, struct peer_list *ret)
{
	unsigned i;

	memset(ret, 0, sizeof *ret);
	for (i = 0; i < cfg->nodes_count; i++)
		if (!cfg->nodes[i].is_removed && strcmp(cfg->nodes[i].role, "arbiter") != 0 &&
		    add(ret, cfg->nodes[i].address, NULL) != ERR_OK)
			continue; /* the configuration has checked its addresses */
}

int peer_list_load(const char *path, struct peer_list *ret, struct err *e)
{
	struct peer_list l = {0};
	struct buf text = {0};
	char *line, *save = NULL;
	int rc = file_read_tail(path, FILE_MAX, &text, e);

	if (rc == ERR_OK && text.data != NULL)
		for (line = strtok_r(text.data, "\n", &save); rc == ERR_OK && line != NULL; line = strtok_r(NULL, "\n", &save))
			rc = add(&l, line, e);
	buf_done(&text);
	if (rc == ERR_OK)
		*ret = l;
	return rc == ERR_OK || rc == ERR_NOTFOUND ? rc : err_wrap(e, "\"%s\"", path);
}

int peer_list_save(const char *path, const struct peer_list *l, struct err *e)
{
	struct buf text = {0};
	unsigned i;
	int rc;

	for (i = 0; i < l->count; i++)
		buf_printf(&text, "%s\n", l->address[i]);
	rc = file_update(path, text.data != NULL ? text.data : "", NULL, e);
	buf_done(&text);
	return rc;
}
