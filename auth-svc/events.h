// SPDX-License-Identifier: MIT
/*
 * What auth-svc tells the others, put into the outbox within the transaction of the change.
 * Worker threads. Errors as outbox_add.
 */
#pragma once

#include "auth-svc/store.h"
#include "common/rpc.h"

/* The profile as it is now, on chat.events.user. */
int auth_events_add_user(struct rpc_request *rq, struct db *db, const struct auth_store_user *user)
    __attribute__((warn_unused_result));
/* On chat.events.session. */
int auth_events_add_ended(struct rpc_request *rq, struct db *db, uint64_t user_id,
                          uint64_t session_id, int64_t ended_at)
    __attribute__((warn_unused_result));
/* After the commit: the publisher need not wait for its next look. */
void auth_events_wake(struct rpc_request *rq);
