// SPDX-License-Identifier: MIT
/*
 * The methods of service Presence (proto/presence.proto). Worker threads. rq->worker is a struct
 * presence_worker, so that a test calls them with a store of its own.
 */
#pragma once

#include "common/rpc.h"
#include "presence-svc/presence.h"

int presence_get(struct rpc_request *rq, const void *in, void *out);
int presence_list_online(struct rpc_request *rq, const void *in, void *out);
int presence_list_gateways(struct rpc_request *rq, const void *in, void *out);
