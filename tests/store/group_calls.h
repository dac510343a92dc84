// SPDX-License-Identifier: MIT
/*
 * The usual questions to group-svc, in one call each.
 */
#pragma once

#include "tests/store/group_test.h"

#include "common/pb.h"
#include "proto/group.pb-c.h"

static inline struct group_row row_of(struct client *c, uint64_t id)
{
    struct group_row group = {0};
    struct group_member member;

    CHECK_INT(group_store_get(c->db, c->arena, id, 0, &group, &member), 0);
    return group;
}

/* ---- The usual questions ---- */

static inline int create(struct client *c, uint64_t user, const char *name, bool is_public,
                         const char *key, uint64_t *id_out)
{
    Chat__CreateGroupRequest in = CHAT__CREATE_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;

    in.name = pb_str(name);
    in.visibility = is_public ? CHAT__VISIBILITY__TYPE__PUBLIC : CHAT__VISIBILITY__TYPE__PRIVATE;
    in.request_key = pb_str(key);
    int err = call(c, user, group_create, &in, &out);
    if (err == 0) {
        CHECK(pb_equal(out.group->name, name));
        *id_out = out.group->id;
    }
    return err;
}

static inline uint64_t must_create(struct client *c, uint64_t user, const char *name,
                                   bool is_public)
{
    uint64_t id = 0;
    CHECK_INT(create(c, user, name, is_public, "", &id), 0);
    CHECK(id > 0);
    return id;
}

static inline int add(struct client *c, uint64_t user, uint64_t group, uint64_t whom)
{
    Chat__AddMemberRequest in = CHAT__ADD_MEMBER_REQUEST__INIT;
    Chat__AddMemberReply out = CHAT__ADD_MEMBER_REPLY__INIT;

    in.id = group;
    in.user_id = whom;
    int err = call(c, user, group_add_member, &in, &out);
    if (err == 0) {
        CHECK_INT(out.member->user->id, whom);
        CHECK_INT(out.member->role, CHAT__ROLE__TYPE__MEMBER);
        CHECK(out.member->joined_at > 0);
    }
    return err;
}

static inline int remove_member(struct client *c, uint64_t user, uint64_t group, uint64_t whom)
{
    Chat__RemoveMemberRequest in = CHAT__REMOVE_MEMBER_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.id = group;
    in.user_id = whom;
    return call(c, user, group_remove_member, &in, &out);
}

static inline int delete_group(struct client *c, uint64_t user, uint64_t group)
{
    Chat__DeleteGroupRequest in = CHAT__DELETE_GROUP_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.id = group;
    return call(c, user, group_delete, &in, &out);
}

static inline int get(struct client *c, uint64_t user, uint64_t group, Chat__Group **group_out)
{
    Chat__GetGroupRequest in = CHAT__GET_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;

    in.id = group;
    in.include_members = true;
    int err = call(c, user, group_get, &in, &out);
    if (err == 0) {
        *group_out = out.group;
    }
    return err;
}

static inline int rename_group(struct client *c, uint64_t user, uint64_t group, const char *name)
{
    Chat__UpdateGroupRequest in = CHAT__UPDATE_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;

    in.id = group;
    in.name_given_case = CHAT__UPDATE_GROUP_REQUEST__NAME_GIVEN_NAME;
    in.name = pb_str(name);
    return call(c, user, group_update, &in, &out);
}

static inline Chat__Membership *check_one(struct client *c, uint64_t group, uint64_t user)
{
    Chat__CheckMembersRequest in = CHAT__CHECK_MEMBERS_REQUEST__INIT;
    Chat__CheckMembersReply out = CHAT__CHECK_MEMBERS_REPLY__INIT;
    Chat__Membership pair = CHAT__MEMBERSHIP__INIT, *pairs[] = {&pair};

    pair.group_id = group;
    pair.user_id = user;
    in.n_pairs = 1;
    in.pairs = pairs;
    CHECK_INT(call(c, 0, group_check_members, &in, &out), 0);
    CHECK_INT(out.n_members, 1);
    return out.members[0];
}

static inline int set_role(struct client *c, uint64_t by, uint64_t group, uint64_t user,
                           Chat__Role__Type role)
{
    Chat__UpdateMemberRequest in = CHAT__UPDATE_MEMBER_REQUEST__INIT;
    Chat__MemberReply out = CHAT__MEMBER_REPLY__INIT;

    in.id = group;
    in.user_id = user;
    in.role_given_case = CHAT__UPDATE_MEMBER_REQUEST__ROLE_GIVEN_ROLE;
    in.role = role;
    return call(c, by, group_update_member, &in, &out);
}

/* By Alice, who owns all groups of these tests. */
static inline void make_admin(struct client *c, uint64_t group, uint64_t user)
{
    CHECK_INT(set_role(c, ALICE, group, user, CHAT__ROLE__TYPE__ADMIN), 0);
}
