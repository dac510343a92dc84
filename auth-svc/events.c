// SPDX-License-Identifier: MIT
/*
 * Packs events. A profile on the bus has no email: that is shown to its owner only.
 */
#include "auth-svc/events.h"

#include "auth-svc/replies.h"
#include "common/outbox.h"
#include "common/pb.h"
#include "common/svc.h"
#include "proto/auth.pb-c.h"

static int add(struct rpc_request *rq, struct db *db, enum topic topic, uint64_t user_id,
               const void *message)
{
    struct outbox_event event = {
        .topic = topic,
        .key = {user_id, 0},
        .partition_a = user_id,
        .traceparent = rq->traceparent,
        .request_id = rq->request_id,
    };

    event.value = pb_pack(message, rq->arena, &event.len);
    return outbox_add(db, &event);
}

int auth_events_add_user(struct rpc_request *rq, struct db *db, const struct auth_store_user *user)
{
    Chat__UserEvent event = CHAT__USER_EVENT__INIT;

    event.user = auth_replies_make_user(rq->arena, user, AUTH_REPLIES_PUBLIC);
    return add(rq, db, TOPIC_EVENTS_USER, user->id, &event);
}

int auth_events_add_ended(struct rpc_request *rq, struct db *db, uint64_t user_id,
                          uint64_t session_id, int64_t ended_at)
{
    Chat__SessionEnded event = CHAT__SESSION_ENDED__INIT;

    event.user_id = user_id;
    event.session_id = session_id;
    event.ended_at = ended_at;
    return add(rq, db, TOPIC_EVENTS_SESSION, user_id, &event);
}

void auth_events_wake(struct rpc_request *rq)
{
    if (rq->svc != NULL) { /* tests have none */
        outbox_wake(svc_outbox(rq->svc));
    }
}
