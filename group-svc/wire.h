// SPDX-License-Identifier: MIT
/*
 * Rows as messages: what replies and events say of a group and its members. Worker threads;
 * messages live in the arena and borrow the rows' texts.
 */
#pragma once

#include "common/arena.h"
#include "common/rpc.h"
#include "group-svc/store.h"
#include "proto/group.pb-c.h"

/* The role of the one who is shown it; GROUP_NONE for outsiders and events. */
Chat__Group *group_wire_group(struct arena *arena, const struct group_row *group,
                              enum group_role my_role);
Chat__Member *group_wire_member(struct arena *arena, const struct group_member *member);
Chat__Membership *group_wire_membership(struct arena *arena, const struct group_member *member);

/*
 * Events, into the outbox, within the transaction of the change. One change is one event: the facts
 * (key (group, 0)), or the membership (key (group, user)) with the group as it is after it, whose
 * member_count a join moves. A creation is both. Errors as outbox_add.
 */
int group_wire_tell_facts(struct rpc_request *rq, Chat__Change__Type change,
                          const struct group_row *group);
int group_wire_tell_member(struct rpc_request *rq, Chat__Change__Type change,
                           const struct group_row *group, const struct group_member *member);
