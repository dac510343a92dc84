// SPDX-License-Identifier: MIT
/*
 * The frame that all of group-svc's changes stand in: one transaction, the group's lock first,
 * again when another transaction was in the way. And what handlers check before.
 */
#pragma once

#include "common/pb.h"
#include "common/rpc.h"
#include "group-svc/store.h"

#define GROUP_PAGE_DEFAULT 50
#define GROUP_PAGE_MOST 200
/* Bytes of a reply's list; the rest of RPC_REPLY_MAX is for what stands around it. */
#define GROUP_PAGE_BYTES (RPC_REPLY_MAX - 16 * 1024)

struct group_change {
    struct rpc_request *rq;
    struct group_row group; /* as it is behind the lock; the change works on it */
    struct group_member me; /* the caller's membership */
    int64_t now_ms;
};
/* Runs inside the transaction, perhaps several times, each with fresh rows. 0 commits. */
typedef int (*group_change_fn)(struct group_change *c, void *arg);

/* group_id 0: a new group, nothing to lock. *c is what the last run left. */
int group_change_run(struct rpc_request *rq, uint64_t group_id, group_change_fn fn, void *arg,
                     struct group_change *c);
/* Moves the version on; call it before the rows and events of the change are written. */
int group_change_save(struct group_change *c);

/* The group and the caller's role, if the caller may do this. Otherwise the reply is noted in rq.
 */
int group_change_look(struct rpc_request *rq, uint64_t group_id, enum group_action action,
                      struct group_row *group_out, struct group_member *me_out);
int group_change_check(struct rpc_request *rq, enum group_action action,
                       const struct group_row *group, const struct group_member *me);

/* limit and cursor of a list. ERR_BAD_QUERY. An empty cursor is 0. */
int group_change_page(struct rpc_request *rq, int64_t limit, ProtobufCBinaryData cursor,
                      size_t *limit_out, uint64_t *cursor_out);
