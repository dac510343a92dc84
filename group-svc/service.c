// SPDX-License-Identifier: MIT
/*
 * Wires group-svc: settings, methods, and what handlers ask of the other daemons. No decisions.
 */
#include "group-svc/service.h"

#include "common/err.h"
#include "group-svc/handlers.h"
#include "group-svc/schema.h"
#include "group-svc/store.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"

#include <stdlib.h>

enum { ASK_MS = 1000 };

static int ask_user_exists(struct rpc_request *rq, uint64_t user_id, bool *exists_out)
{
    Chat__GetProfilesRequest question = CHAT__GET_PROFILES_REQUEST__INIT;
    struct rpc_call call = {
        .topic = TOPIC_RPC_AUTH,
        .method = "GetProfiles",
        .key = user_id,
        .caller = &rq->caller,
        .input = &question,
        .timeout_ms = ASK_MS,
        .traceparent = rq->traceparent,
        .request_id = rq->request_id,
    };
    void *answer;

    question.n_ids = 1;
    question.ids = &user_id;
    if (rpc_ask(rq, &call, &chat__profiles__descriptor, &answer) != 0) {
        return ERR_UNAVAILABLE;
    }
    const Chat__Profiles *profiles = answer;
    *exists_out = profiles->n_users == 1 && profiles->users[0]->id == user_id;
    return 0;
}

/* Not kept in the environment: the skeleton makes the outbox after the workers. */
static void wake_outbox(struct rpc_request *rq)
{
    outbox_wake(svc_outbox(rq->svc));
}

static int start(struct svc_ctx *ctx, char *problem, size_t problem_size)
{
    struct group_env *env = calloc(1, sizeof(*env));

    (void)problem;
    (void)problem_size;
    if (env == NULL) {
        abort();
    }
    env->settings = svc_settings(ctx);
    env->changed = wake_outbox;
    env->user_exists = ask_user_exists;
    svc_set_state(ctx, env);
    return 0;
}

static void stop_free(struct svc_ctx *ctx)
{
    free(svc_state(ctx));
}

static void *worker_start(struct svc_ctx *ctx)
{
    return svc_state(ctx);
}

static const struct config_row settings[] = {
    {.name = "MAX_GROUP_MEMBERS",
     .type = CONFIG_INT,
     .offset = offsetof(struct group_settings, max_group_members),
     .fallback = "100000",
     .min = 1,
     .max = 10 * 1000 * 1000,
     .help = "Members of one group at most"},
    {.name = "MAX_GROUPS_PER_USER",
     .type = CONFIG_INT,
     .offset = offsetof(struct group_settings, max_groups_per_user),
     .fallback = "5000",
     .min = 1,
     .max = 100 * 1000,
     .help = "Groups of one user at most"},
};

static const struct rpc_handler handlers[] = {
    {"CreateGroup", group_create, RPC_FAST},
    {"GetGroup", group_get, RPC_FAST},
    {"ListGroups", group_list, RPC_FAST},
    {"UpdateGroup", group_update, RPC_FAST},
    {"DeleteGroup", group_delete, RPC_FAST},
    {"ListMembers", group_list_members, RPC_FAST},
    {"AddMember", group_add_member, RPC_FAST},
    {"RemoveMember", group_remove_member, RPC_FAST},
    {"ListMemberships", group_list_memberships, RPC_FAST},
    {"UpdateMember", group_update_member, RPC_FAST},
    {"CheckMembers", group_check_members, RPC_FAST},
    {0},
};

const struct svc group_svc = {
    .name = "group-svc",
    .about = "groups and who belongs to them",
    .rpc = &chat__groups__descriptor,
    .rpc_topic = TOPIC_RPC_GROUP,
    .handlers = handlers,
    .settings = settings,
    .setting_count = sizeof(settings) / sizeof(settings[0]),
    .settings_size = sizeof(struct group_settings),
    .schema_name = "groups",
    .schema_version = GROUP_SCHEMA_VERSION,
    .schema_sql = group_schema_sql,
    .outbox = true,
    .default_admin_port = 9183,
    .start = start,
    .free = stop_free,
    .worker_start = worker_start,
};
