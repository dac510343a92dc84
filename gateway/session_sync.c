// SPDX-License-Identifier: MIT
/*
 * The answer to a sync is up to 300 messages: they are written as the socket's queue empties, and
 * the ack after them.
 */
#include "gateway/session_sync.h"

#include "common/err.h"
#include "common/pb.h"
#include "gateway/compose.h"
#include "gateway/envelope.h"
#include "gateway/watch.h"
#include "gateway/ws.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define CONVERSATIONS_MAX 200
#define USERS_MAX 500
#define ASKING_MAX 8 /* of one socket; a queue of a service holds 2,000 */

static void invalid(struct session *s, const char *id, const char *field, const char *reason)
{
    struct rpc_field_error wrong = {field, reason};
    session_error(s, id, ERR_INVALID, NULL, &wrong, 1);
}

/* ---- sync ---- */

/* "u:12" or "g:12". */
static bool parse_key(const char *key, Chat__SyncRequest__Of *of)
{
    char *end;
    if ((key[0] != 'u' && key[0] != 'g') || key[1] != ':' || key[2] < '1' || key[2] > '9') {
        return false;
    }
    of->type = key[0] == 'u' ? CHAT__KIND__TYPE__PRIVATE : CHAT__KIND__TYPE__GROUP;
    of->target_id = strtoull(key + 2, &end, 10);
    return *end == '\0' && strlen(key) < 20;
}

static bool parse_position(const struct pbjson_doc *list, const char *key,
                           Chat__SyncRequest__Of *of)
{
    if (pbjson_get_u64(list, key, &of->seq)) {
        return true;
    }
    const struct pbjson_doc *both = pbjson_get_object(list, key);
    if (both == NULL || !pbjson_get_u64(both, "seq", &of->seq)) {
        return false;
    }
    of->rev_given = pbjson_has(both, "rev");
    return !of->rev_given || pbjson_get_u64(both, "rev", &of->rev);
}

/* NULL: it was refused. */
static Chat__SyncRequest *parse_sync(struct session *s, const struct pbjson_doc *content,
                                     const char *id, struct arena *arena)
{
    const struct pbjson_doc *list = content != NULL ? pbjson_get_object(content, "conversations")
                                                    : NULL;
    if (list == NULL) {
        invalid(s, id, "conversations", "must be an object");
        return NULL;
    }
    Chat__SyncRequest *request = pb_new(&chat__sync_request__descriptor, arena);
    request->of = arena_array(arena, CONVERSATIONS_MAX, sizeof(*request->of));
    void *cursor = NULL;
    const char *key;
    while ((key = pbjson_next(list, &cursor)) != NULL) {
        if (request->n_of == CONVERSATIONS_MAX) {
            invalid(s, id, "conversations", "at most 200 at once");
            return NULL;
        }
        Chat__SyncRequest__Of *of = pb_new(&chat__sync_request__of__descriptor, arena);
        if (!parse_key(key, of) || !parse_position(list, key, of)) {
            invalid(s, id, "conversations",
                    "keys are u:<user id> or g:<group id>, values a seq or {\"seq\",\"rev\"}");
            return NULL;
        }
        request->of[request->n_of++] = of;
    }
    return request;
}

struct sync {
    struct asked *asked;
    struct arena *arena;
    Chat__SyncReply *reply;
};

static void sync_done(struct sync *sync)
{
    session_answered(sync->asked);
    arena_free(sync->arena);
    free(sync);
}

static void sync_write(struct sync *sync)
{
    struct session *s = sync->asked->session;
    compose_fill(s->loop->gw, sync->reply, sync->arena);
    for (size_t i = 0; i < sync->reply->n_messages && !s->closed; i++) {
        struct buf text;
        buf_init(&text);
        pbjson_print(sync->reply->messages[i], &text);
        struct frame *f = s->v1 ? envelope_frame("message", text.data, text.len, NULL)
                                : frame_new(WSFRAME_TEXT, text.data, text.len);
        ws_send_later(s, f);
        frame_release(f);
        buf_done(&text);
    }
    if (sync->asked->id != NULL) {
        const char *content = sync->reply->complete ? "{\"complete\":true}"
                                                    : "{\"complete\":false}";
        struct frame *f = envelope_frame("ack", content, strlen(content), sync->asked->id);
        ws_send_later(s, f);
        frame_release(f);
    }
    sync_done(sync);
}

/* Without an answer of auth-svc, whose name is not known stays an id. */
static void on_sync_profiles(void *arg, int err)
{
    (void)err;
    sync_write(arg);
}

static void on_sync(void *arg, const struct rpc_reply *reply)
{
    struct asked *a = arg;
    struct session *s = a->session;
    s->asking--;
    if (reply->err != 0 || s->closed) {
        session_fail_reply(s, a->id, reply);
        session_answered(a);
        return;
    }
    struct sync *sync = malloc(sizeof(*sync));
    if (sync == NULL) {
        abort();
    }
    *sync = (struct sync){.asked = a, .arena = arena_new(reply->len * 2)};
    sync->reply = pb_unpack(&chat__sync_reply__descriptor, sync->arena, reply->body, reply->len);
    if (sync->reply == NULL) {
        session_error(s, a->id, ERR_INTERNAL, NULL, NULL, 0);
        sync_done(sync);
        return;
    }
    uint64_t ids[COMPOSE_IDS_MAX];
    size_t n = compose_needs(sync->reply, ids, COMPOSE_IDS_MAX);
    struct profiles_wait *unused;
    if (profiles_want(s->loop, ids, n, on_sync_profiles, sync, &unused)) {
        sync_write(sync);
    }
}

/* One frame may cost a service some hundred rows, so that a frame's rate is no measure: these count
 * among the user's requests too. */
bool session_may_ask(struct session *s, const char *id)
{
    const char *why = NULL;
    if (s->asking >= ASKING_MAX) {
        why = "too many questions of this socket are under way";
    } else if (!limits_ask(s->loop->gw->limits, LIMITS_USER, s->hub.user->id, 0).allowed) {
        why = "too many requests";
    }
    if (why != NULL) {
        session_error(s, id, ERR_RATE_LIMITED, why, NULL, 0);
    }
    return why == NULL;
}

/* Once session_may_ask has said so. question: with topic, method, input and traceparent. */
static void ask(struct session *s, const struct rpc_call *question, const char *id,
                calls_reply_fn fn)
{
    struct rpc_caller caller = session_caller(s);
    struct rpc_call call = *question;
    call.key = s->hub.user->id;
    call.caller = &caller;
    struct asked *a = session_asked(s, id);
    int err = calls_ask(s->loop, &call, fn, a, NULL);
    if (err != 0) {
        session_error(s, id, err, NULL, NULL, 0);
        session_answered(a);
    } else {
        s->asking++;
    }
}

void session_sync(struct session *s, const struct pbjson_doc *content, const char *id,
                  struct arena *arena, const char *traceparent)
{
    if (ws_is_behind(s)) {
        session_error(s, id, ERR_RATE_LIMITED, "the answer to an earlier sync still waits", NULL,
                      0);
        return;
    }
    Chat__SyncRequest *request = session_may_ask(s, id) ? parse_sync(s, content, id, arena) : NULL;
    if (request != NULL) {
        struct rpc_call question = {.topic = TOPIC_RPC_MESSAGE,
                                    .method = "Sync",
                                    .input = request,
                                    .traceparent = traceparent};
        ask(s, &question, id, on_sync);
    }
}

/* ---- presence ---- */

static void print_status(struct buf *out, const Chat__UserStatus *u)
{
    buf_printf(out, "{\"user_id\":%llu,\"status\":\"%s\",\"last_seen_at\":",
               (unsigned long long)u->user_id, u->online ? "online" : "offline");
    envelope_add_time(out, u->last_seen_at);
    buf_add_char(out, '}');
}

static void on_presence(void *arg, const struct rpc_reply *reply)
{
    struct asked *a = arg;
    struct session *s = a->session;
    s->asking--;
    struct arena *arena = loop_arena(s->loop);
    Chat__GetPresenceReply *r = NULL;
    if (reply->err == 0) {
        r = pb_unpack(&chat__get_presence_reply__descriptor, arena, reply->body, reply->len);
    }
    if (r == NULL) {
        session_error(s, a->id, reply->err != 0 ? reply->err : ERR_INTERNAL, reply->detail,
                      reply->errors, reply->error_count);
    } else {
        struct buf text;
        buf_init(&text);
        buf_add_str(&text, "{\"users\":[");
        for (size_t i = 0; i < r->n_users; i++) {
            buf_add_str(&text, i > 0 ? "," : "");
            print_status(&text, r->users[i]);
        }
        buf_add_str(&text, "]}");
        session_ack(s, a->id, text.data, text.len);
        buf_done(&text);
    }
    loop_arena_done(s->loop, arena);
    session_answered(a);
}

static bool are_ids(const uint64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == 0) {
            return false;
        }
    }
    return true;
}

void session_presence(struct session *s, const struct pbjson_doc *content, const char *id,
                      struct arena *arena, const char *traceparent)
{
    if (!session_may_ask(s, id)) {
        return;
    }
    Chat__GetPresenceRequest *request = pb_new(&chat__get_presence_request__descriptor, arena);
    struct pbjson_problem p = {0};
    if (content == NULL || pbjson_fill(content, request, arena, &p) != 0) {
        session_error(s, id, ERR_INVALID, p.detail, p.errors, p.count);
    } else if (request->n_user_ids > USERS_MAX) {
        invalid(s, id, "user_ids", "at most 500 at once");
    } else if (!are_ids(request->user_ids, request->n_user_ids)) {
        invalid(s, id, "user_ids", "ids begin at 1");
    } else if (!watch_add(s, request->user_ids, request->n_user_ids)) {
        invalid(s, id, "user_ids", "a socket follows at most 1000 users");
    } else {
        struct rpc_call question = {.topic = TOPIC_RPC_PRESENCE,
                                    .method = "GetPresence",
                                    .input = request,
                                    .traceparent = traceparent};
        ask(s, &question, id, on_presence);
    }
}
