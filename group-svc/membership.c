// SPDX-License-Identifier: MIT
/*
 * Who belongs to a group: showing, adding, removing, and the questions of the other daemons.
 *
 * Whom a change concerns is looked at twice: once without a lock, so that refusals and the question
 * to auth-svc hold up nobody, and again behind it.
 */
#include "group-svc/handlers.h"

#include "common/err.h"
#include "common/map.h"
#include "common/pb.h"
#include "group-svc/change.h"
#include "group-svc/wire.h"

#include <string.h>

enum {
    MOST_PAIRS = 1000,  /* of one CheckMembers */
    MOST_LISTS = 500,   /* users of one ListMemberships */
    MOST_LISTED = 9000, /* memberships of one reply: each has at most 56 bytes on the wire */
};

/* ---- ListMembers ---- */

int group_list_members(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__ListMembersRequest *request = in;
    Chat__MemberList *reply = out;
    struct group_row group;
    struct group_member me, *members;
    size_t limit, n;
    uint64_t after;
    int err = group_change_page(rq, request->limit, request->cursor, &limit, &after);

    if (err == 0) {
        err = group_change_look(rq, request->id, GROUP_SEE_MEMBERS, &group, &me);
    }
    if (err == 0) { /* one more shows whether there is a next page */
        err = group_store_members(rq->db, rq->arena, group.id, after, limit + 1, &members, &n);
    }
    if (err != 0) {
        return err;
    }
    if (n > limit) {
        n = limit;
        reply->next_cursor =
            pb_str(arena_printf(rq->arena, "%llu", (unsigned long long)members[n - 1].user_id));
    }
    reply->n_members = n;
    reply->members = arena_array(rq->arena, n, sizeof(*reply->members));
    for (size_t i = 0; i < n; i++) {
        reply->members[i] = group_wire_member(rq->arena, &members[i]);
    }
    return 0;
}

/* ---- AddMember ---- */

static int check_addition(struct rpc_request *rq, const struct group_row *group,
                          const struct group_member *me, const struct group_member *them)
{
    const struct group_env *env = rq->worker;
    bool join = them->user_id == rq->caller.user_id;
    int err = group_change_check(rq, join ? GROUP_JOIN : GROUP_ADD, group, me);

    if (err != 0) {
        return err;
    }
    if (them->role != GROUP_NONE) {
        return rpc_fail(rq, ERR_ALREADY_MEMBER,
                        join ? "you are a member already" : "the user is a member already");
    }
    if (group->member_count >= env->settings->max_group_members) {
        return rpc_fail(rq, ERR_CONFLICT, "the group is full");
    }
    return 0;
}

static int add_in_transaction(struct group_change *c, void *arg)
{
    struct group_member *them = arg;
    struct rpc_request *rq = c->rq;
    int err = group_store_locked_member(rq->db, rq->arena, c->group.id, them->user_id, them);

    if (err == 0) {
        err = check_addition(rq, &c->group, &c->me, them);
    }
    if (err != 0) {
        return err;
    }
    c->group.member_count++;
    err = group_change_save(c);
    them->role = GROUP_MEMBER;
    them->joined_at = c->now_ms;
    them->whole_history = c->group.is_public;
    them->version = c->group.version;
    if (err == 0) {
        err = group_store_put_member(rq->db, them);
    }
    if (err == 0) {
        err = group_wire_tell_member(rq, CHAT__CHANGE__TYPE__JOINED, &c->group, them);
    }
    return err;
}

/* The number of groups is counted without a lock: a few at once may pass the bound. */
static int check_user(struct rpc_request *rq, uint64_t user_id)
{
    const struct group_env *env = rq->worker;
    bool exists = user_id == rq->caller.user_id;
    int64_t groups = 0;
    int err = exists ? 0 : env->user_exists(rq, user_id, &exists);

    if (err != 0) {
        return rpc_fail(rq, ERR_UNAVAILABLE, "users cannot be looked up now");
    }
    if (!exists) {
        return rpc_invalid(rq, "user_id", "is no user");
    }
    err = group_store_count_groups(rq->db, rq->arena, user_id, &groups);
    if (err == 0 && groups >= env->settings->max_groups_per_user) {
        return rpc_fail(rq, ERR_CONFLICT, "the user is in too many groups");
    }
    return err;
}

int group_add_member(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__AddMemberRequest *request = in;
    Chat__AddMemberReply *reply = out;
    struct group_row group;
    struct group_member me, them;
    struct group_change c;
    int err = group_change_look(rq, request->id, GROUP_SEE, &group, &me);

    if (err != 0) {
        return err;
    }
    if (request->user_id == 0 || request->user_id > GROUP_ID_MAX) {
        return rpc_invalid(rq, "user_id", "must be the id of a user");
    }
    err = group_store_member(rq->db, rq->arena, group.id, request->user_id, &them);
    if (err == 0) {
        err = check_addition(rq, &group, &me, &them);
    }
    if (err == 0) {
        err = check_user(rq, request->user_id);
    }
    if (err == 0) {
        err = group_change_run(rq, request->id, add_in_transaction, &them, &c);
    }
    if (err == 0) {
        reply->message =
            pb_str(request->user_id == rq->caller.user_id ? "Group joined" : "Member added");
        reply->member = group_wire_member(rq->arena, &them);
    }
    return err;
}

/* ---- RemoveMember ---- */

static int check_removal(struct rpc_request *rq, const struct group_row *group,
                         const struct group_member *me, const struct group_member *them)
{
    bool leave = them->user_id == rq->caller.user_id;
    int err = group_change_check(rq, leave ? GROUP_LEAVE : GROUP_KICK, group, me);

    if (err != 0) {
        return err;
    }
    if (leave) {
        err = group_rules_may_leave(me->role);
        return err == 0
                   ? 0
                   : rpc_fail(rq, err, "the owner must give the group to another member first");
    }
    if (them->role == GROUP_NONE) {
        return rpc_fail(rq, ERR_NOT_FOUND, "the user is no member of the group");
    }
    return group_rules_is_below(them->role, me->role)
               ? 0
               : rpc_fail(rq, ERR_FORBIDDEN, "your role in the group is too low");
}

static int remove_in_transaction(struct group_change *c, void *arg)
{
    struct group_member *them = arg;
    struct rpc_request *rq = c->rq;
    int err = group_store_locked_member(rq->db, rq->arena, c->group.id, them->user_id, them);

    if (err == 0) {
        err = check_removal(rq, &c->group, &c->me, them);
    }
    if (err != 0) {
        return err;
    }
    c->group.member_count--;
    err = group_change_save(c);
    them->role = GROUP_NONE;
    them->version = c->group.version;
    if (err == 0) {
        err = group_store_put_member(rq->db, them);
    }
    if (err == 0) {
        err = group_wire_tell_member(rq,
                                     them->user_id == rq->caller.user_id
                                         ? CHAT__CHANGE__TYPE__LEFT
                                         : CHAT__CHANGE__TYPE__REMOVED,
                                     &c->group, them);
    }
    return err;
}

int group_remove_member(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__RemoveMemberRequest *request = in;
    struct group_row group;
    struct group_member me, them = {.group_id = request->id, .user_id = request->user_id};
    struct group_change c;
    int err = group_change_look(rq, request->id, GROUP_SEE, &group, &me);

    (void)out;
    if (err == 0) {
        err = group_store_member(rq->db, rq->arena, group.id, request->user_id, &them);
    }
    if (err == 0) {
        err = check_removal(rq, &group, &me, &them);
    }
    return err != 0 ? err : group_change_run(rq, request->id, remove_in_transaction, &them, &c);
}

/* ---- ListMemberships ---- */

struct lists {
    struct rpc_request *rq;
    struct map starts;            /* user -> the first of its memberships in `members` */
    struct group_member *members; /* of all who ask from the start, by user and group */
    size_t n;
    bool cut;    /* there are more than these */
    size_t left; /* how many still fit into the reply */
};

static int read_from_start(struct lists *l, const Chat__ListMembershipsRequest *in)
{
    uint64_t *users = arena_array(l->rq->arena, in->n_of, sizeof(*users));
    size_t n = 0;

    for (size_t i = 0; i < in->n_of; i++) {
        if (in->of[i]->after_group == 0) {
            users[n++] = in->of[i]->user_id;
        }
    }
    int err = group_store_memberships(l->rq->db, l->rq->arena, users, n, MOST_LISTED + 1,
                                      &l->members, &l->n);
    if (err != 0) {
        return err;
    }
    l->cut = l->n > MOST_LISTED;
    for (size_t i = 0; i < l->n; i++) {
        if (i == 0 || l->members[i].user_id != l->members[i - 1].user_id) {
            map_put(&l->starts, l->members[i].user_id, 0, &l->members[i]);
        }
    }
    return 0;
}

/* What is known of a user that asks from the start. Where the list was cut, the last user's may be
 * incomplete and those behind are missing: they ask again. */
static void find_list(const struct lists *l, uint64_t user_id, struct group_member **members_out,
                      size_t *n_out, bool *more_out)
{
    struct group_member *first = map_get(&l->starts, user_id, 0);
    size_t n = 0, at = first != NULL ? (size_t)(first - l->members) : 0;

    while (first != NULL && at + n < l->n && first[n].user_id == user_id) {
        n++;
    }
    *members_out = first;
    *n_out = n;
    *more_out = l->cut && user_id >= l->members[l->n - 1].user_id;
}

static int fill_list(struct lists *l, const Chat__ListMembershipsRequest__Of *of,
                     Chat__MembershipLists__Of *out)
{
    struct group_member *members = NULL;
    size_t n = 0;
    bool more = false;

    out->user_id = of->user_id;
    if (of->after_group == 0) {
        find_list(l, of->user_id, &members, &n, &more);
    } else if (l->left > 0) {
        int err = group_store_memberships_after(l->rq->db, l->rq->arena, of->user_id,
                                                of->after_group, l->left + 1, &members, &n);
        if (err != 0) {
            return err;
        }
    }
    if (n > l->left || l->left == 0) { /* full: what did not fit is asked for again */
        n = n > l->left ? l->left : n;
        more = true;
    }
    out->more = more;
    out->n_groups = n;
    out->groups = arena_array(l->rq->arena, n, sizeof(*out->groups));
    for (size_t i = 0; i < n; i++) {
        out->groups[i] = group_wire_membership(l->rq->arena, &members[i]);
    }
    l->left -= n;
    return 0;
}

int group_list_memberships(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__ListMembershipsRequest *request = in;
    Chat__MembershipLists *reply = out;
    struct lists lists = {.rq = rq, .left = MOST_LISTED};

    if (request->n_of > MOST_LISTS) {
        return rpc_invalid(rq, "of", "must have at most %d entries", MOST_LISTS);
    }
    map_init(&lists.starts);
    reply->n_of = request->n_of;
    reply->of = arena_array(rq->arena, request->n_of, sizeof(*reply->of));
    int err = read_from_start(&lists, request);
    for (size_t i = 0; i < request->n_of && err == 0; i++) {
        reply->of[i] = pb_new(&chat__membership_lists__of__descriptor, rq->arena);
        err = fill_list(&lists, request->of[i], reply->of[i]);
    }
    map_done(&lists.starts);
    return err;
}

/* ---- CheckMembers ---- */

int group_check_members(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__CheckMembersRequest *request = in;
    Chat__CheckMembersReply *reply = out;
    size_t n = request->n_pairs;
    struct group_member *pairs = arena_array(rq->arena, n, sizeof(*pairs));
    uint64_t *ids = arena_array(rq->arena, n, sizeof(*ids));
    bool *is_public = arena_array(rq->arena, n, sizeof(*is_public));

    if (n > MOST_PAIRS) {
        return rpc_invalid(rq, "pairs", "must have at most %d entries", MOST_PAIRS);
    }
    for (size_t i = 0; i < n; i++) {
        pairs[i].group_id = request->pairs[i]->group_id;
        pairs[i].user_id = request->pairs[i]->user_id;
        ids[i] = pairs[i].group_id;
    }
    int err = group_store_check(rq->db, rq->arena, pairs, n);
    if (err == 0) {
        err = group_store_public(rq->db, rq->arena, ids, n, is_public);
    }
    if (err != 0) {
        return err;
    }
    reply->n_members = n;
    reply->members = arena_array(rq->arena, n, sizeof(*reply->members));
    for (size_t i = 0; i < n; i++) {
        reply->members[i] = group_wire_membership(rq->arena, &pairs[i]);
        reply->members[i]->group_is_public = is_public[i];
    }
    return 0;
}
