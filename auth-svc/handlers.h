// SPDX-License-Identifier: MIT
/*
 * The RPCs of service Auth (proto/auth.proto), and what they share. Each runs on a worker thread
 * with rq->worker set to the service's struct auth_state (tests set it by hand). Errors are those
 * of the client contract; every row of the table in service.c is one of these functions.
 */
#pragma once

#include "auth-svc/attempts.h"
#include "auth-svc/refresh.h"
#include "auth-svc/store.h"
#include "common/rpc.h"
#include "common/token.h"

/* What all workers share; made at start, then only read. */
struct auth_state {
    struct token_keys *keys;
    struct auth_refresh_keys refresh_keys;
    struct auth_attempts *attempts; /* NULL: failed logins are not counted */
    int64_t access_s, refresh_s;    /* how long tokens live */
};

#define AUTH_SESSIONS_MOST 100            /* of one user; a further login ends the oldest */
#define AUTH_REFRESH_GRACE_MS (30 * 1000) /* how long the token before is still answered */
#define AUTH_ADDRESS_BYTES 64             /* of a session; the column's width */
#define AUTH_PROFILES_MOST 500            /* ids in one GetProfiles */
#define AUTH_PAGE_BYTES (RPC_REPLY_MAX - 32 * 1024) /* users in one reply */

/* accounts.c: the slow lane, they hash. */
int auth_accounts_sign_up(struct rpc_request *rq, const void *in, void *out);
int auth_accounts_login(struct rpc_request *rq, const void *in, void *out);
int auth_accounts_change_password(struct rpc_request *rq, const void *in, void *out);

/* sessions.c */
int auth_sessions_refresh(struct rpc_request *rq, const void *in, void *out);
int auth_sessions_logout(struct rpc_request *rq, const void *in, void *out);
int auth_sessions_list(struct rpc_request *rq, const void *in, void *out);
int auth_sessions_end(struct rpc_request *rq, const void *in, void *out);

/* users.c */
int auth_users_list(struct rpc_request *rq, const void *in, void *out);
int auth_users_get(struct rpc_request *rq, const void *in, void *out);
int auth_users_update(struct rpc_request *rq, const void *in, void *out);
int auth_users_get_profiles(struct rpc_request *rq, const void *in, void *out);

/* Within a transaction: makes an account, its texts checked before, and writes the event. Sets id,
 * search_text, times and version. ERR_DUPLICATE: the name is taken. */
int auth_accounts_insert_user(struct rpc_request *rq, struct db *db, struct auth_store_user *user);

/* Within a transaction: ends a session and writes the event, if it still lived. */
int auth_sessions_end_one(struct rpc_request *rq, struct db *db, uint64_t user_id,
                          uint64_t session_id);

/* What q is looked for in: the name's key and the folded nickname. */
const char *auth_users_make_search_text(struct arena *arena, const char *username_key,
                                        const char *nickname);
