/* SHOW mha.node and SHOW mha.members. */
#include "store/admin_internal.h"

#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>

void admin_show_node(struct call *call)
{
	static const char *const columns[] = {"name",           "id",        "address", "cluster_uuid", "profile", "leader_id",
	                                      "leader_address", "is_leader", "revision"};
	struct admin *a = call->admin;
	const struct node_leader *l = node_leader(a->node);
	char id[24], leader_id[24], revision[24];
	const char *row[] = {node_name(a->node),
	                     id,
	                     node_raft_address(a->node),
	                     node_cluster_uuid(a->node),
	                     node_profile(a->node),
	                     leader_id,
	                     l->address,
	                     l->is_self ? "t" : "f",
	                     revision};
	struct admin_result r = {
	        .sqlstate = "00000",
	        .message = "",
	        .column_count = sizeof columns / sizeof *columns,
	        .row_count = 1,
	        .columns = columns,
	        .values = row,
	};

	snprintf(id, sizeof id, "%llu", (unsigned long long)node_id(a->node));
	snprintf(leader_id, sizeof leader_id, "%llu", (unsigned long long)l->id);
	snprintf(revision, sizeof revision, "%llu", (unsigned long long)a->revision);
	call_finish(call, &r);
}

const char *admin_role_name(int64_t role)
{
	return role == 0 ? "voter" : role == 1 ? "standby" : "spare";
}

static void members_cb(void *arg, const struct dq_result *r)
{
	static const char *const columns[] = {"id", "address", "role"};
	struct call *call = arg;
	struct admin_result result = {.sqlstate = "00000", .message = "", .column_count = 3, .columns = columns};
	const char **values;
	char(*ids)[24];

	if (r->code != 0) {
		call_fail_dq(call, r);
		return;
	}
	values = mem_alloc((r->row_count * 3 + 1) * sizeof *values);
	ids = mem_alloc((r->row_count + 1) * sizeof *ids);
	for (size_t i = 0; i < r->row_count; i++) {
		const struct dq_value *v = &r->values[i * 3];

		snprintf(ids[i], sizeof ids[i], "%llu", (unsigned long long)v[0].u.i);
		values[i * 3] = ids[i];
		values[i * 3 + 1] = v[1].u.s.data;
		values[i * 3 + 2] = admin_role_name(v[2].u.i);
	}
	result.values = values;
	result.row_count = r->row_count;
	call_finish(call, &result);
	free(values);
	free(ids);
}

void admin_show_members(struct call *call)
{
	if (!node_is_member(call->admin->node)) {
		call_fail(call, ERR_NOQUORUM, "57P03", ADMIN_FRESH_TEXT);
		return;
	}
	call->is_in_dq = true;
	dq_cluster(call->admin->reader, members_cb, call);
}
