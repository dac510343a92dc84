// SPDX-License-Identifier: MIT
/*
 * A frame's life: parsed, its type found in the route table, acted on, and answered by exactly one
 * ack or error if it has an id. What waits for a service holds a reference to the session, and
 * its answer is dropped when the socket has gone meanwhile.
 */
#include "gateway/session.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/pb.h"
#include "gateway/authn.h"
#include "gateway/commands.h"
#include "gateway/envelope.h"
#include "gateway/interest.h"
#include "gateway/openings.h"
#include "gateway/pbjson.h"
#include "gateway/routes.h"
#include "gateway/session_change.h"
#include "gateway/session_sync.h"
#include "gateway/trace.h"
#include "gateway/watch.h"
#include "gateway/ws.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 256 /* bytes of a frame's id, as JSON */

/* ---- Sending ---- */

static void send_frame(struct session *s, struct frame *f)
{
    ws_send(s, f);
    frame_release(f);
}

void session_ack(struct session *s, const char *id, const char *content, size_t len)
{
    if (id != NULL) {
        send_frame(s, envelope_frame("ack", content, len, id));
    }
}

void session_error(struct session *s, const char *id, int err, const char *detail,
                   const struct rpc_field_error *errors, size_t error_count)
{
    send_frame(s, envelope_frame_error(err, detail, errors, error_count, id));
}

bool session_push(struct session *s, struct frame *v1, struct frame *bare)
{
    if (!s->ready || s->closed) {
        return false;
    }
    ws_send(s, s->v1 || bare == NULL ? v1 : bare);
    return true;
}

/* ---- Questions under way ---- */

struct asked *session_asked(struct session *s, const char *id)
{
    size_t len = id != NULL ? strlen(id) + 1 : 0;
    struct asked *a = malloc(sizeof(*a) + len);
    assert(a != NULL);
    *a = (struct asked){.session = s, .id = NULL};
    if (id != NULL) {
        memcpy(a->text, id, len);
        a->id = a->text;
    }
    session_keep(s);
    return a;
}

void session_answered(struct asked *a)
{
    session_release(a->session);
    free(a);
}

void session_fail_reply(struct session *s, const char *id, const struct rpc_reply *reply)
{
    session_error(s, id, reply->err, reply->detail, reply->errors, reply->error_count);
}

struct rpc_caller session_caller(const struct session *s)
{
    return (struct rpc_caller){.user_id = s->hub.user->id,
                               .session_id = s->session_id,
                               .username = (const char *)s->hub.user->profile->username.data,
                               .address = "",
                               .device = ""};
}

/* ---- Acts ---- */

struct incoming {
    struct session *session;
    struct arena *arena;
    const char *id;                   /* JSON; NULL: none */
    const struct pbjson_doc *content; /* NULL: none */
    char traceparent[TRACE_PARENT_SIZE];
};

static void fail(struct incoming *in, int err, const char *detail)
{
    session_error(in->session, in->id, err, detail, NULL, 0);
}

bool session_fill(struct session *s, const struct pbjson_doc *content, void *message,
                  const char *id, struct arena *arena)
{
    struct pbjson_problem p = {.detail = "content must be an object"};
    int err = content != NULL ? pbjson_fill(content, message, arena, &p) : ERR_INVALID;
    if (err != 0) {
        session_error(s, id, err, p.detail, p.errors, p.count);
    }
    return err == 0;
}

static bool fill(struct incoming *in, void *message)
{
    return session_fill(in->session, in->content, message, in->id, in->arena);
}

static void on_sent(void *arg, const struct rpc_reply *reply)
{
    struct asked *a = arg;
    struct session *s = a->session;
    if (reply->err != 0) {
        session_fail_reply(s, a->id, reply);
    } else if (a->id != NULL && !s->closed) {
        struct arena *arena = loop_arena(s->loop);
        Chat__SendReply *sent =
            pb_unpack(&chat__send_reply__descriptor, arena, reply->body, reply->len);
        if (sent != NULL && sent->message != NULL) {
            struct buf text;
            buf_init(&text);
            buf_add_str(&text, "{\"message_id\":");
            buf_add_u64(&text, sent->message->id);
            buf_add_str(&text, ",\"seq\":");
            buf_add_u64(&text, sent->message->seq);
            buf_add_str(&text, ",\"created_at\":");
            envelope_add_time(&text, sent->message->created_at);
            buf_add_char(&text, '}');
            session_ack(s, a->id, text.data, text.len);
            buf_done(&text);
        } else {
            session_error(s, a->id, ERR_INTERNAL, NULL, NULL, 0);
        }
        loop_arena_done(s->loop, arena);
    }
    session_answered(a);
}

static void act_send(struct incoming *in)
{
    struct session *s = in->session;
    Chat__Send *send = pb_new(&chat__send__descriptor, in->arena);
    struct commands_problem wrong;
    if (!fill(in, send)) {
        return;
    }
    int err = commands_check(send, &wrong);
    if (err != 0) {
        session_error(s, in->id, err, wrong.detail, &wrong.error, wrong.count);
        return;
    }
    struct commands_send command = {
        .caller = session_caller(s),
        .sender = s->hub.user->profile,
        .key = commands_key(s->hub.user->id, send->receiver_id, send->group_id),
        .op = CHAT__COMMAND__OP_SEND,
        .what = send,
        .traceparent = in->traceparent};
    struct asked *a = session_asked(s, in->id);
    struct call *call;
    err = commands_send(s->loop, &command, on_sent, a, &call);
    if (err != 0) {
        fail(in, err, NULL);
        session_answered(a);
    }
}

static void act_typing(struct incoming *in)
{
    struct session *s = in->session;
    struct gateway *gw = s->loop->gw;
    uint64_t user_id = s->hub.user->id;
    Chat__Signal *signal = pb_new(&chat__signal__descriptor, in->arena);
    if (!fill(in, signal)) {
        return;
    }
    if ((signal->receiver_id == 0) == (signal->group_id == 0)) {
        struct rpc_field_error wrong = {"receiver_id", "exactly one of receiver_id and group_id"};
        session_error(s, in->id, ERR_INVALID, NULL, &wrong, 1);
        return;
    }
    if (signal->group_id != 0 && !hub_is_member(s->loop->hub, user_id, signal->group_id)) {
        fail(in, ERR_FORBIDDEN, "you are not in this group");
        return;
    }
    struct bus_key key = commands_key(user_id, signal->receiver_id, signal->group_id);
    if (limits_ask(gw->limits, LIMITS_TYPING, user_id, map_hash_stable(key.a, key.b)).allowed) {
        signal->user_id = user_id;
        signal->username = s->hub.user->profile->username;
        struct bus_message message = {.topic = TOPIC_SIGNALS, .key = key, .partition = -1};
        message.value = pb_pack(signal, in->arena, &message.len);
        if (bus_send(gw->bus, &message, NULL, NULL) != 0) {
            log_debug("typing shed", " ");
        }
    }
    session_ack(s, in->id, "{}", 2);
}

static void act_auth(struct incoming *in)
{
    struct session *s = in->session;
    const char *token;
    size_t len;
    struct token_claims claims;
    if (in->content == NULL || !pbjson_get_string(in->content, "token", &token, &len)) {
        struct rpc_field_error wrong = {"token", "must be a string"};
        session_error(s, in->id, ERR_INVALID, NULL, &wrong, 1);
        return;
    }
    int err = authn_check(s->loop->gw->authn, token, len, &claims);
    if (err == 0 && claims.user_id != s->hub.user->id) {
        err = ERR_FORBIDDEN;
    }
    if (err != 0) {
        fail(in, err, err == ERR_FORBIDDEN ? "the token belongs to another user" : NULL);
        return;
    }
    s->session_id = claims.session_id;
    s->expires_at_s = claims.expires_at;
    session_ack(s, in->id, "{}", 2);
}

static void act(struct incoming *in, const struct route *route)
{
    struct session *s = in->session;
    switch (route->act) {
    case ACT_SEND:
        act_send(in);
        break;
    case ACT_EDIT:
        session_edit(s, in->content, in->id, in->arena, in->traceparent);
        break;
    case ACT_RECALL:
        session_recall(s, in->content, in->id, in->arena, in->traceparent);
        break;
    case ACT_TYPING:
        act_typing(in);
        break;
    case ACT_SYNC:
        session_sync(s, in->content, in->id, in->arena, in->traceparent);
        break;
    case ACT_PRESENCE:
        session_presence(s, in->content, in->id, in->arena, in->traceparent);
        break;
    case ACT_AUTH:
        act_auth(in);
        break;
    case ACT_PING:
        send_frame(s, envelope_frame("pong", "{}", 2, in->id));
        break;
    default:
        fail(in, ERR_INTERNAL, NULL);
    }
}

static void note(const struct incoming *in, const struct route *route)
{
    if (log_get_level() <= LOG_DEBUG) {
        log_set_context(&(struct log_context){.method = route->frame,
                                              .traceparent = in->traceparent,
                                              .user_id = in->session->hub.user->id});
        log_debug("frame", "session=%llu id=%s", (unsigned long long)in->session->session_id,
                  LOG_Q(in->id));
        log_set_context(NULL);
    }
}

static void dispatch(struct incoming *in, const struct pbjson_doc *doc)
{
    const char *type = "";
    size_t len = 0;
    if (pbjson_has(doc, "id")) {
        in->id = pbjson_text(doc, "id", in->arena);
        if (in->id != NULL && strlen(in->id) > ID_MAX) {
            in->id = NULL;
            fail(in, ERR_INVALID, "id is too long");
            return;
        }
        if (in->id != NULL && strcmp(in->id, "null") == 0) {
            in->id = NULL;
        }
    }
    if (!pbjson_get_string(doc, "type", &type, &len)) {
        fail(in, ERR_INVALID, "type must be a string");
        return;
    }
    const struct route *route = routes_find_frame(type, len);
    if (route == NULL) {
        fail(in, ERR_INVALID, "unknown type");
        return;
    }
    in->content = pbjson_get_object(doc, "content");
    const char *came = in->session->traceparent;
    trace_parent(came, came == NULL ? 0 : strlen(came), in->traceparent);
    note(in, route);
    act(in, route);
}

void session_receive(struct session *s, const char *text, size_t len)
{
    struct incoming in = {.session = s, .arena = loop_arena(s->loop)};
    struct pbjson_doc *doc = NULL;
    struct pbjson_problem problem = {0};
    int err = pbjson_parse(text, len, in.arena, &doc, &problem);
    if (err != 0) {
        fail(&in, err, problem.detail);
    } else {
        dispatch(&in, doc);
    }
    pbjson_free(doc);
    loop_arena_done(s->loop, in.arena);
}

/* ---- Beginning and end ---- */

static void say_hello(struct session *s)
{
    const struct svc_settings *c = s->loop->gw->common;
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "{\"user_id\":%llu,\"session_id\":%llu,\"server_time\":",
               (unsigned long long)s->hub.user->id, (unsigned long long)s->session_id);
    envelope_add_time(&text, clock_now_ms());
    buf_printf(&text,
               ",\"heartbeat_seconds\":%d,\"limits\":{\"frame_bytes\":%d,\"content_bytes\":%d,"
               "\"queue_bytes\":%d,\"frames\":%lld,\"frames_seconds\":%lld}}",
               GATEWAY_HEARTBEAT_S, GATEWAY_FRAME_MAX, GATEWAY_CONTENT_MAX, GATEWAY_QUEUE_MAX,
               (long long)c->rate_frames.count, (long long)c->rate_frames.seconds);
    send_frame(s, envelope_frame("hello", text.data, text.len, NULL));
    buf_done(&text);
    s->ready = true;
    ws_ready(s);
}

void session_open(struct session *s, struct loop *loop, const struct token_claims *claims, bool v1)
{
    s->loop = loop;
    s->session_id = claims->session_id;
    s->expires_at_s = claims->expires_at;
    s->v1 = v1;
    if (!v1) {
        atomic_fetch_add(&loop->gw->bare, 1);
    }
    struct hub_user *user = hub_join(loop->hub, &s->hub, claims->user_id);
    /* It may have ended between the check and here: from here on the event finds the session. */
    if (authn_is_ended(loop->gw->authn, s->session_id)) {
        ws_close(s, WSCLOSE_SESSION_ENDED, "session ended");
    } else if (user->loaded) {
        say_hello(s);
    } else if (!user->loading) {
        openings_add(loop, user);
    }
}

void session_opened(struct hub_user *user)
{
    struct hub_entry *next;
    for (struct hub_entry *e = user->sessions; e != NULL; e = next) {
        next = e->next;
        if (!session_of(e)->closed) {
            say_hello(session_of(e));
        }
    }
}

void session_refused(struct hub_user *user)
{
    for (struct hub_entry *e = user->sessions; e != NULL; e = e->next) {
        ws_close(session_of(e), WSCLOSE_AGAIN_LATER, "try again later");
    }
}

void session_close(struct session *s)
{
    struct gateway *gw = s->loop->gw;
    uint64_t user_id = s->hub.user->id;
    s->closed = true;
    free(s->traceparent);
    s->traceparent = NULL;
    watch_drop(s);
    hub_leave(s->loop->hub, &s->hub, profile_release);
    if (!s->v1) {
        atomic_fetch_sub(&gw->bare, 1);
    }
    interest_socket_closed(gw->interest, user_id);
}

void session_keep(struct session *s)
{
    s->refs++;
}

void session_release(struct session *s)
{
    if (--s->refs == 0) {
        ws_free(s);
    }
}
