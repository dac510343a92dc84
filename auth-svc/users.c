// SPDX-License-Identifier: MIT
/*
 * Profiles: looked up, searched, changed. Every user may see every profile; only the owner may
 * change it and sees its email.
 */
#include "auth-svc/handlers.h"

#include "auth-svc/events.h"
#include "auth-svc/replies.h"
#include "auth-svc/rules.h"
#include "common/clock.h"
#include "common/pb.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

enum {
    LIMIT_DEFAULT = 50,
    LIMIT_MOST = 200,
    Q_CHARACTERS = 64,
    SEARCH_SPAN = 100000, /* ids that one search looks at: about 50 ms */
};

const char *auth_users_make_search_text(struct arena *arena, const char *username_key,
                                        const char *nickname)
{
    const char *folded = text_fold(arena, nickname, strlen(nickname));

    return arena_printf(arena, "%s\n%s", username_key, folded != NULL ? folded : "");
}

/* ---- Looking up ---- */

int auth_users_get(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__GetUserRequest *request = in;
    Chat__UserReply *reply = out;
    uint64_t id = request->id != 0 ? request->id : rq->caller.user_id;
    struct auth_store_user user;

    if (id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    int rc = auth_store_find_user(rq->db, rq->arena, id, AUTH_STORE_READ, &user);
    if (rc == ERR_NOT_FOUND) {
        return rpc_fail(rq, rc, "there is no user %llu", (unsigned long long)id);
    }
    if (rc == 0) {
        reply->user = auth_replies_show_user(rq, &user);
    }
    return auth_store_settle_error(rc);
}

int auth_users_get_profiles(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__GetProfilesRequest *request = in;
    Chat__Profiles *reply = out;
    struct auth_store_users found;
    size_t bytes = 0;

    if (request->n_ids > AUTH_PROFILES_MOST) {
        return rpc_invalid(rq, "ids", "must be at most %d", AUTH_PROFILES_MOST);
    }
    int rc = auth_store_find_users(rq->db, rq->arena, request->ids, request->n_ids, &found);
    if (rc != 0) {
        return auth_store_settle_error(rc);
    }
    reply->users = arena_array(rq->arena, found.count, sizeof(*reply->users));
    reply->left_out_ids = arena_array(rq->arena, found.count, sizeof(*reply->left_out_ids));
    for (size_t i = 0; i < found.count; i++) {
        Chat__User *user = auth_replies_make_user(rq->arena, &found.list[i], AUTH_REPLIES_PUBLIC);
        bytes += chat__user__get_packed_size(user) + 16;
        if (bytes > AUTH_PAGE_BYTES) {
            reply->left_out_ids[reply->n_left_out_ids++] = user->id;
        } else {
            reply->users[reply->n_users++] = user;
        }
    }
    return 0;
}

/* ---- Lists ---- */

static int read_cursor(struct rpc_request *rq, ProtobufCBinaryData cursor, uint64_t *id_out)
{
    const char *text = pb_cstr(rq->arena, cursor);

    if (cursor.len == 0) {
        *id_out = 0;
        return 0;
    }
    if (strspn(text, "0123456789") != cursor.len || cursor.len > 18) {
        return rpc_fail(rq, ERR_BAD_QUERY, "cursor is not one that a reply gave");
    }
    *id_out = strtoull(text, NULL, 10);
    return 0;
}

static int read_list_request(struct rpc_request *rq, const Chat__ListUsersRequest *request,
                             struct auth_store_range *range_out)
{
    struct auth_store_range range = {.until_id = INT64_MAX};
    size_t characters;

    if (request->limit < 0) {
        return rpc_fail(rq, ERR_BAD_QUERY, "limit must be at least 1");
    }
    range.limit = request->limit == 0           ? LIMIT_DEFAULT
                  : request->limit > LIMIT_MOST ? LIMIT_MOST
                                                : (size_t)request->limit;
    if (request->q.len > (size_t)Q_CHARACTERS * 4 ||
        !text_is_valid(request->q.data, request->q.len, TEXT_NO_CONTROLS, &characters) ||
        characters > Q_CHARACTERS) {
        return rpc_fail(rq, ERR_BAD_QUERY, "q must be at most 64 characters of one line");
    }
    range.q = text_fold(rq->arena, request->q.data, request->q.len);
    if (range.q != NULL && range.q[0] == '\0') {
        range.q = NULL;
    }
    int rc = read_cursor(rq, request->cursor, &range.after_id);
    if (rc == 0) {
        *range_out = range;
    }
    return rc;
}

/* One more than asked for is fetched, to see whether there is more. */
static void fill_page(struct rpc_request *rq, const struct auth_store_users *found, size_t limit,
                      Chat__UserList *out)
{
    size_t bytes = 0;

    out->users = arena_array(rq->arena, found->count, sizeof(*out->users));
    for (size_t i = 0; i < found->count; i++) {
        Chat__User *user = auth_replies_show_user(rq, &found->list[i]);
        bytes += chat__user__get_packed_size(user) + 16;
        if (i == limit || bytes > AUTH_PAGE_BYTES) {
            out->next_cursor = pb_str(arena_printf(
                rq->arena, "%llu", (unsigned long long)out->users[out->n_users - 1]->id));
            return;
        }
        out->users[out->n_users++] = user;
    }
}

/*
 * A search reads every row of its span, so the span is bounded: where it ends before the last
 * user, the page may be short or empty and has a cursor all the same.
 */
int auth_users_list(struct rpc_request *rq, const void *in, void *out)
{
    Chat__UserList *reply = out;
    struct auth_store_range range;
    struct auth_store_users found;
    uint64_t last_id = 0;
    int rc = read_list_request(rq, in, &range);

    if (rc != 0) {
        return rc;
    }
    if (range.q != NULL) {
        rc = auth_store_find_last_user(rq->db, rq->arena, &last_id);
        range.until_id = range.after_id + SEARCH_SPAN;
    }
    size_t limit = range.limit++;
    if (rc == 0) {
        rc = auth_store_list_users(rq->db, rq->arena, &range, &found);
    }
    if (rc != 0) {
        return auth_store_settle_error(rc);
    }
    fill_page(rq, &found, limit, reply);
    if (reply->next_cursor.len == 0 && range.q != NULL && range.until_id < last_id) {
        reply->next_cursor =
            pb_str(arena_printf(rq->arena, "%llu", (unsigned long long)range.until_id));
    }
    return 0;
}

/* ---- Changing ---- */

struct update {
    struct rpc_request *rq;
    const Chat__UpdateUserRequest *request;
    struct auth_store_user user; /* as it is afterwards */
};

static void check_field(struct rpc_request *rq, bool given, const char *field,
                        const char *(*check)(const void *, size_t), ProtobufCBinaryData value)
{
    const char *reason = given ? check(value.data, value.len) : NULL;

    if (reason != NULL) {
        rpc_invalid(rq, field, "%s", reason);
    }
}

static bool change_field(struct rpc_request *rq, bool given, ProtobufCBinaryData value,
                         const char **field)
{
    if (!given || pb_equal(value, *field)) {
        return false;
    }
    *field = pb_cstr(rq->arena, value);
    return true;
}

static int update_in_transaction(struct db *db, void *arg)
{
    struct update *u = arg;
    struct rpc_request *rq = u->rq;
    const Chat__UpdateUserRequest *request = u->request;
    struct auth_store_user *user = &u->user;
    int rc = auth_store_find_user(db, rq->arena, rq->caller.user_id, AUTH_STORE_LOCK, user);

    if (rc != 0) {
        return rc;
    }
    if (request->if_version_given_case != 0 && request->if_version != user->version) {
        return rpc_fail(rq, ERR_PRECONDITION_FAILED, "the record is at another version");
    }
    bool changed =
        change_field(rq, request->nickname_given_case != 0, request->nickname, &user->nickname);
    changed |= change_field(rq, request->avatar_given_case != 0, request->avatar, &user->avatar);
    changed |= change_field(rq, request->bio_given_case != 0, request->bio, &user->bio);
    changed |= change_field(rq, request->email_given_case != 0, request->email, &user->email);
    if (!changed) {
        return 0;
    }
    user->search_text = auth_users_make_search_text(rq->arena, user->username_key, user->nickname);
    user->updated_at = clock_now_ms();
    user->version++;
    rc = auth_store_update_profile(db, user);
    return rc == 0 ? auth_events_add_user(rq, db, user) : rc;
}

/* Why a caller may not change this record, or 0. */
static int check_owner(struct rpc_request *rq, uint64_t id)
{
    struct auth_store_user other;

    if (rq->caller.user_id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    if (id == 0 || id == rq->caller.user_id) {
        return 0;
    }
    int rc = auth_store_find_user(rq->db, rq->arena, id, AUTH_STORE_READ, &other);
    if (rc == ERR_NOT_FOUND) {
        return rpc_fail(rq, rc, "there is no user %llu", (unsigned long long)id);
    }
    return rc == 0 ? rpc_fail(rq, ERR_FORBIDDEN, "only one's own record can be changed")
                   : auth_store_settle_error(rc);
}

int auth_users_update(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__UpdateUserRequest *request = in;
    Chat__UserReply *reply = out;
    struct update u = {.rq = rq, .request = request};
    int rc = check_owner(rq, request->id);

    if (rc != 0) {
        return rc;
    }
    check_field(rq, request->nickname_given_case != 0, "nickname", auth_rules_check_nickname,
                request->nickname);
    check_field(rq, request->avatar_given_case != 0, "avatar", text_check_url, request->avatar);
    check_field(rq, request->bio_given_case != 0, "bio", auth_rules_check_bio, request->bio);
    check_field(rq, request->email_given_case != 0, "email", auth_rules_check_email,
                request->email);
    if (rq->error_count > 0) {
        return ERR_INVALID;
    }
    rc = auth_store_transact(rq->db, update_in_transaction, &u);
    if (rc == ERR_NOT_FOUND) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "this account does not exist any more");
    }
    if (rc == 0) {
        auth_events_wake(rq);
        reply->user = auth_replies_show_user(rq, &u.user);
    }
    return rc;
}
