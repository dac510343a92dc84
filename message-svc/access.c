// SPDX-License-Identifier: MIT
/*
 * Access of readers, by the copy of the memberships and, where it says no, by group-svc.
 */
#include "message-svc/access.h"

#include "message-svc/questions.h"
#include "message-svc/service.h"
#include "message-svc/store.h"

int message_access_conv(struct rpc_request *rq, int kind, uint64_t target,
                        struct message_conv *conv_out)
{
    if (rq->caller.user_id == 0) {
        return rpc_fail(rq, ERR_UNAUTHENTICATED, "nobody is logged in");
    }
    if (kind != CHAT__KIND__TYPE__PRIVATE && kind != CHAT__KIND__TYPE__GROUP) {
        return rpc_invalid(rq, "type", "must be private or group");
    }
    if (target == 0 || target >= MESSAGE_ID_END) {
        return rpc_invalid(rq, "target_id", "is not an id");
    }
    *conv_out = kind == CHAT__KIND__TYPE__GROUP ? message_conv_group(target)
                                                : message_conv_private(rq->caller.user_id, target);
    return 0;
}

static int refuse(struct rpc_request *rq, enum message_no no)
{
    struct message_refusal why = message_rules_refusal(no);
    return rpc_fail(rq, why.err, "%s", why.detail);
}

static int refuse_outsider(struct rpc_request *rq, struct message_doubts *doubts, uint64_t group,
                           bool is_public)
{
    enum message_no no = is_public ? MESSAGE_NO_MEMBER_PUBLIC : MESSAGE_NO_MEMBER_PRIVATE;
    message_doubts_remember(doubts, rq->caller.user_id, message_conv_group(group), no);
    return refuse(rq, no);
}

int message_access_group(struct rpc_request *rq, uint64_t group, struct message_access *out)
{
    struct message_access access;
    int err = message_store_access(rq->db, rq->arena, group, rq->caller.user_id, &access);
    if (err != 0 || access.member) {
        *out = err == 0 ? access : *out;
        return err;
    }
    struct message_doubts *doubts = message_service_doubts(rq->svc);
    struct message_doubt found =
        message_doubts_find(doubts, rq->caller.user_id, message_conv_group(group));
    if (found.state == MESSAGE_DOUBT_NO && found.no != MESSAGE_NO_MUTED) {
        return refuse(rq, found.no);
    }
    bool is_public = false;
    err = message_questions_check(rq, &group, 1, &is_public);
    if (err == 0) {
        err = message_store_access(rq->db, rq->arena, group, rq->caller.user_id, &access);
    }
    if (err != 0) {
        return err;
    }
    if (!access.member) {
        return refuse_outsider(rq, doubts, group, is_public);
    }
    *out = access;
    return 0;
}

int message_access_private(struct rpc_request *rq, struct message_conv conv,
                           struct message_access *out)
{
    struct message_conversations rows = {0};
    int err = message_store_conversations(rq->db, rq->arena, &conv, 1, &rows);
    if (err == 0) {
        *out = (struct message_access){
            .member = true, .from_seq = 1, .last_seq = rows.n > 0 ? rows.at[0].last_seq : 0};
    }
    return err;
}

size_t message_access_size(const Chat__Message *message)
{
    return chat__message__get_packed_size(message) + 4; /* its tag and length */
}
