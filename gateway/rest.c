// SPDX-License-Identifier: MIT
/*
 * Life of a request: begin (ids, origin), match, who, how often, then the row's act; an RPC is
 * filled in, asked, completed (names, pictures, online) and printed. Everything lives in the
 * request's arena; what waits is forgotten should the request end first.
 */
#include "gateway/rest_impl.h"

#include "common/clock.h"
#include "gateway/authn.h"
#include "gateway/commands.h"
#include "gateway/compose.h"
#include "gateway/deliver.h"
#include "gateway/fields.h"
#include "gateway/monitor.h"
#include "gateway/online.h"
#include "gateway/origins.h"
#include "gateway/rest_input.h"
#include "gateway/ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_MAX 200

struct http_request *rest_http(struct rest *r)
{
    return r->http;
}

struct arena *rest_arena(struct rest *r)
{
    return r->arena;
}

const char *rest_request_id(const struct rest *r)
{
    return r->request_id;
}

/* ---- Completing ---- */

static void named(struct rest *r)
{
    compose_fill(r->loop->gw, r->reply, r->arena);
    if (r->match.route->seen) {
        rest_seen_fill(r, rest_answer_reply);
    } else {
        rest_answer_reply(r);
    }
}

/* Without an answer of auth-svc, whose name is not known stays an id. */
static void on_profiles(void *arg, int err)
{
    (void)err;
    struct rest *r = arg;
    r->wait = NULL;
    named(r);
}

static void complete(struct rest *r)
{
    uint64_t ids[COMPOSE_IDS_MAX];
    size_t n = compose_needs(r->reply, ids, COMPOSE_IDS_MAX);
    if (profiles_want(r->loop, ids, n, on_profiles, r, &r->wait)) {
        named(r);
    }
}

static void on_reply(void *arg, const struct rpc_reply *reply)
{
    struct rest *r = arg;
    r->call = NULL;
    if (reply->err != 0) {
        rest_answer_fail_reply(r, reply);
        return;
    }
    const ProtobufCMessageDescriptor *type = r->op != 0 ? &chat__send_reply__descriptor
                                                        : routes_method(r->match.route)->output;
    r->reply = pb_unpack(type, r->arena, reply->body, reply->len);
    if (r->reply == NULL) {
        rest_fail(r, ERR_INTERNAL, "the service's answer is malformed");
        return;
    }
    if (r->op == CHAT__COMMAND__OP_SEND && ((Chat__SendReply *)r->reply)->repeated_send) {
        r->status = 200;
    }
    complete(r);
}

/* ---- Acts ---- */

static void act_rpc(struct rest *r)
{
    const struct route *route = r->match.route;
    void *input = pb_new(routes_method(route)->input, r->arena);
    struct pbjson_problem problem;
    int err = rest_input_fill(r->http, &r->match, input, r->arena, &problem);
    if (err != 0) {
        rest_answer_fail_input(r, err, &problem);
        return;
    }
    uint64_t key = r->claims.user_id;
    if (route->key != NULL) {
        fields_get_key(input, route->key, r->arena, &key);
    }
    struct rpc_call call = {.topic = route->topic,
                            .method = route->rpc,
                            .key = key != 0 ? key : (uint64_t)r->began_us,
                            .caller = &r->caller,
                            .input = input,
                            .traceparent = r->traceparent,
                            .request_id = r->request_id};
    err = calls_ask(r->loop, &call, on_reply, r, &r->call);
    if (err != 0) {
        rest_fail(r, err, NULL);
    }
}

static void send_now(struct rest *r)
{
    struct profile *sender = profiles_get(r->loop->gw->profiles, r->claims.user_id);
    if (sender == NULL) {
        rest_fail(r, ERR_UNAVAILABLE, NULL);
        return;
    }
    struct commands_send command = {.caller = r->caller,
                                    .sender = sender,
                                    .key = r->conversation,
                                    .op = r->op,
                                    .what = r->what,
                                    .traceparent = r->traceparent,
                                    .request_id = r->request_id};
    int err = commands_send(r->loop, &command, on_reply, r, &r->call);
    profile_release(sender);
    if (err != 0) {
        rest_fail(r, err, NULL);
    }
}

static void on_sender(void *arg, int err)
{
    struct rest *r = arg;
    r->wait = NULL;
    if (err != 0) {
        rest_fail(r, err, "names cannot be looked up now");
        return;
    }
    send_now(r);
}

void rest_send_command(struct rest *r)
{
    if (profiles_want(r->loop, &r->claims.user_id, 1, on_sender, r, &r->wait)) {
        send_now(r);
    }
}

static void act_send(struct rest *r)
{
    Chat__Send *send = pb_new(&chat__send__descriptor, r->arena);
    struct pbjson_problem problem;
    int err = rest_input_fill(r->http, &r->match, send, r->arena, &problem);
    if (err != 0) {
        rest_answer_fail_input(r, err, &problem);
        return;
    }
    struct commands_problem wrong;
    err = commands_check(send, &wrong);
    if (err != 0) {
        struct rest_failure f = {.problem = {.err = err,
                                             .detail = wrong.detail,
                                             .errors = &wrong.error,
                                             .error_count = wrong.count}};
        rest_answer_fail(r, &f);
        return;
    }
    r->op = CHAT__COMMAND__OP_SEND;
    r->what = send;
    r->conversation = commands_key(r->claims.user_id, send->receiver_id, send->group_id);
    rest_send_command(r);
}

static void act_online(struct rest *r)
{
    Chat__ListUsersRequest *input = pb_new(&chat__list_users_request__descriptor, r->arena);
    struct pbjson_problem problem;
    int err = rest_input_fill(r->http, &r->match, input, r->arena, &problem);
    uint64_t after = 0;
    if (err == 0 && input->cursor.len > 0) {
        char *text = pb_cstr(r->arena, input->cursor), *end;
        after = strtoull(text, &end, 10);
        if (*text < '0' || *text > '9' || *end != '\0') {
            problem.detail = "cursor is not one that a page gave";
            err = ERR_BAD_QUERY;
        }
    }
    if (err != 0) {
        rest_answer_fail_input(r, err, &problem);
        return;
    }
    size_t limit = (size_t)input->limit;
    uint64_t *ids = arena_array(r->arena, limit + 1, sizeof(*ids));
    size_t n = online_page(r->loop->gw->online, after, ids, limit + 1);
    Chat__UserList *list = pb_new(&chat__user_list__descriptor, r->arena);
    if (n > limit) {
        n = limit;
        list->next_cursor =
            pb_str(arena_printf(r->arena, "%llu", (unsigned long long)ids[limit - 1]));
    }
    list->n_users = n;
    list->users = arena_array(r->arena, n, sizeof(*list->users));
    for (size_t i = 0; i < n; i++) {
        list->users[i] = pb_new(&chat__user__descriptor, r->arena);
        list->users[i]->id = ids[i];
    }
    r->reply = list;
    complete(r);
}

static void act_ready(struct rest *r)
{
    buf_clear(&r->text);
    bool ready = svc_is_ready(&r->text);
    http_add_header(r->http, "cache-control", "no-store");
    rest_answer_finish(r, ready ? 200 : 503, REST_JSON, r->text.data, r->text.len);
}

static void act(struct rest *r)
{
    switch (r->match.route->act) {
    case ACT_RPC:
        act_rpc(r);
        break;
    case ACT_SEND:
        act_send(r);
        break;
    case ACT_EDIT:
    case ACT_RECALL:
        rest_change(r);
        break;
    case ACT_ONLINE:
        act_online(r);
        break;
    case ACT_SOCKET:
        ws_upgrade(r);
        break;
    case ACT_SYSTEM:
        monitor_system(r);
        break;
    case ACT_CONNECTIONS:
        monitor_connections(r);
        break;
    case ACT_HEALTH:
        rest_reply_json(r, "{\"status\":\"ok\"}", 15);
        break;
    case ACT_READY:
        act_ready(r);
        break;
    case ACT_FILE:
        rest_answer_file(r, web_find(r->match.route->file));
        break;
    default:
        rest_fail(r, ERR_NOT_FOUND, NULL);
    }
}

/* ---- Before the act ---- */

static void on_gone(void *memory)
{
    struct rest *r = memory;
    if (r->call != NULL) {
        calls_forget(r->call);
    }
    if (r->wait != NULL) {
        profiles_forget(r->wait);
    }
    buf_done(&r->text);
    loop_arena_done(r->loop, r->arena);
}

static struct rest *begin(struct http_request *request)
{
    struct rest *r = http_alloc(request, sizeof(*r), on_gone);
    r->http = request;
    r->loop = request->loop;
    r->arena = loop_arena(request->loop);
    r->began_us = clock_mono_us();
    buf_init(&r->text);
    size_t len = 0;
    const char *value = http_header(request, "x-request-id", &len);
    trace_request(value, len, r->request_id);
    value = http_header(request, "traceparent", &len);
    trace_parent(value, len, r->traceparent);
    value = http_header(request, "user-agent", &len);
    r->caller.device =
        value != NULL ? arena_strndup(r->arena, value, len < DEVICE_MAX ? len : DEVICE_MAX) : "";
    r->caller.address = request->address;
    r->caller.username = "";
    return r;
}

void rest_refuse(struct http_request *request, int err, const char *detail)
{
    rest_fail(begin(request), err, detail);
}

/* Pages of the allow-list may call; true: it was a preflight and is answered. */
static bool handle_origin(struct rest *r)
{
    size_t len = 0;
    const char *origin = http_header(r->http, "origin", &len);
    if (origin == NULL || !origins_listed(r->loop->gw->origins, origin, len)) {
        return false;
    }
    http_add_header(r->http, "access-control-allow-origin", arena_strndup(r->arena, origin, len));
    http_add_header(r->http, "vary", "Origin");
    size_t unused;
    if (r->http->method_len != 7 || memcmp(r->http->method, "OPTIONS", 7) != 0 ||
        http_header(r->http, "access-control-request-method", &unused) == NULL) {
        http_add_header(r->http, "access-control-expose-headers",
                        "ETag, Location, Retry-After, X-Request-Id, X-RateLimit-Limit, "
                        "X-RateLimit-Remaining");
        return false;
    }
    http_add_header(r->http, "access-control-allow-methods", "GET, POST, PUT, DELETE");
    http_add_header(r->http, "access-control-allow-headers",
                    "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, "
                    "X-Request-Id, traceparent");
    http_add_header(r->http, "access-control-max-age", "600");
    rest_answer_finish(r, 204, NULL, "", 0);
    return true;
}

/* 0, or what to refuse with. */
static int authenticate(struct rest *r)
{
    enum routes_who who = r->match.route->who;
    if (who == ROUTES_ANYONE) {
        return 0;
    }
    /* Asked first: what is read in between is looked at below. */
    if (who != ROUTES_MAYBE && !deliver_sessions_ready(r->loop->gw->deliver)) {
        return ERR_UNAVAILABLE;
    }
    size_t len = 0, token_len = 0;
    const char *value = http_header(r->http, "authorization", &len);
    const char *token = authn_bearer(value, len, &token_len);
    int err = token == NULL ? ERR_UNAUTHENTICATED
                            : authn_check(r->loop->gw->authn, token, token_len, &r->claims);
    if (err != 0) {
        r->claims.user_id = 0;
        /* A body may say who it is about; without one it can only be the caller. */
        return who == ROUTES_MAYBE && r->http->body_len > 0 ? 0 : err;
    }
    r->caller.user_id = r->claims.user_id;
    r->caller.session_id = r->claims.session_id;
    r->caller.username = r->claims.username;
    if (who == ROUTES_ADMIN && !monitor_is_admin(r->loop->gw, r->claims.username)) {
        return ERR_FORBIDDEN;
    }
    return 0;
}

bool rest_is_within_limit(struct rest *r, enum limits_class class, uint64_t user_id)
{
    if (class == LIMITS_NONE) {
        return true;
    }
    uint64_t a = user_id, b = 0;
    if (a == 0 || class == LIMITS_AUTH) {
        limits_address_key(r->http->address, &a, &b);
    }
    struct limits_verdict v = limits_ask(r->loop->gw->limits, class, a, b);
    if (v.limit > 0) {
        char number[24];
        snprintf(number, sizeof(number), "%lld", (long long)v.limit);
        http_add_header(r->http, "x-ratelimit-limit", number);
        snprintf(number, sizeof(number), "%lld", (long long)v.remaining);
        http_add_header(r->http, "x-ratelimit-remaining", number);
    }
    if (!v.allowed) {
        struct rest_failure f = {.problem = {.err = ERR_RATE_LIMITED},
                                 .retry_after_s = v.retry_after};
        rest_answer_fail(r, &f);
    }
    return v.allowed;
}

void rest_handle(struct http_request *request)
{
    struct rest *r = begin(request);
    if (handle_origin(r)) {
        return;
    }
    routes_match(request->method, request->method_len, request->path, request->path_len, &r->match);
    if (r->match.route == NULL) {
        if (r->match.path_exists) {
            http_add_header(request, "allow", r->match.allow);
        }
        rest_fail(r, r->match.path_exists ? ERR_METHOD_NOT_ALLOWED : ERR_NOT_FOUND, NULL);
        return;
    }
    if (request->body_len > GATEWAY_BODY_MAX) {
        rest_fail(r, ERR_TOO_LARGE, "the body is longer than 1 MiB");
        return;
    }
    r->status = r->match.route->status;
    int err = authenticate(r);
    if (err != 0) {
        rest_fail(r, err, NULL);
        return;
    }
    if (rest_is_within_limit(r, r->match.route->limit, r->claims.user_id)) {
        act(r);
    }
}
