// SPDX-License-Identifier: MIT
/*
 * PUT and DELETE of a message: its id says nothing about its conversation, so that is asked for
 * first; what follows is a command like a send.
 */
#include "gateway/rest_impl.h"

#include "common/err.h"
#include "gateway/commands.h"
#include "gateway/rest_input.h"

static void set_seq(struct rest *r, uint64_t seq)
{
    if (r->op == CHAT__COMMAND__OP_EDIT) {
        ((Chat__Edit *)r->what)->seq = seq;
    } else {
        ((Chat__Recall *)r->what)->seq = seq;
    }
}

static void on_found(void *arg, const struct rpc_reply *reply)
{
    struct rest *r = arg;
    uint64_t seq = 0;
    r->call = NULL;
    if (reply->err != 0) {
        rest_answer_fail_reply(r, reply);
        return;
    }
    int err = commands_found(reply, r->claims.user_id, &r->conversation, &seq);
    if (err != 0) {
        rest_fail(r, err, "the service's answer is malformed");
        return;
    }
    set_seq(r, seq);
    rest_send_command(r);
}

void rest_change(struct rest *r)
{
    bool edit = r->match.route->act == ACT_EDIT;
    struct pbjson_problem problem;
    r->op = edit ? CHAT__COMMAND__OP_EDIT : CHAT__COMMAND__OP_RECALL;
    r->what = pb_new(edit ? &chat__edit__descriptor : &chat__recall__descriptor, r->arena);
    int err = rest_input_fill(r->http, &r->match, r->what, r->arena, &problem);
    if (err != 0) {
        rest_answer_fail_input(r, err, &problem);
        return;
    }
    const char *too_long = edit ? commands_check_content(((Chat__Edit *)r->what)->content) : NULL;
    if (too_long != NULL) {
        rest_fail(r, ERR_TOO_LARGE, too_long);
        return;
    }
    uint64_t id = edit ? ((Chat__Edit *)r->what)->message_id
                       : ((Chat__Recall *)r->what)->message_id;
    err = commands_find(r->loop, &r->caller, id, r->traceparent, r->request_id, on_found, r,
                        &r->call);
    if (err != 0) {
        rest_fail(r, err, NULL);
    }
}
