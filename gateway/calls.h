// SPDX-License-Identifier: MIT
/*
 * Questions of a loop that wait for a reply: the answer comes on the bus thread and is carried to
 * the loop that asked. Loop thread, but for calls_bus_*.
 */
#pragma once

#include "common/rpc.h"
#include "gateway/loop.h"

struct call;
typedef void (*calls_reply_fn)(void *arg, const struct rpc_reply *reply);

/* Asks; fn runs exactly once, later, on this loop, unless an error is returned at once or the call
 * is forgotten. call_out may be NULL. */
int calls_ask(struct loop *loop, const struct rpc_call *question, calls_reply_fn fn, void *arg,
              struct call **call_out) __attribute__((warn_unused_result));
/* Reserves an id that an event or a Reply answers (a Command's). While it waits, records of the key
 * are read even if no socket wants them. */
int calls_expect(struct loop *loop, struct bus_key key, calls_reply_fn fn, void *arg,
                 struct call **call_out, uint64_t *id_out) __attribute__((warn_unused_result));
/* The command could not be sent: fn will not run. */
void calls_cancel(struct call *call, uint64_t id);
/* Nobody waits any more: fn will not run. */
void calls_forget(struct call *call);
