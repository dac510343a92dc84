// SPDX-License-Identifier: MIT
/* What is left behind by a send that the bus takes, and by one that it does not. */
#include "gateway/commands.h"

#include "common/err.h"
#include "common/pb.h"
#include "gateway/online.h"
#include "tests/unit/test.h"

static int cancelled, bus_error;
static size_t client_id_len; /* of what went to the bus */
static struct call *const made = (struct call *)&cancelled;

int calls_ask(struct loop *loop, const struct rpc_call *question, calls_reply_fn fn, void *arg,
              struct call **call_out)
{
    (void)loop;
    (void)question;
    (void)fn;
    (void)arg;
    (void)call_out;
    return ERR_UNAVAILABLE;
}

int calls_expect(struct loop *loop, struct bus_key key, calls_reply_fn fn, void *arg,
                 struct call **call_out, uint64_t *id_out)
{
    (void)loop;
    (void)key;
    (void)fn;
    (void)arg;
    *call_out = made;
    *id_out = 1;
    return 0;
}

void calls_cancel(struct call *call, uint64_t id)
{
    CHECK(call == made);
    CHECK_INT(id, 1);
    cancelled++;
}

int bus_send(struct bus *bus, const struct bus_message *message, bus_ack_fn ack, void *arg)
{
    (void)bus;
    (void)ack;
    (void)arg;
    struct arena *arena = arena_new(0);
    Chat__Command *c = pb_unpack(&chat__command__descriptor, arena, message->value, message->len);
    CHECK(c != NULL);
    client_id_len = c->send->client_id.len;
    arena_free(arena);
    return bus_error;
}

bool online_has(struct online *online, uint64_t id)
{
    (void)online;
    (void)id;
    return false;
}

struct arena *loop_arena(struct loop *loop)
{
    (void)loop;
    return arena_new(0);
}

void loop_arena_done(struct loop *loop, struct arena *arena)
{
    (void)loop;
    arena_free(arena);
}

static void on_reply(void *arg, const struct rpc_reply *reply)
{
    (void)arg;
    (void)reply;
}

TEST(a_call_is_given_out_only_when_it_waits)
{
    struct gateway gw = {.instance = "gateway-1"};
    struct loop loop = {.gw = &gw};
    struct profile sender = {.id = 7};
    Chat__Send send = CHAT__SEND__INIT;
    send.receiver_id = 9;
    struct commands_send command = {
        .caller = {.user_id = 7, .username = "", .address = "", .device = ""},
        .sender = &sender,
        .key = commands_key(7, 9, 0),
        .op = CHAT__COMMAND__OP_SEND,
        .what = &send};
    struct call *call = NULL;
    bus_error = ERR_UNAVAILABLE;
    CHECK_INT(commands_send(&loop, &command, on_reply, NULL, &call), ERR_UNAVAILABLE);
    CHECK(call == NULL);
    CHECK_INT(cancelled, 1);
    bus_error = 0;
    CHECK_INT(commands_send(&loop, &command, on_reply, NULL, &call), 0);
    CHECK(call == made);
    CHECK_INT(cancelled, 1);
    CHECK_INT(client_id_len, 32);
    CHECK_INT(send.client_id.len, 0); /* the caller's message is as it was */
}
