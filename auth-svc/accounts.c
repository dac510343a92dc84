// SPDX-License-Identifier: MIT
/*
 * Accounts and their passwords: sign-up, login, change of password. On the slow lane: each hashes
 * once (about 20 ms), outside of the transaction.
 *
 * A login is refused in the same words and after the same time whether the name or the password
 * is wrong. Sign-up cannot hide which names are taken, and does not try.
 */
#include "auth-svc/handlers.h"

#include "auth-svc/events.h"
#include "auth-svc/password.h"
#include "auth-svc/replies.h"
#include "auth-svc/rules.h"
#include "auth-svc/text.h"
#include "auth-svc/username.h"
#include "common/clock.h"
#include "common/pb.h"
#include "common/text.h"

#include <string.h>

static void check_field(struct rpc_request *rq, const char *field,
                        const char *(*check)(const void *, size_t), ProtobufCBinaryData value)
{
    const char *reason = check(value.data, value.len);

    if (reason != NULL) {
        rpc_invalid(rq, field, "%s", reason);
    }
}

static const char *check_not_empty(const void *text, size_t n)
{
    (void)text;
    return n == 0 ? "must not be empty" : NULL;
}

/* A session that begins now. Its device is what the client calls itself, else its User-Agent. */
static struct auth_store_session new_session(struct rpc_request *rq, ProtobufCBinaryData device)
{
    const struct auth_state *state = rq->worker;
    int64_t now_ms = clock_now_ms();

    return (struct auth_store_session){
        .generation = 1,
        .rotated_at = now_ms,
        .created_at = now_ms,
        .seen_at = now_ms,
        .expires_at = now_ms + state->refresh_s * 1000,
        .device = device.len > 0
                      ? pb_cstr(rq->arena, device)
                      : auth_text_clean_line(rq->arena, rq->caller.device, AUTH_RULES_DEVICE_MAX),
        .address = auth_text_clean_line(rq->arena, rq->caller.address, AUTH_ADDRESS_BYTES),
    };
}

/* ---- Sign-up ---- */

struct sign_up {
    struct rpc_request *rq;
    struct auth_store_user user;
    struct auth_store_session session;
};

int auth_accounts_insert_user(struct rpc_request *rq, struct db *db, struct auth_store_user *user)
{
    user->created_at = user->updated_at = clock_now_ms();
    user->version = 1;
    user->search_text = auth_users_make_search_text(rq->arena, user->username_key, user->nickname);
    int rc = auth_store_insert_user(db, user, &user->id);
    return rc == 0 ? auth_events_add_user(rq, db, user) : rc;
}

static int sign_up_in_transaction(struct db *db, void *arg)
{
    struct sign_up *s = arg;
    int rc = auth_accounts_insert_user(s->rq, db, &s->user);

    if (rc == 0) {
        s->session.user_id = s->user.id;
        rc = auth_store_insert_session(db, &s->session, &s->session.id);
    }
    return rc;
}

/* Everything that is wrong at once, so that a form can show it. */
static int check_sign_up(struct rpc_request *rq, const Chat__SignUpRequest *request,
                         const char **key_out)
{
    const char *reason = NULL;

    *key_out =
        auth_username_make_key(rq->arena, request->username.data, request->username.len, &reason);
    if (*key_out == NULL) {
        rpc_invalid(rq, "username", "%s", reason);
    }
    check_field(rq, "password", auth_rules_check_password, request->password);
    check_field(rq, "email", auth_rules_check_email, request->email);
    check_field(rq, "nickname", auth_rules_check_nickname, request->nickname);
    check_field(rq, "avatar", text_check_url, request->avatar);
    check_field(rq, "device", auth_rules_check_device, request->device);
    return rq->error_count > 0 ? ERR_INVALID : 0;
}

int auth_accounts_sign_up(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__SignUpRequest *request = in;
    char hash[AUTH_PASSWORD_HASH_SIZE];
    struct auth_store_user taken;
    const char *key;
    int rc = check_sign_up(rq, request, &key);

    if (rc != 0) {
        return rc;
    }
    /* Before the costly hash; the unique key decides between two at once. */
    rc = auth_store_find_name(rq->db, rq->arena, key, &taken);
    if (rc == 0) {
        return rpc_fail(rq, ERR_USERNAME_TAKEN, "the name %s is taken",
                        pb_cstr(rq->arena, request->username));
    }
    if (rc == ERR_NOT_FOUND) {
        rc = auth_password_make_hash(request->password.data, request->password.len, hash);
    }
    if (rc != 0) {
        return auth_store_settle_error(rc);
    }
    struct sign_up s = {
        .rq = rq,
        .user = {.username = pb_cstr(rq->arena, request->username),
                 .username_key = key,
                 .password_hash = hash,
                 .nickname = pb_cstr(rq->arena, request->nickname),
                 .avatar = pb_cstr(rq->arena, request->avatar),
                 .bio = "",
                 .email = pb_cstr(rq->arena, request->email)},
        .session = new_session(rq, request->device),
    };
    rc = auth_store_transact(rq->db, sign_up_in_transaction, &s);
    if (rc == ERR_DUPLICATE) {
        return rpc_fail(rq, ERR_USERNAME_TAKEN, "the name %s is taken", s.user.username);
    }
    if (rc != 0) {
        return rc;
    }
    auth_events_wake(rq);
    return auth_replies_fill_grant(rq, &s.user, &s.session, "User registered successfully", out);
}

/* ---- Login ---- */

struct login {
    struct rpc_request *rq;
    struct auth_store_user *user; /* with the hash that the password was right for */
    const char *new_hash;         /* NULL: the old one stays */
    struct auth_store_session session;
};

/* Makes room for one more session. */
static int end_oldest(struct rpc_request *rq, struct db *db, uint64_t user_id)
{
    struct auth_store_sessions live;
    int rc = auth_store_list_sessions(db, rq->arena, user_id, clock_now_ms(), &live);

    for (size_t i = 0; rc == 0 && i + AUTH_SESSIONS_MOST <= live.count; i++) {
        rc = auth_sessions_end_one(rq, db, user_id, live.list[i].id);
    }
    return rc;
}

/* With the user's row locked, so that a change of password either is seen here or ends the session
 * made here. ERR_CONFLICT: the hash is another than the one that was checked. */
static int login_in_transaction(struct db *db, void *arg)
{
    struct login *l = arg;
    struct auth_store_user now;
    int rc = auth_store_find_user(db, l->rq->arena, l->user->id, AUTH_STORE_LOCK, &now);

    if (rc == ERR_NOT_FOUND) {
        return ERR_BAD_CREDENTIALS;
    }
    if (rc == 0 && strcmp(now.password_hash, l->user->password_hash) != 0) {
        return ERR_CONFLICT;
    }
    if (rc == 0 && l->new_hash != NULL) {
        rc = auth_store_update_password(db, now.id, l->new_hash);
    }
    if (rc == 0) {
        rc = end_oldest(l->rq, db, now.id);
    }
    if (rc == 0) {
        rc = auth_store_insert_session(db, &l->session, &l->session.id);
    }
    return rc;
}

/* ERR_BAD_CREDENTIALS: user or password is wrong. */
static int check_login(struct rpc_request *rq, const char *key, ProtobufCBinaryData password,
                       struct auth_store_user *user_out)
{
    int rc = key == NULL ? ERR_NOT_FOUND : auth_store_find_name(rq->db, rq->arena, key, user_out);

    if (rc != 0 && rc != ERR_NOT_FOUND) {
        return auth_store_settle_error(rc);
    }
    const char *hash = rc == 0 ? user_out->password_hash : NULL;
    return auth_password_is_right(hash, password.data, password.len) ? 0 : ERR_BAD_CREDENTIALS;
}

static int begin_session(struct rpc_request *rq, const Chat__LoginRequest *request,
                         struct auth_store_user *user, struct auth_store_session *session_out)
{
    char hash[AUTH_PASSWORD_HASH_SIZE];
    struct login l = {.rq = rq, .user = user, .session = new_session(rq, request->device)};

    l.session.user_id = user->id;
    if (auth_password_needs_rehash(user->password_hash) &&
        auth_password_make_hash(request->password.data, request->password.len, hash) == 0) {
        l.new_hash = hash;
    }
    int rc = auth_store_transact(rq->db, login_in_transaction, &l);
    if (rc == 0) {
        auth_events_wake(rq);
        *session_out = l.session;
    }
    return rc;
}

static int refuse_for(struct rpc_request *rq, int64_t wait_ms)
{
    rq->retry_after_s = (uint32_t)((wait_ms + 999) / 1000);
    return rpc_fail(rq, ERR_RATE_LIMITED, "too many failed logins; try again in %u s",
                    rq->retry_after_s);
}

/* What an attempt's end means for the count. */
static void settle_attempt(struct rpc_request *rq, const char *account, int rc)
{
    const struct auth_state *state = rq->worker;

    auth_attempts_end(state->attempts, account, rq->caller.address,
                      rc == 0                     ? AUTH_ATTEMPTS_RIGHT
                      : rc == ERR_BAD_CREDENTIALS ? AUTH_ATTEMPTS_WRONG
                                                  : AUTH_ATTEMPTS_UNCHECKED);
}

/* Checks the password against today's hash, then begins the session. */
static int try_login(struct rpc_request *rq, const Chat__LoginRequest *request, const char *key,
                     struct auth_store_user *user_out, struct auth_store_session *session_out)
{
    int rc = check_login(rq, key, request->password, user_out);

    return rc == 0 ? begin_session(rq, request, user_out, session_out) : rc;
}

int auth_accounts_login(struct rpc_request *rq, const void *in, void *out)
{
    const struct auth_state *state = rq->worker;
    const Chat__LoginRequest *request = in;
    struct auth_store_session session;
    struct auth_store_user user;
    const char *reason;
    int64_t wait_ms;

    check_field(rq, "username", check_not_empty, request->username);
    check_field(rq, "password", check_not_empty, request->password);
    check_field(rq, "device", auth_rules_check_device, request->device);
    if (rq->error_count > 0) {
        return ERR_INVALID;
    }
    const char *key =
        auth_username_make_key(rq->arena, request->username.data, request->username.len, &reason);
    const char *account = key != NULL ? key : ""; /* impossible names are counted as one */
    if (!auth_attempts_begin(state->attempts, account, rq->caller.address, &wait_ms)) {
        return refuse_for(rq, wait_ms);
    }
    int rc = try_login(rq, request, key, &user, &session);
    if (rc == ERR_CONFLICT) { /* changed, or made anew by another login: the new hash decides */
        rc = try_login(rq, request, key, &user, &session);
    }
    if (rc == ERR_CONFLICT) {
        rc = ERR_UNAVAILABLE;
    }
    settle_attempt(rq, account, rc);
    if (rc == ERR_BAD_CREDENTIALS) {
        return rpc_fail(rq, rc, "wrong name or password");
    }
    return rc == 0 ? auth_replies_fill_grant(rq, &user, &session, "Login successful", out) : rc;
}

/* ---- Change of password ---- */

struct change {
    struct rpc_request *rq;
    const struct auth_store_user *user; /* with the hash that the old password was right for */
    const char *new_hash;
};

static int change_in_transaction(struct db *db, void *arg)
{
    struct change *c = arg;
    struct rpc_request *rq = c->rq;
    struct auth_store_sessions live;
    struct auth_store_user now;
    int rc = auth_store_find_user(db, rq->arena, c->user->id, AUTH_STORE_LOCK, &now);

    if (rc == 0 && strcmp(now.password_hash, c->user->password_hash) != 0) {
        return ERR_CONFLICT;
    }
    if (rc == 0) {
        rc = auth_store_update_password(db, now.id, c->new_hash);
    }
    if (rc == 0) {
        rc = auth_store_list_sessions(db, rq->arena, now.id, clock_now_ms(), &live);
    }
    for (size_t i = 0; rc == 0 && i < live.count; i++) {
        if (live.list[i].id != rq->caller.session_id) {
            rc = auth_sessions_end_one(rq, db, now.id, live.list[i].id);
        }
    }
    return rc;
}

static int find_caller(struct rpc_request *rq, struct auth_store_user *user_out)
{
    int rc = auth_store_find_user(rq->db, rq->arena, rq->caller.user_id, AUTH_STORE_READ, user_out);

    if (rc == ERR_NOT_FOUND) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "this account is gone");
    }
    return auth_store_settle_error(rc);
}

/* ERR_CONFLICT: the hash is another than the user's here. */
static int try_change(struct rpc_request *rq, const Chat__ChangePasswordRequest *request,
                      const struct auth_store_user *user)
{
    char hash[AUTH_PASSWORD_HASH_SIZE];
    struct change c = {.rq = rq, .user = user, .new_hash = hash};

    if (!auth_password_is_right(user->password_hash, request->old_password.data,
                                request->old_password.len)) {
        return ERR_BAD_CREDENTIALS;
    }
    int rc = auth_password_make_hash(request->new_password.data, request->new_password.len, hash);
    return rc == 0 ? auth_store_transact(rq->db, change_in_transaction, &c) : rc;
}

static int change_password(struct rpc_request *rq, const Chat__ChangePasswordRequest *request,
                           struct auth_store_user *user)
{
    int rc = try_change(rq, request, user);

    if (rc == ERR_CONFLICT) { /* changed, or made anew by a login: the new hash decides */
        rc = find_caller(rq, user);
        rc = rc == 0 ? try_change(rq, request, user) : rc;
    }
    return rc == ERR_CONFLICT ? ERR_UNAVAILABLE : rc;
}

/* Guesses at the old password count as failed logins: a stolen access token is no way around. */
int auth_accounts_change_password(struct rpc_request *rq, const void *in, void *out)
{
    const struct auth_state *state = rq->worker;
    const Chat__ChangePasswordRequest *request = in;
    struct auth_store_user user;
    int64_t wait_ms;

    (void)out;
    if (rq->caller.user_id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    check_field(rq, "old_password", check_not_empty, request->old_password);
    check_field(rq, "new_password", auth_rules_check_password, request->new_password);
    if (rq->error_count > 0) {
        return ERR_INVALID;
    }
    int rc = find_caller(rq, &user);
    if (rc != 0) {
        return rc;
    }
    if (!auth_attempts_begin(state->attempts, user.username_key, rq->caller.address, &wait_ms)) {
        return refuse_for(rq, wait_ms);
    }
    rc = change_password(rq, request, &user);
    settle_attempt(rq, user.username_key, rc);
    if (rc == ERR_BAD_CREDENTIALS) {
        return rpc_invalid(rq, "old_password", "is wrong");
    }
    if (rc == 0) {
        auth_events_wake(rq);
    }
    return rc;
}
