// SPDX-License-Identifier: MIT
/*
 * What changes a conversation goes onto chat.commands; the event, or a Reply, is the answer
 * (architecture D2). Loop thread.
 */
#pragma once

#include "gateway/calls.h"
#include "gateway/profiles.h"
#include "proto/message.pb-c.h"

struct commands_send {
    struct rpc_caller caller;
    const struct profile *sender;
    struct bus_key key; /* the conversation: commands_key */
    Chat__Command__OpCase op;
    const void *what; /* Chat__Send (goes with a client_id of its own where it has none), _Edit… */
    const char *traceparent, *request_id;
};

/* Is it clear where this goes? ERR_INVALID or ERR_TOO_LARGE with what is wrong in problem. The
 * rest is message-svc's to judge. */
struct commands_problem {
    const char *detail;
    struct rpc_field_error error;
    size_t count;
};
int commands_check(const Chat__Send *send, struct commands_problem *problem);
/* The content's bound alone: NULL, or the sentence of an ERR_TOO_LARGE. */
const char *commands_check_content(ProtobufCBinaryData content);
/* Sends it; the reply's body is a SendReply. On an error *call_out stays as it is. */
int commands_send(struct loop *loop, const struct commands_send *command, calls_reply_fn fn,
                  void *arg, struct call **call_out) __attribute__((warn_unused_result));
/* An edit or a recall is told a message's id: first asks where it is, on behalf of the caller. */
int commands_find(struct loop *loop, const struct rpc_caller *caller, uint64_t message_id,
                  const char *traceparent, const char *request_id, calls_reply_fn fn, void *arg,
                  struct call **call_out) __attribute__((warn_unused_result));
/* Reads the reply to that (err 0). ERR_INTERNAL: malformed. */
int commands_found(const struct rpc_reply *reply, uint64_t user_id, struct bus_key *key_out,
                   uint64_t *seq_out) __attribute__((warn_unused_result));
/* The conversation of two users, or of a group when group_id is not 0. */
struct bus_key commands_key(uint64_t user_id, uint64_t other_id, uint64_t group_id);
