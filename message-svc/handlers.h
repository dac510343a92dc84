// SPDX-License-Identifier: MIT
/*
 * The questions that message-svc answers (proto/message.proto, service Messages). Worker threads.
 * Only those in a conversation may read it.
 */
#pragma once

#include "common/rpc.h"

int message_get_message(struct rpc_request *rq, const void *in, void *out);
int message_list_messages(struct rpc_request *rq, const void *in, void *out);
int message_sync(struct rpc_request *rq, const void *in, void *out);
