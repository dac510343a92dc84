// SPDX-License-Identifier: MIT
#include "gateway/commands.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "common/random.h"
#include "gateway/online.h"

#include <string.h>

struct bus_key commands_key(uint64_t user_id, uint64_t other_id, uint64_t group_id)
{
    if (group_id != 0) {
        return (struct bus_key){.a = 0, .b = group_id};
    }
    return user_id < other_id ? (struct bus_key){.a = user_id, .b = other_id}
                              : (struct bus_key){.a = other_id, .b = user_id};
}

const char *commands_check_content(ProtobufCBinaryData content)
{
    return content.len > GATEWAY_CONTENT_MAX ? "the content is longer than 16 KiB" : NULL;
}

int commands_check(const Chat__Send *send, struct commands_problem *problem)
{
    *problem = (struct commands_problem){0};
    if ((send->receiver_id == 0) == (send->group_id == 0)) {
        problem->detail = "a message goes to one user or one group";
        problem->error = (struct rpc_field_error){
            "receiver_id",
            send->receiver_id == 0 ? "is needed, or a group_id" : "cannot stand beside a group_id"};
        problem->count = 1;
        return ERR_INVALID;
    }
    problem->detail = commands_check_content(send->content);
    return problem->detail != NULL ? ERR_TOO_LARGE : 0;
}

static int put_command(struct loop *loop, const struct commands_send *c, uint64_t id)
{
    struct gateway *gw = loop->gw;
    struct arena *arena = loop_arena(loop);
    Chat__Caller caller = CHAT__CALLER__INIT;
    caller.user_id = c->caller.user_id;
    caller.session_id = c->caller.session_id;
    caller.username = pb_str(c->caller.username);
    caller.address = pb_str(c->caller.address);
    caller.device = pb_str(c->caller.device);
    Chat__Sender sender = CHAT__SENDER__INIT;
    sender.id = c->caller.user_id;
    sender.username = c->sender->username;
    sender.nickname = c->sender->nickname;
    sender.avatar = c->sender->avatar;
    sender.online = online_has(gw->online, sender.id);
    Chat__Command command = CHAT__COMMAND__INIT;
    command.id = id;
    command.reply_to = pb_str(gw->instance);
    command.caller = &caller;
    command.deadline_at = clock_now_ms() + RPC_DEADLINE_MS;
    command.sender = &sender;
    Chat__Send send;
    char made[33];
    command.op_case = c->op;
    command.edit = (Chat__Edit *)(uintptr_t)c->what; /* the members of the union share a place */
    if (c->op == CHAT__COMMAND__OP_SEND) {
        send = *(const Chat__Send *)c->what;
        command.send = &send;
        if (send.client_id.len == 0) {
            random_hex(made, 16);
            send.client_id = pb_str(made);
        }
    }
    struct bus_message message = {.topic = TOPIC_COMMANDS,
                                  .key = c->key,
                                  .partition = -1,
                                  .traceparent = c->traceparent,
                                  .request_id = c->request_id};
    message.value = pb_pack(&command, arena, &message.len);
    int err = bus_send(gw->bus, &message, NULL, NULL);
    loop_arena_done(loop, arena);
    return err;
}

int commands_send(struct loop *loop, const struct commands_send *c, calls_reply_fn fn, void *arg,
                  struct call **call_out)
{
    uint64_t id;
    struct call *call;
    int err = calls_expect(loop, c->key, fn, arg, &call, &id);
    if (err != 0) {
        return err;
    }
    err = put_command(loop, c, id);
    if (err != 0) {
        calls_cancel(call, id);
        return err;
    }
    *call_out = call;
    return 0;
}

int commands_find(struct loop *loop, const struct rpc_caller *caller, uint64_t message_id,
                  const char *traceparent, const char *request_id, calls_reply_fn fn, void *arg,
                  struct call **call_out)
{
    Chat__GetMessageRequest request = CHAT__GET_MESSAGE_REQUEST__INIT;
    request.message_id = message_id;
    return calls_ask(loop,
                     &(struct rpc_call){.topic = TOPIC_RPC_MESSAGE,
                                        .method = "GetMessage",
                                        .key = message_id,
                                        .caller = caller,
                                        .input = &request,
                                        .traceparent = traceparent,
                                        .request_id = request_id},
                     fn, arg, call_out);
}

int commands_found(const struct rpc_reply *reply, uint64_t user_id, struct bus_key *key_out,
                   uint64_t *seq_out)
{
    struct arena *arena = arena_new(0);
    const Chat__MessageReply *found =
        pb_unpack(&chat__message_reply__descriptor, arena, reply->body, reply->len);
    int err = ERR_INTERNAL;
    if (found != NULL && found->message != NULL) {
        const Chat__Message *m = found->message;
        uint64_t other = m->sender_id == user_id ? m->receiver_id : m->sender_id;
        *key_out = commands_key(user_id, other, m->group_id);
        *seq_out = m->seq;
        err = 0;
    }
    arena_free(arena);
    return err;
}
