// SPDX-License-Identifier: MIT
/*
 * The only place where group-svc fills in what others read of it. Versions travel in every message,
 * so that readers merge events and answers in any order.
 */
#include "group-svc/wire.h"

#include "common/outbox.h"
#include "common/pb.h"

#include <assert.h>

static_assert((int)GROUP_NONE == (int)CHAT__ROLE__TYPE__NONE &&
                  (int)GROUP_MEMBER == (int)CHAT__ROLE__TYPE__MEMBER &&
                  (int)GROUP_ADMIN == (int)CHAT__ROLE__TYPE__ADMIN &&
                  (int)GROUP_OWNER == (int)CHAT__ROLE__TYPE__OWNER,
              "roles have the numbers of the .proto");

Chat__Group *group_wire_group(struct arena *arena, const struct group_row *group,
                              enum group_role my_role)
{
    Chat__Group *out = pb_new(&chat__group__descriptor, arena);

    out->id = group->id;
    out->name = pb_str(group->name);
    out->description = pb_str(group->description);
    out->avatar = pb_str(group->avatar);
    out->visibility = group->is_public ? CHAT__VISIBILITY__TYPE__PUBLIC
                                       : CHAT__VISIBILITY__TYPE__PRIVATE;
    out->owner_id = group->owner_id;
    out->creator_id = group->creator_id;
    out->member_count = (uint32_t)group->member_count;
    out->my_role = (Chat__Role__Type)my_role;
    out->created_at = group->created_at;
    out->updated_at = group->updated_at;
    out->version = group->version;
    return out;
}

Chat__Member *group_wire_member(struct arena *arena, const struct group_member *member)
{
    Chat__Member *out = pb_new(&chat__member__descriptor, arena);

    out->user = pb_new(&chat__user__descriptor, arena);
    out->user->id = member->user_id;
    out->role = (Chat__Role__Type)member->role;
    out->muted_until = member->muted_until;
    out->joined_at = member->joined_at;
    return out;
}

/* Of those who are no members only the version counts. */
Chat__Membership *group_wire_membership(struct arena *arena, const struct group_member *member)
{
    Chat__Membership *out = pb_new(&chat__membership__descriptor, arena);

    out->group_id = member->group_id;
    out->user_id = member->user_id;
    out->version = member->version;
    if (member->role != GROUP_NONE) {
        out->role = (Chat__Role__Type)member->role;
        out->muted_until = member->muted_until;
        out->joined_at = member->joined_at;
        out->whole_history = member->whole_history;
    }
    return out;
}

static int tell(struct rpc_request *rq, const Chat__GroupEvent *event, uint64_t user_id)
{
    struct outbox_event record = {
        .topic = TOPIC_EVENTS_GROUP,
        .key = {event->group->id, user_id},
        .partition_a = event->group->id,
        .traceparent = rq->traceparent,
        .request_id = rq->request_id,
    };

    record.value = pb_pack(event, rq->arena, &record.len);
    return outbox_add(rq->db, &record);
}

int group_wire_tell_facts(struct rpc_request *rq, Chat__Change__Type change,
                          const struct group_row *group)
{
    Chat__GroupEvent event = CHAT__GROUP_EVENT__INIT;

    event.change = change;
    event.group = group_wire_group(rq->arena, group, GROUP_NONE);
    event.by = rq->caller.user_id;
    event.deleted = group->deleted_at != 0;
    return tell(rq, &event, 0);
}

int group_wire_tell_member(struct rpc_request *rq, Chat__Change__Type change,
                           const struct group_row *group, const struct group_member *member)
{
    Chat__GroupEvent event = CHAT__GROUP_EVENT__INIT;

    event.change = change;
    event.group = group_wire_group(rq->arena, group, GROUP_NONE);
    event.member = group_wire_membership(rq->arena, member);
    event.by = rq->caller.user_id;
    return tell(rq, &event, member->user_id);
}
