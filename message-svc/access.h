// SPDX-License-Identifier: MIT
/*
 * May this caller read this conversation, and from where on? For handlers; worker threads.
 */
#pragma once

#include "common/rpc.h"
#include "message-svc/rules.h"
#include "message-svc/store_members.h"
#include "proto/message.pb-c.h"

/* The conversation that a request names by Kind and target, as the caller sees it. ERR_INVALID,
 * ERR_UNAUTHENTICATED. */
int message_access_conv(struct rpc_request *rq, int kind, uint64_t target,
                        struct message_conv *conv_out) __attribute__((warn_unused_result));
/* ERR_FORBIDDEN: the group is public, and the caller is not in it; ERR_NOT_FOUND: it is private or
 * there is none. Asks group-svc before it refuses. */
int message_access_group(struct rpc_request *rq, uint64_t group, struct message_access *out)
    __attribute__((warn_unused_result));
int message_access_private(struct rpc_request *rq, struct message_conv conv,
                           struct message_access *out) __attribute__((warn_unused_result));
/* Bytes that a message takes in a reply. */
size_t message_access_size(const Chat__Message *message);
