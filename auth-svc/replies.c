// SPDX-License-Identifier: MIT
/*
 * The one place that decides what of a user's row leaves this service: never the hash, and the
 * email to its owner only.
 */
#include "auth-svc/replies.h"

#include "auth-svc/handlers.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pb.h"

#include <stdio.h>

Chat__User *auth_replies_make_user(struct arena *arena, const struct auth_store_user *user,
                                   enum auth_replies_view view)
{
    Chat__User *shown = pb_new(&chat__user__descriptor, arena);

    shown->id = user->id;
    shown->username = pb_str(user->username);
    shown->nickname = pb_str(user->nickname);
    shown->avatar = pb_str(user->avatar);
    shown->bio = pb_str(user->bio);
    shown->created_at = user->created_at;
    shown->updated_at = user->updated_at;
    shown->version = user->version;
    if (view == AUTH_REPLIES_OWN) {
        shown->email_shown_case = CHAT__USER__EMAIL_SHOWN_EMAIL;
        shown->email = pb_str(user->email);
    }
    return shown;
}

Chat__User *auth_replies_show_user(struct rpc_request *rq, const struct auth_store_user *user)
{
    return auth_replies_make_user(
        rq->arena, user, user->id == rq->caller.user_id ? AUTH_REPLIES_OWN : AUTH_REPLIES_PUBLIC);
}

int auth_replies_fill_grant(struct rpc_request *rq, const struct auth_store_user *user,
                            const struct auth_store_session *session, const char *message,
                            Chat__Grant *out)
{
    const struct auth_state *state = rq->worker;
    int64_t now_s = clock_now_ms() / 1000;
    struct token_claims claims = {
        .user_id = user->id,
        .session_id = session->id,
        .issued_at = now_s,
        .expires_at = now_s + state->access_s,
    };
    struct auth_refresh_token refresh = {session->id, session->generation};
    char *text = arena_alloc(rq->arena, AUTH_REFRESH_TEXT_SIZE);
    const char *token;

    snprintf(claims.username, sizeof(claims.username), "%s", user->username);
    if (token_sign(state->keys, &claims, rq->arena, &token) != 0) {
        log_error("token not signed", "user=%llu", (unsigned long long)user->id);
        return ERR_INTERNAL;
    }
    auth_refresh_write_text(&state->refresh_keys, &refresh, text);
    out->message = pb_str(message);
    out->user = auth_replies_make_user(rq->arena, user, AUTH_REPLIES_OWN);
    out->token = pb_str(token);
    out->refresh_token = pb_str(text);
    out->expires_in = state->access_s;
    return 0;
}
