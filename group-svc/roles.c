// SPDX-License-Identifier: MIT
/*
 * What a member of a group may be and do: roles, giving the group away, mutes.
 *
 * As in membership.c a request is looked at twice: without a lock, so that refusals hold up nobody,
 * and again behind it.
 */
#include "group-svc/handlers.h"

#include "common/err.h"
#include "group-svc/change.h"
#include "group-svc/wire.h"

struct update {
    enum group_role role; /* GROUP_NONE: stays */
    bool mute;
    int64_t muted_until;
    struct group_member them;
};

static int take_update(struct rpc_request *rq, const Chat__UpdateMemberRequest *in,
                       struct update *out)
{
    *out = (struct update){
        .mute = in->muted_until_given_case ==
                CHAT__UPDATE_MEMBER_REQUEST__MUTED_UNTIL_GIVEN_MUTED_UNTIL,
    };
    if (out->mute) {
        out->muted_until = in->muted_until;
    }
    if (in->role_given_case == CHAT__UPDATE_MEMBER_REQUEST__ROLE_GIVEN_ROLE) {
        if (in->role < CHAT__ROLE__TYPE__MEMBER || in->role > CHAT__ROLE__TYPE__OWNER) {
            return rpc_invalid(rq, "role", "must be member, admin or owner");
        }
        out->role = (enum group_role)in->role;
    }
    return 0;
}

/* An owner cannot stop being one, only make another the owner. */
static int check_role(struct rpc_request *rq, const struct group_row *group,
                      const struct group_member *me, const struct update *u)
{
    int err = group_change_check(rq, GROUP_SET_ROLE, group, me);

    if (err == 0 && u->them.role == GROUP_OWNER && u->role != GROUP_OWNER) {
        return rpc_fail(rq, ERR_CONFLICT, "the owner must give the group to another member first");
    }
    return err;
}

static int check_mute(struct rpc_request *rq, const struct group_row *group,
                      const struct group_member *me, const struct update *u)
{
    int err = group_change_check(rq, GROUP_MUTE, group, me);

    if (err == 0 && !group_rules_is_below(u->them.role, me->role)) {
        return rpc_fail(rq, ERR_FORBIDDEN, "your role in the group is too low");
    }
    return err;
}

static int check_update(struct rpc_request *rq, const struct group_row *group,
                        const struct group_member *me, const struct update *u)
{
    int err = group_change_check(rq, GROUP_SEE_MEMBERS, group, me);

    if (err == 0 && u->them.role == GROUP_NONE) {
        return rpc_fail(rq, ERR_NOT_FOUND, "the user is no member of the group");
    }
    if (err == 0 && u->role != GROUP_NONE) {
        err = check_role(rq, group, me, u);
    }
    if (err == 0 && u->mute) {
        err = check_mute(rq, group, me, u);
    }
    return err;
}

static int put(struct group_change *c, Chat__Change__Type change, struct group_member *member)
{
    member->version = c->group.version;
    int err = group_store_put_member(c->rq->db, member);

    return err != 0 ? err : group_wire_tell_member(c->rq, change, &c->group, member);
}

/* The former owner stays, as an admin: never two owners, and never none. */
static int give_away(struct group_change *c, struct group_member *them)
{
    c->group.owner_id = them->user_id;
    c->me.role = GROUP_ADMIN;
    them->role = GROUP_OWNER;
    them->muted_until = 0;
    int err = group_change_save(c);

    if (err == 0) {
        err = put(c, CHAT__CHANGE__TYPE__ROLE, them);
    }
    return err != 0 ? err : put(c, CHAT__CHANGE__TYPE__ROLE, &c->me);
}

static int update_in_transaction(struct group_change *c, void *arg)
{
    struct update *u = arg;
    struct group_member *them = &u->them;
    struct rpc_request *rq = c->rq;
    int err = group_store_locked_member(rq->db, rq->arena, c->group.id, them->user_id, them);

    if (err == 0) {
        err = check_update(rq, &c->group, &c->me, u);
    }
    if (err != 0) {
        return err;
    }
    bool role_changes = u->role != GROUP_NONE && u->role != them->role;
    bool mute_changes = u->mute && u->muted_until != them->muted_until;
    if (u->mute) {
        them->muted_until = u->muted_until;
    }
    if (role_changes && u->role == GROUP_OWNER) {
        return give_away(c, them);
    }
    if (!role_changes && !mute_changes) {
        return 0;
    }
    if (role_changes) {
        them->role = u->role;
    }
    err = group_change_save(c);
    return err != 0
               ? err
               : put(c, role_changes ? CHAT__CHANGE__TYPE__ROLE : CHAT__CHANGE__TYPE__MUTED, them);
}

int group_update_member(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__UpdateMemberRequest *request = in;
    Chat__MemberReply *reply = out;
    struct group_row group;
    struct group_member me;
    struct group_change c;
    struct update u;
    int err = group_change_look(rq, request->id, GROUP_SEE_MEMBERS, &group, &me);

    if (err == 0) {
        err = take_update(rq, request, &u);
    }
    if (err == 0) {
        err = group_store_member(rq->db, rq->arena, group.id, request->user_id, &u.them);
    }
    if (err == 0) {
        err = check_update(rq, &group, &me, &u);
    }
    if (err == 0) {
        err = group_change_run(rq, request->id, update_in_transaction, &u, &c);
    }
    if (err == 0) {
        reply->member = group_wire_member(rq->arena, &u.them);
    }
    return err;
}
