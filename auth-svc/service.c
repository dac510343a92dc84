// SPDX-License-Identifier: MIT
/*
 * Wires auth-svc: keys at start, the state that workers share, chores, and at the bottom the
 * tables. Decisions are in accounts.c, sessions.c and users.c.
 */
#include "auth-svc/service.h"

#include "auth-svc/chores.h"
#include "auth-svc/demo.h"
#include "auth-svc/handlers.h"
#include "auth-svc/password.h"
#include "auth-svc/schema.h"
#include "common/log.h"
#include "proto/auth.pb-c.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(TOKEN_KEYS_MAX <= AUTH_REFRESH_KEYS_MAX, "a refresh key for each");

struct service {
    struct auth_state state; /* first: what workers get */
    struct auth_chores chores;
};

/* ---- Keys ---- */

/* The skeleton has settled which way it is (secret or files) and that release has a real one. */
static int load_keys(const struct svc_settings *common, struct auth_state *state, char *problem,
                     size_t problem_size)
{
    const char *secret = common->jwt_secret[0] != '\0' ? common->jwt_secret : NULL;
    const char *private_file = secret == NULL ? common->jwt_private_key_file : NULL;

    if (secret == NULL && private_file[0] == '\0') {
        snprintf(problem, problem_size, "auth-svc signs tokens and needs JWT_PRIVATE_KEY_FILE.");
        return ERR_INVALID;
    }
    int rc = token_keys_load(secret, private_file,
                             secret == NULL ? common->jwt_public_key_file : NULL, &state->keys,
                             problem, problem_size);
    const void *kept;
    size_t n;
    for (size_t i = 0; rc == 0 && token_keys_secret(state->keys, i, &kept, &n); i++) {
        auth_refresh_add_key(&state->refresh_keys, kept, n);
    }
    return rc;
}

/* ---- The service's life ---- */

static int start(struct svc_ctx *ctx, char *problem, size_t problem_size)
{
    const struct svc_settings *common = svc_common(ctx);
    struct service *service = calloc(1, sizeof(*service));

    if (service == NULL || auth_password_init() != 0) {
        abort();
    }
    svc_set_state(ctx, service);
    if (common->refresh_token_seconds < common->access_token_seconds) {
        snprintf(problem, problem_size,
                 "REFRESH_TOKEN_SECONDS must not be less than ACCESS_TOKEN_SECONDS.");
        return ERR_INVALID;
    }
    service->state.access_s = common->access_token_seconds;
    service->state.refresh_s = common->refresh_token_seconds;
    if (common->rate_auth.count > 0) {
        service->state.attempts = auth_attempts_new(0);
    }
    int rc = load_keys(common, &service->state, problem, problem_size);
    return rc == 0 ? auth_chores_begin(&service->chores, ctx, service->state.access_s) : rc;
}

static void service_free(struct svc_ctx *ctx)
{
    struct service *service = svc_state(ctx);

    if (service != NULL) {
        token_keys_free(service->state.keys);
        auth_attempts_free(service->state.attempts);
        explicit_bzero(&service->state.refresh_keys, sizeof(service->state.refresh_keys));
        free(service);
    }
}

static void *worker_start(struct svc_ctx *ctx)
{
    struct service *service = svc_state(ctx);

    return &service->state;
}

static void ready(struct svc_ctx *ctx, struct svc_causes *causes)
{
    struct service *service = svc_state(ctx);

    if (!atomic_load(&service->chores.caught_up)) {
        svc_not_ready(causes, "sessions", "ended sessions are not all told yet");
    }
}

static void alive_tick(struct svc_ctx *ctx)
{
    struct service *service = svc_state(ctx);

    auth_chores_tick(&service->chores, ctx);
}

static void announce(struct svc_ctx *ctx)
{
    if (auth_demo_create(ctx) != 0) {
        log_warn("no demo accounts", "reason=%s", "the lane is full");
    }
}

/* ---- Tables ---- */

static const struct rpc_handler handlers[] = {
    {"SignUp", auth_accounts_sign_up, RPC_SLOW},
    {"Login", auth_accounts_login, RPC_SLOW},
    {"Refresh", auth_sessions_refresh, RPC_FAST},
    {"Logout", auth_sessions_logout, RPC_FAST},
    {"ListSessions", auth_sessions_list, RPC_FAST},
    {"EndSession", auth_sessions_end, RPC_FAST},
    {"ChangePassword", auth_accounts_change_password, RPC_SLOW},
    {"ListUsers", auth_users_list, RPC_FAST},
    {"GetUser", auth_users_get, RPC_FAST},
    {"UpdateUser", auth_users_update, RPC_FAST},
    {"GetProfiles", auth_users_get_profiles, RPC_FAST},
    {0},
};

const struct svc auth_svc = {
    .name = "auth-svc",
    .about = "users, passwords, sessions, tokens",
    .rpc = &chat__auth__descriptor,
    .rpc_topic = TOPIC_RPC_AUTH,
    .handlers = handlers,
    .schema_name = "auth",
    .schema_version = 1,
    .schema_sql = auth_schema_sql,
    .outbox = true,
    .tokens = true,
    .default_admin_port = 9181,
    .start = start,
    .free = service_free,
    .worker_start = worker_start,
    .ready = ready,
    .alive_tick = alive_tick,
    .announce = announce,
};
