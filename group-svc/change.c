// SPDX-License-Identifier: MIT
/*
 * Two changes of one group wait for each other at its row; of different groups they hardly meet.
 * Where they do (InnoDB's gap locks), one of them is rolled back (ERR_STALE) and comes again.
 */
#include "group-svc/change.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "group-svc/handlers.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MOST_TRIES = 8 };

static int try_change(struct group_change *c, uint64_t group_id, group_change_fn fn, void *arg)
{
    struct rpc_request *rq = c->rq;
    int err = group_store_begin(rq->db);

    if (err != 0) {
        return err;
    }
    if (group_id != 0) {
        err = group_store_lock(rq->db, rq->arena, group_id, rq->caller.user_id, &c->group, &c->me);
        if (err == ERR_NOT_FOUND) {
            rpc_fail(rq, err, "no such group");
        }
    }
    if (err == 0) {
        err = fn(c, arg);
    }
    if (err == 0) {
        err = group_store_commit(rq->db);
    }
    if (err != 0) {
        group_store_rollback(rq->db);
    }
    return err;
}

int group_change_run(struct rpc_request *rq, uint64_t group_id, group_change_fn fn, void *arg,
                     struct group_change *c)
{
    const struct group_env *env = rq->worker;
    int err = ERR_STALE;

    for (int i = 0; i < MOST_TRIES && err == ERR_STALE; i++) {
        if (i > 0 && rq->deadline_ms != 0 && clock_now_ms() >= rq->deadline_ms) {
            break;
        }
        *c = (struct group_change){.rq = rq, .now_ms = clock_now_ms()};
        err = try_change(c, group_id, fn, arg);
    }
    if (err == ERR_STALE) {
        return rpc_fail(rq, ERR_UNAVAILABLE, "the group is being changed by too many");
    }
    if (err == 0) {
        env->changed(rq);
    }
    return err;
}

int group_change_save(struct group_change *c)
{
    c->group.version++;
    return group_store_update(c->rq->db, &c->group);
}

int group_change_check(struct rpc_request *rq, enum group_action action,
                       const struct group_row *group, const struct group_member *me)
{
    int err = group_rules_may(action, me->role, group->is_public);

    if (err == ERR_NOT_FOUND) {
        return rpc_fail(rq, err, "no such group");
    }
    if (err != 0) {
        return rpc_fail(rq, err,
                        me->role == GROUP_NONE ? "only members of the group may do this"
                                               : "your role in the group is too low");
    }
    return 0;
}

int group_change_look(struct rpc_request *rq, uint64_t group_id, enum group_action action,
                      struct group_row *group_out, struct group_member *me_out)
{
    int err = group_store_get(rq->db, rq->arena, group_id, rq->caller.user_id, group_out, me_out);

    if (err == ERR_NOT_FOUND) {
        return rpc_fail(rq, err, "no such group");
    }
    return err != 0 ? err : group_change_check(rq, action, group_out, me_out);
}

/* Decimal digits of a number up to GROUP_ID_MAX. */
static bool parse_id(ProtobufCBinaryData text, uint64_t *id_out)
{
    uint64_t id = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || id > GROUP_ID_MAX / 10) {
            return false;
        }
        id = id * 10 + (uint64_t)(text.data[i] - '0');
    }
    *id_out = id;
    return id <= GROUP_ID_MAX;
}

int group_change_page(struct rpc_request *rq, int64_t limit, ProtobufCBinaryData cursor,
                      size_t *limit_out, uint64_t *cursor_out)
{
    if (limit < 0) {
        return rpc_fail(rq, ERR_BAD_QUERY, "limit must be at least 1");
    }
    if (!parse_id(cursor, cursor_out)) {
        return rpc_fail(rq, ERR_BAD_QUERY, "cursor is not one of ours");
    }
    *limit_out = limit == 0                ? GROUP_PAGE_DEFAULT
                 : limit > GROUP_PAGE_MOST ? GROUP_PAGE_MOST
                                           : (size_t)limit;
    return 0;
}
