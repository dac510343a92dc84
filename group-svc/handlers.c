// SPDX-License-Identifier: MIT
/*
 * Making, showing, changing and deleting groups. What may be done is in rules.c, what is kept in
 * store.c; a change that changes nothing writes nothing and tells nobody.
 */
#include "group-svc/handlers.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "common/random.h"
#include "common/text.h"
#include "group-svc/change.h"
#include "group-svc/wire.h"

#include <string.h>

/* ---- What comes from outside ---- */

typedef const char *(*check_fn)(const void *p, size_t n);

/* The text with a NUL, in the arena; NULL and the field noted if it breaks its rule. */
static const char *take(struct rpc_request *rq, const char *field, ProtobufCBinaryData value,
                        check_fn check)
{
    const char *reason = check(value.data, value.len);

    if (reason != NULL) {
        rpc_invalid(rq, field, "%s", reason);
        return NULL;
    }
    return pb_cstr(rq->arena, value);
}

static bool take_visibility(struct rpc_request *rq, Chat__Visibility__Type value)
{
    if (value != CHAT__VISIBILITY__TYPE__PRIVATE && value != CHAT__VISIBILITY__TYPE__PUBLIC) {
        rpc_invalid(rq, "visibility", "must be public or private");
        return false;
    }
    return true;
}

static const char *make_key(struct rpc_request *rq, const char *name)
{
    const char *key = text_fold(rq->arena, name, strlen(name));
    return key != NULL ? key : name; /* it was checked before */
}

/* ---- CreateGroup ---- */

struct creation {
    struct group_row group;
    const char *request_key;
};

static int take_creation(struct rpc_request *rq, const Chat__CreateGroupRequest *in,
                         struct creation *out)
{
    bool visible = take_visibility(rq, in->visibility);

    *out = (struct creation){
        .group =
            {
                .name = take(rq, "name", in->name, group_rules_check_name),
                .description =
                    take(rq, "description", in->description, group_rules_check_description),
                .avatar = take(rq, "avatar", in->avatar, text_check_url),
                .is_public = in->visibility == CHAT__VISIBILITY__TYPE__PUBLIC,
            },
    };
    if (in->request_key.len == 0) { /* nobody will ask for it again */
        char *key = arena_alloc(rq->arena, 33);
        random_hex(key, 16);
        out->request_key = key;
    } else {
        out->request_key = take(rq, "request_key", in->request_key, group_rules_check_request_key);
    }
    return visible && out->group.name != NULL && out->group.description != NULL &&
                   out->group.avatar != NULL && out->request_key != NULL
               ? 0
               : ERR_INVALID;
}

static int create_in_transaction(struct group_change *c, void *arg)
{
    const struct creation *creation = arg;
    struct rpc_request *rq = c->rq;

    c->group = creation->group;
    c->group.name_key = make_key(rq, c->group.name);
    c->group.owner_id = c->group.creator_id = rq->caller.user_id;
    c->group.member_count = 1;
    c->group.created_at = c->group.updated_at = c->now_ms;
    c->group.version = 1;
    int err = group_store_insert(rq->db, &c->group, creation->request_key);
    c->me = (struct group_member){
        .group_id = c->group.id,
        .user_id = rq->caller.user_id,
        .role = GROUP_OWNER,
        .joined_at = c->now_ms,
        .whole_history = true,
        .version = c->group.version,
    };
    if (err == 0) {
        err = group_store_put_member(rq->db, &c->me);
    }
    if (err == 0) {
        err = group_wire_tell_facts(rq, CHAT__CHANGE__TYPE__CREATED, &c->group);
    }
    if (err == 0) {
        err = group_wire_tell_member(rq, CHAT__CHANGE__TYPE__CREATED, &c->group, &c->me);
    }
    return err;
}

/* The group that this very request made before. ERR_NOT_FOUND: none. */
static int find_created(struct rpc_request *rq, const char *request_key, Chat__GroupReply *out)
{
    struct group_row group;
    struct group_member me;
    uint64_t id;
    int err = group_store_find_request(rq->db, rq->arena, rq->caller.user_id, request_key, &id);

    if (err != 0) {
        return err;
    }
    err = group_store_get(rq->db, rq->arena, id, rq->caller.user_id, &group, &me);
    if (err == ERR_NOT_FOUND ||
        (err == 0 && group_rules_may(GROUP_SEE, me.role, group.is_public) != 0)) {
        return rpc_fail(rq, ERR_CONFLICT, "the group that this request made is gone");
    }
    if (err == 0) {
        out->message = pb_str("Group created");
        out->group = group_wire_group(rq->arena, &group, me.role);
    }
    return err;
}

int group_create(struct rpc_request *rq, const void *in, void *out)
{
    const struct group_env *env = rq->worker;
    Chat__GroupReply *reply = out;
    struct creation creation;
    struct group_change c;
    int64_t groups = 0;

    if (rq->caller.user_id == 0) {
        return ERR_UNAUTHENTICATED;
    }
    int err = take_creation(rq, in, &creation);
    if (err != 0) {
        return err;
    }
    err = find_created(rq, creation.request_key, reply);
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    err = group_store_count_groups(rq->db, rq->arena, rq->caller.user_id, &groups);
    if (err == 0 && groups >= env->settings->max_groups_per_user) {
        err = rpc_fail(rq, ERR_CONFLICT, "you are in too many groups");
    }
    if (err == 0) {
        err = group_change_run(rq, 0, create_in_transaction, &creation, &c);
        if (err == ERR_DUPLICATE) { /* the same request, at the same time */
            return find_created(rq, creation.request_key, reply);
        }
    }
    if (err == 0) {
        reply->message = pb_str("Group created");
        reply->group = group_wire_group(rq->arena, &c.group, c.me.role);
    }
    return err;
}

/* ---- GetGroup, ListGroups ---- */

int group_get(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__GetGroupRequest *request = in;
    Chat__GroupReply *reply = out;
    struct group_row group;
    struct group_member me, *members;
    size_t n = 0;
    int err = group_change_look(rq, request->id, GROUP_SEE, &group, &me);

    if (err != 0) {
        return err;
    }
    reply->group = group_wire_group(rq->arena, &group, me.role);
    if (request->include_members && group_rules_may(GROUP_SEE_MEMBERS, me.role, true) == 0) {
        err = group_store_members(rq->db, rq->arena, group.id, 0, GROUP_PAGE_MOST, &members, &n);
        reply->group->n_members = n;
        reply->group->members = arena_array(rq->arena, n, sizeof(*reply->group->members));
        for (size_t i = 0; i < n; i++) {
            reply->group->members[i] = group_wire_member(rq->arena, &members[i]);
        }
    }
    return err;
}

static int take_listing(struct rpc_request *rq, const Chat__ListGroupsRequest *in,
                        struct group_listing *out)
{
    size_t characters;

    if (in->scope != CHAT__SCOPE__TYPE__MINE && in->scope != CHAT__SCOPE__TYPE__PUBLIC) {
        return rpc_fail(rq, ERR_BAD_QUERY, "scope must be mine or public");
    }
    if (!text_is_valid(in->q.data, in->q.len, TEXT_NO_CONTROLS, &characters) ||
        characters > GROUP_QUERY_CHARACTERS) {
        return rpc_fail(rq, ERR_BAD_QUERY, "q must be UTF-8 of at most 100 characters");
    }
    *out = (struct group_listing){
        .user_id = rq->caller.user_id,
        .mine = in->scope == CHAT__SCOPE__TYPE__MINE,
        .q = text_fold(rq->arena, in->q.data, in->q.len),
    };
    int err = group_change_page(rq, in->limit, in->cursor, &out->limit, &out->before_id);
    if (err == 0 && out->before_id == 0) {
        out->before_id = GROUP_ID_MAX + 1; /* from the newest */
    }
    return err;
}

int group_list(struct rpc_request *rq, const void *in, void *out)
{
    Chat__GroupList *reply = out;
    struct group_listing listing;
    struct group_row *groups;
    enum group_role *roles;
    size_t n, bytes = 0;
    uint64_t next;
    int err = take_listing(rq, in, &listing);

    if (err == 0) {
        err = group_store_list(rq->db, rq->arena, &listing, &groups, &roles, &n, &next);
    }
    if (err != 0) {
        return err;
    }
    reply->groups = arena_array(rq->arena, n, sizeof(*reply->groups));
    for (size_t i = 0; i < n; i++) {
        Chat__Group *group = group_wire_group(rq->arena, &groups[i], roles[i]);
        bytes += protobuf_c_message_get_packed_size(&group->base) + 8;
        if (bytes > GROUP_PAGE_BYTES) {
            next = groups[i - 1].id; /* one group is far smaller than a page */
            break;
        }
        reply->groups[reply->n_groups++] = group;
    }
    if (next != 0) {
        reply->next_cursor = pb_str(arena_printf(rq->arena, "%llu", (unsigned long long)next));
    }
    return 0;
}

/* ---- UpdateGroup ---- */

struct update {
    const char *name, *description, *avatar; /* NULL: not given */
    const bool *is_public;
    bool if_version_given;
    uint64_t if_version;
};

static int take_update(struct rpc_request *rq, const Chat__UpdateGroupRequest *in,
                       struct update *out)
{
    static const bool visible[] = {false, true};

    *out = (struct update){
        .if_version_given = in->if_version_given_case ==
                            CHAT__UPDATE_GROUP_REQUEST__IF_VERSION_GIVEN_IF_VERSION,
    };
    if (out->if_version_given) {
        out->if_version = in->if_version;
    }
    if (in->name_given_case == CHAT__UPDATE_GROUP_REQUEST__NAME_GIVEN_NAME) {
        out->name = take(rq, "name", in->name, group_rules_check_name);
    }
    if (in->description_given_case == CHAT__UPDATE_GROUP_REQUEST__DESCRIPTION_GIVEN_DESCRIPTION) {
        out->description = take(rq, "description", in->description, group_rules_check_description);
    }
    if (in->avatar_given_case == CHAT__UPDATE_GROUP_REQUEST__AVATAR_GIVEN_AVATAR) {
        out->avatar = take(rq, "avatar", in->avatar, text_check_url);
    }
    if (in->visibility_given_case == CHAT__UPDATE_GROUP_REQUEST__VISIBILITY_GIVEN_VISIBILITY &&
        take_visibility(rq, in->visibility)) {
        out->is_public = &visible[in->visibility == CHAT__VISIBILITY__TYPE__PUBLIC];
    }
    return rq->error_count == 0 ? 0 : ERR_INVALID;
}

/* Returns whether anything is different now. */
static bool apply(struct rpc_request *rq, const struct update *update, struct group_row *group)
{
    bool changed = false;

    if (update->name != NULL && strcmp(update->name, group->name) != 0) {
        group->name = update->name;
        group->name_key = make_key(rq, update->name);
        changed = true;
    }
    if (update->description != NULL && strcmp(update->description, group->description) != 0) {
        group->description = update->description;
        changed = true;
    }
    if (update->avatar != NULL && strcmp(update->avatar, group->avatar) != 0) {
        group->avatar = update->avatar;
        changed = true;
    }
    if (update->is_public != NULL && *update->is_public != group->is_public) {
        group->is_public = *update->is_public;
        changed = true;
    }
    return changed;
}

static int update_in_transaction(struct group_change *c, void *arg)
{
    const struct update *update = arg;
    int err = group_change_check(c->rq, GROUP_UPDATE, &c->group, &c->me);

    if (err != 0) {
        return err;
    }
    if (update->if_version_given && update->if_version != c->group.version) {
        return rpc_fail(c->rq, ERR_PRECONDITION_FAILED, "the group has changed since");
    }
    if (!apply(c->rq, update, &c->group)) {
        return 0;
    }
    c->group.updated_at = c->now_ms;
    err = group_change_save(c);
    return err != 0 ? err : group_wire_tell_facts(c->rq, CHAT__CHANGE__TYPE__UPDATED, &c->group);
}

/* First seen without a lock: who may not do it shall not make others wait, nor learn by which
 * field's error that the group exists. */
int group_update(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__UpdateGroupRequest *request = in;
    Chat__GroupReply *reply = out;
    struct group_row group;
    struct group_member me;
    struct update update;
    struct group_change c;
    int err = group_change_look(rq, request->id, GROUP_UPDATE, &group, &me);

    if (err == 0) {
        err = take_update(rq, request, &update);
    }
    if (err == 0) {
        err = group_change_run(rq, request->id, update_in_transaction, &update, &c);
    }
    if (err == 0) {
        reply->message = pb_str("Group updated");
        reply->group = group_wire_group(rq->arena, &c.group, c.me.role);
    }
    return err;
}

/* ---- DeleteGroup ---- */

/* The members' rows stay as they are: the group's deletion outranks them (wire.h, store.c). */
static int delete_in_transaction(struct group_change *c, void *arg)
{
    int err = group_change_check(c->rq, GROUP_DELETE, &c->group, &c->me);

    (void)arg;
    if (err != 0) {
        return err;
    }
    c->group.deleted_at = c->group.updated_at = c->now_ms;
    err = group_change_save(c);
    return err != 0 ? err : group_wire_tell_facts(c->rq, CHAT__CHANGE__TYPE__DELETED, &c->group);
}

int group_delete(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__DeleteGroupRequest *request = in;
    struct group_row group;
    struct group_member me;
    struct group_change c;
    int err = group_change_look(rq, request->id, GROUP_DELETE, &group, &me);

    (void)out;
    return err != 0 ? err : group_change_run(rq, request->id, delete_in_transaction, NULL, &c);
}
