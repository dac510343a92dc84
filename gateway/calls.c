// SPDX-License-Identifier: MIT
/*
 * The struct of a call is also the message that carries its reply: the bus thread fills the reply
 * in and posts it. In between it belongs to nobody but rpc_client; so only the loop frees it.
 */
#include "gateway/calls.h"

#include "gateway/interest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct loop_post post;
    struct loop *loop;
    calls_reply_fn fn; /* NULL: forgotten */
    void *arg;
    struct bus_key pin;
    bool pinned;
    struct rpc_reply reply;
    struct arena *memory; /* of the reply */
};

static void free_call(struct call *c)
{
    arena_free(c->memory);
    free(c);
}

static void run(struct loop *loop, struct loop_post *post)
{
    (void)loop;
    struct call *c = (struct call *)post;
    if (c->fn != NULL) {
        c->fn(c->arg, &c->reply);
    }
    free_call(c);
}

static size_t text_size(const char *s)
{
    return s != NULL ? strlen(s) + 1 : 1;
}

/* Bus thread. */
static void on_reply(void *arg, const struct rpc_reply *reply)
{
    struct call *c = arg;
    if (c->pinned) {
        interest_unpin(c->loop->gw->interest, c->pin.a, c->pin.b);
    }
    c->memory = arena_new(reply->len + text_size(reply->detail) + text_size(reply->instance) + 256);
    struct rpc_reply *r = &c->reply;
    *r = *reply;
    r->detail = arena_strdup(c->memory, reply->detail != NULL ? reply->detail : "");
    r->instance = arena_strdup(c->memory, reply->instance != NULL ? reply->instance : "");
    r->body = arena_memdup(c->memory, reply->len > 0 ? (const void *)reply->body : "", reply->len);
    struct rpc_field_error *errors =
        arena_array(c->memory, reply->error_count, sizeof(struct rpc_field_error));
    for (size_t i = 0; i < reply->error_count; i++) {
        errors[i].field = arena_strdup(c->memory, reply->errors[i].field);
        errors[i].reason = arena_strdup(c->memory, reply->errors[i].reason);
    }
    r->errors = errors;
    c->post.weight = reply->len;
    loop_post(c->loop, &c->post);
}

static struct call *new_call(struct loop *loop, calls_reply_fn fn, void *arg)
{
    struct call *c = calloc(1, sizeof(*c));
    assert(c != NULL);
    c->post.run = run;
    c->loop = loop;
    c->fn = fn;
    c->arg = arg;
    return c;
}

int calls_ask(struct loop *loop, const struct rpc_call *question, calls_reply_fn fn, void *arg,
              struct call **call_out)
{
    struct call *c = new_call(loop, fn, arg);
    int err = rpc_call(loop->gw->rpc, question, on_reply, c);
    if (err != 0) {
        free_call(c);
        return err;
    }
    if (call_out != NULL) {
        *call_out = c;
    }
    return 0;
}

int calls_expect(struct loop *loop, struct bus_key key, calls_reply_fn fn, void *arg,
                 struct call **call_out, uint64_t *id_out)
{
    struct call *c = new_call(loop, fn, arg);
    c->pin = key;
    c->pinned = true;
    interest_pin(loop->gw->interest, key.a, key.b);
    int err = rpc_expect(loop->gw->rpc, 0, on_reply, c, id_out);
    if (err != 0) {
        interest_unpin(loop->gw->interest, key.a, key.b);
        free_call(c);
        return err;
    }
    *call_out = c;
    return 0;
}

void calls_cancel(struct call *c, uint64_t id)
{
    if (rpc_cancel(c->loop->gw->rpc, id)) {
        interest_unpin(c->loop->gw->interest, c->pin.a, c->pin.b);
        free_call(c);
    } else {
        c->fn = NULL; /* its answer is on the way */
    }
}

void calls_forget(struct call *c)
{
    c->fn = NULL;
}
