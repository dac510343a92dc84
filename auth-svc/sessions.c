// SPDX-License-Identifier: MIT
/*
 * Sessions: kept alive by refresh tokens, ended by logout, by their owner, or by a token that is
 * too old to be honest.
 *
 * A session has one current refresh token, of the highest generation; using it makes the next one.
 * The token before gets the same next one for 30 s or until that is used, since an answer may be
 * lost and two tabs may ask at once. Any older token has been copied: the session ends (RFC 9700
 * section 4.14.2, refresh token rotation).
 */
#include "auth-svc/handlers.h"

#include "auth-svc/events.h"
#include "auth-svc/replies.h"
#include "auth-svc/text.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pb.h"

int auth_sessions_end_one(struct rpc_request *rq, struct db *db, uint64_t user_id,
                          uint64_t session_id)
{
    int64_t now_ms = clock_now_ms();
    bool ended = false;
    int rc = auth_store_end_session(db, session_id, now_ms, &ended);

    return rc == 0 && ended ? auth_events_add_ended(rq, db, user_id, session_id, now_ms) : rc;
}

/* ---- Refresh ---- */

struct refresh {
    struct rpc_request *rq;
    struct auth_refresh_token token;
    struct auth_store_session session; /* as it is afterwards */
    struct auth_store_user user;
    bool refused;
};

static int rotate(struct refresh *r, struct db *db, int64_t now_ms)
{
    const struct auth_state *state = r->rq->worker;
    struct auth_store_session *session = &r->session;

    session->generation++;
    session->rotated_at = now_ms;
    session->seen_at = now_ms;
    session->expires_at = now_ms + state->refresh_s * 1000;
    if (r->rq->caller.address[0] != '\0') {
        session->address =
            auth_text_clean_line(r->rq->arena, r->rq->caller.address, AUTH_ADDRESS_BYTES);
    }
    return auth_store_update_session(db, session);
}

static int refresh_in_transaction(struct db *db, void *arg)
{
    struct refresh *r = arg;
    struct auth_store_session *session = &r->session;
    int64_t now_ms = clock_now_ms();
    int rc =
        auth_store_find_session(db, r->rq->arena, r->token.session_id, AUTH_STORE_LOCK, session);

    r->refused = false;
    if (rc == 0) {
        rc = auth_store_find_user(db, r->rq->arena, session->user_id, AUTH_STORE_READ, &r->user);
    }
    if (rc == ERR_NOT_FOUND ||
        (rc == 0 && (session->ended_at != 0 || session->expires_at <= now_ms ||
                     r->token.generation > session->generation))) {
        r->refused = true; /* of a generation to come: the database is older than the token */
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (r->token.generation == session->generation) {
        return rotate(r, db, now_ms);
    }
    if (r->token.generation + 1 == session->generation &&
        now_ms - session->rotated_at <= AUTH_REFRESH_GRACE_MS) {
        return 0;
    }
    r->refused = true;
    log_info("old refresh token", "session=%llu user=%llu generation=%u current=%u",
             (unsigned long long)session->id, (unsigned long long)session->user_id,
             r->token.generation, session->generation);
    return auth_sessions_end_one(r->rq, db, session->user_id, session->id);
}

int auth_sessions_refresh(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__RefreshRequest *request = in;
    const struct auth_state *state = rq->worker;
    struct refresh r = {.rq = rq};

    if (request->refresh_token.len == 0) {
        return rpc_invalid(rq, "refresh_token", "must not be empty");
    }
    int rc = auth_refresh_read_text(&state->refresh_keys, request->refresh_token.data,
                                    request->refresh_token.len, &r.token);
    if (rc == 0) {
        rc = auth_store_transact(rq->db, refresh_in_transaction, &r);
    }
    if (rc == 0 && r.refused) {
        auth_events_wake(rq);
        rc = ERR_UNAUTHENTICATED;
    }
    if (rc == ERR_UNAUTHENTICATED) {
        return rpc_fail(rq, rc, "the refresh token is not valid, or its session has ended");
    }
    return rc == 0 ? auth_replies_fill_grant(rq, &r.user, &r.session, "Token refreshed", out) : rc;
}

/* ---- Ending ---- */

struct ending {
    struct rpc_request *rq;
    uint64_t session_id;
    uint64_t user_id; /* whose it must be; 0: anybody's, the token was the proof */
};

/* ERR_NOT_FOUND: no such session of that user, or it has ended. */
static int end_in_transaction(struct db *db, void *arg)
{
    struct ending *e = arg;
    struct auth_store_session session;
    int rc = auth_store_find_session(db, e->rq->arena, e->session_id, AUTH_STORE_LOCK, &session);

    if (rc == 0 && ((e->user_id != 0 && session.user_id != e->user_id) || session.ended_at != 0)) {
        rc = ERR_NOT_FOUND;
    }
    return rc == 0 ? auth_sessions_end_one(e->rq, db, session.user_id, session.id) : rc;
}

static int end_session(struct rpc_request *rq, uint64_t session_id, uint64_t user_id)
{
    struct ending e = {.rq = rq, .session_id = session_id, .user_id = user_id};
    int rc = auth_store_transact(rq->db, end_in_transaction, &e);

    if (rc == 0) {
        auth_events_wake(rq);
    }
    return rc;
}

/* A session that has ended already is as logged out as can be: no error, so that it can be
 * repeated. */
int auth_sessions_logout(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__LogoutRequest *request = in;
    const struct auth_state *state = rq->worker;
    struct auth_refresh_token token = {.session_id = rq->caller.session_id};
    uint64_t user_id = rq->caller.user_id;

    (void)out;
    if (request->refresh_token.len > 0) {
        int rc = auth_refresh_read_text(&state->refresh_keys, request->refresh_token.data,
                                        request->refresh_token.len, &token);
        if (rc != 0) {
            return rpc_fail(rq, rc, "the refresh token is not valid");
        }
        user_id = 0;
    } else if (token.session_id == 0 || user_id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    int rc = end_session(rq, token.session_id, user_id);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int auth_sessions_end(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__EndSessionRequest *request = in;

    (void)out;
    if (rq->caller.user_id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    int rc = end_session(rq, request->id, rq->caller.user_id);
    return rc == ERR_NOT_FOUND
               ? rpc_fail(rq, rc, "you have no session %llu", (unsigned long long)request->id)
               : rc;
}

int auth_sessions_list(struct rpc_request *rq, const void *in, void *out)
{
    Chat__SessionList *reply = out;
    struct auth_store_sessions found;

    (void)in;
    if (rq->caller.user_id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    int rc =
        auth_store_list_sessions(rq->db, rq->arena, rq->caller.user_id, clock_now_ms(), &found);
    if (rc != 0) {
        return auth_store_settle_error(rc);
    }
    reply->sessions = arena_array(rq->arena, found.count, sizeof(*reply->sessions));
    for (size_t i = found.count; i > 0; i--) { /* newest first */
        const struct auth_store_session *session = &found.list[i - 1];
        Chat__Session *shown = pb_new(&chat__session__descriptor, rq->arena);
        shown->id = session->id;
        shown->device = pb_str(session->device);
        shown->address = pb_str(session->address);
        shown->created_at = session->created_at;
        shown->seen_at = session->seen_at;
        shown->current = session->id == rq->caller.session_id;
        reply->sessions[reply->n_sessions++] = shown;
    }
    return 0;
}
