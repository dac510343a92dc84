// SPDX-License-Identifier: MIT
/*
 * A change waits twice: for the place of its message, then for its event or refusal. In between it
 * has memory of its own, since the frame's is gone.
 */
#include "gateway/session_change.h"

#include "common/err.h"
#include "common/pb.h"
#include "gateway/commands.h"
#include "gateway/hub.h"
#include "gateway/session_sync.h"
#include "gateway/trace.h"

#include <stdio.h>

struct change {
    struct asked *asked;
    struct arena *arena; /* this lives in it */
    Chat__Command__OpCase op;
    Chat__Edit edit;
    Chat__Recall recall;
    char traceparent[TRACE_PARENT_SIZE];
};

static void done(struct change *c)
{
    c->asked->session->asking--;
    session_answered(c->asked);
    arena_free(c->arena);
}

static void on_changed(void *arg, const struct rpc_reply *reply)
{
    struct change *c = arg;
    if (reply->err != 0) {
        session_fail_reply(c->asked->session, c->asked->id, reply);
    } else {
        session_ack(c->asked->session, c->asked->id, "{}", 2);
    }
    done(c);
}

static int send_command(struct change *c, const struct rpc_reply *found)
{
    struct session *s = c->asked->session;
    uint64_t seq;
    struct call *call;
    if (s->closed) {
        return ERR_UNAVAILABLE; /* its user is not known any more */
    }
    struct commands_send command = {.caller = session_caller(s),
                                    .sender = s->hub.user->profile,
                                    .op = c->op,
                                    .what = &c->edit,
                                    .traceparent = c->traceparent};
    int err = commands_found(found, s->hub.user->id, &command.key, &seq);
    if (err != 0) {
        return err;
    }
    c->edit.seq = c->recall.seq = seq;
    if (c->op == CHAT__COMMAND__OP_RECALL) {
        command.what = &c->recall;
    }
    return commands_send(s->loop, &command, on_changed, c, &call);
}

static void on_found(void *arg, const struct rpc_reply *reply)
{
    struct change *c = arg;
    int err = reply->err;
    if (err != 0) {
        session_fail_reply(c->asked->session, c->asked->id, reply);
    } else if ((err = send_command(c, reply)) != 0) {
        session_error(c->asked->session, c->asked->id, err, NULL, NULL, 0);
    }
    if (err != 0) {
        done(c);
    }
}

static struct change *change_new(Chat__Command__OpCase op, const char *traceparent)
{
    struct arena *arena = arena_new(0);
    struct change *c = arena_zalloc(arena, sizeof(*c));
    c->arena = arena;
    c->op = op;
    c->edit = (Chat__Edit)CHAT__EDIT__INIT;
    c->recall = (Chat__Recall)CHAT__RECALL__INIT;
    snprintf(c->traceparent, sizeof(c->traceparent), "%s", traceparent != NULL ? traceparent : "");
    return c;
}

static void find(struct session *s, struct change *c, uint64_t message_id, const char *id)
{
    struct rpc_caller caller = session_caller(s);
    c->asked = session_asked(s, id);
    s->asking++;
    int err = commands_find(s->loop, &caller, message_id, c->traceparent, NULL, on_found, c, NULL);
    if (err != 0) {
        session_error(s, id, err, NULL, NULL, 0);
        done(c);
    }
}

void session_edit(struct session *s, const struct pbjson_doc *content, const char *id,
                  struct arena *arena, const char *traceparent)
{
    Chat__Edit *edit = pb_new(&chat__edit__descriptor, arena);
    if (!session_may_ask(s, id) || !session_fill(s, content, edit, id, arena)) {
        return;
    }
    const char *too_long = commands_check_content(edit->content);
    if (too_long != NULL) {
        session_error(s, id, ERR_TOO_LARGE, too_long, NULL, 0);
        return;
    }
    struct change *c = change_new(CHAT__COMMAND__OP_EDIT, traceparent);
    c->edit.message_id = edit->message_id;
    c->edit.content = pb_bytes(
        arena_memdup(c->arena, edit->content.len > 0 ? edit->content.data : (const void *)"",
                     edit->content.len),
        edit->content.len);
    find(s, c, edit->message_id, id);
}

void session_recall(struct session *s, const struct pbjson_doc *content, const char *id,
                    struct arena *arena, const char *traceparent)
{
    Chat__Recall *recall = pb_new(&chat__recall__descriptor, arena);
    if (!session_may_ask(s, id) || !session_fill(s, content, recall, id, arena)) {
        return;
    }
    struct change *c = change_new(CHAT__COMMAND__OP_RECALL, traceparent);
    c->recall.message_id = recall->message_id;
    find(s, c, recall->message_id, id);
}
