// SPDX-License-Identifier: MIT
/*
 * The methods of service Groups (proto/group.proto). handlers.c: groups; membership.c: who is in
 * them. Worker threads. rq->worker is a struct group_env, so that a test calls them with its own.
 */
#pragma once

#include "common/rpc.h"

struct group_settings {
    int64_t max_group_members, max_groups_per_user;
};

/* What handlers need beside the request; made by service.c, one for all workers. */
struct group_env {
    const struct group_settings *settings;
    void (*changed)(struct rpc_request *rq); /* after a commit: there is something to publish */
    /* Asks auth-svc. ERR_UNAVAILABLE: no answer. */
    int (*user_exists)(struct rpc_request *rq, uint64_t user_id, bool *exists_out);
};

int group_create(struct rpc_request *rq, const void *in, void *out);
int group_get(struct rpc_request *rq, const void *in, void *out);
int group_list(struct rpc_request *rq, const void *in, void *out);
int group_update(struct rpc_request *rq, const void *in, void *out);
int group_delete(struct rpc_request *rq, const void *in, void *out);
int group_list_members(struct rpc_request *rq, const void *in, void *out);
int group_add_member(struct rpc_request *rq, const void *in, void *out);
int group_remove_member(struct rpc_request *rq, const void *in, void *out);
int group_list_memberships(struct rpc_request *rq, const void *in, void *out);
int group_update_member(struct rpc_request *rq, const void *in, void *out);
int group_check_members(struct rpc_request *rq, const void *in, void *out);
