// SPDX-License-Identifier: MIT
/*
 * last_seen_at is presence-svc's to know. A reply waits for it, but not for long, and goes without
 * it when presence-svc does not answer: nothing but presence depends on presence.
 */
#include "gateway/rest_impl.h"

#include "gateway/compose.h"
#include "proto/presence.pb-c.h"

#define SEEN_MS 500
#define USERS_MAX 200

struct seen {
    struct rest *rest;
    void (*then)(struct rest *r);
    Chat__User *users[USERS_MAX];
    size_t count;
};

static void on_presence(void *arg, const struct rpc_reply *reply)
{
    struct seen *seen = arg;
    struct rest *r = seen->rest;
    r->call = NULL;
    Chat__GetPresenceReply *answer = NULL;
    if (reply->err == 0) {
        answer =
            pb_unpack(&chat__get_presence_reply__descriptor, r->arena, reply->body, reply->len);
    }
    /* In the order asked. */
    for (size_t i = 0; answer != NULL && i < answer->n_users && i < seen->count; i++) {
        if (answer->users[i]->user_id == seen->users[i]->id) {
            seen->users[i]->last_seen_at = answer->users[i]->last_seen_at;
        }
    }
    seen->then(r);
}

void rest_seen_fill(struct rest *r, void (*then)(struct rest *r))
{
    struct seen *seen = arena_zalloc(r->arena, sizeof(*seen));
    *seen = (struct seen){.rest = r, .then = then};
    seen->count = compose_offline(r->reply, seen->users, USERS_MAX);
    if (seen->count == 0) {
        then(r);
        return;
    }
    Chat__GetPresenceRequest input = CHAT__GET_PRESENCE_REQUEST__INIT;
    input.n_user_ids = seen->count;
    input.user_ids = arena_array(r->arena, seen->count, sizeof(*input.user_ids));
    for (size_t i = 0; i < seen->count; i++) {
        input.user_ids[i] = seen->users[i]->id;
    }
    struct rpc_call call = {.topic = TOPIC_RPC_PRESENCE,
                            .method = "GetPresence",
                            .key = input.user_ids[0],
                            .caller = &r->caller,
                            .input = &input,
                            .timeout_ms = SEEN_MS,
                            .traceparent = r->traceparent,
                            .request_id = r->request_id};
    if (calls_ask(r->loop, &call, on_presence, seen, &r->call) != 0) {
        then(r);
    }
}
